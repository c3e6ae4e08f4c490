/** Real processes that are killed under load: what an outage of the control plane, or of a sidecar, costs. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NewConnections } from '../support/new-connections.ts'
import { RealMesh, type RealWorkload } from '../support/real-mesh.ts'
import { eventually } from '../support/shop.ts'

const ratePerSecond = 560
const rateMin = 500
const downMs = process.env['OUTRIGGER_LONG'] === '1' ? 60_000 : 10_000

const deny = `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: test }
spec:
  action: DENY
  rules:
    - to: [{ paths: [/admin] }]
`
const policies = `${deny}---
apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: server, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: server }]
  outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 1s }
  retry: { attempts: 2, retryOn: [connect-failure, refused, reset] }
`

/** Status of one request through the client's sidecar. */
async function ask(mesh: RealMesh, path: string): Promise<{ status: number; body: string }> {
  const request = http.request({
    ...mesh.outbound,
    path: `http://server:8080${path}`,
    headers: { host: 'server:8080' },
    agent: false,
  })
  request.end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode ?? 0, body }
}

/** What a client without a certificate gets from a server's sidecar. */
async function plaintext(mesh: RealMesh, name: RealWorkload): Promise<string> {
  const socket = connect(8_080, mesh.address(name))
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n')
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  // A reset is an answer too: once() would make an error of it.
  await new Promise((resolve) => socket.on('close', resolve))
  return text
}

/** Asks until both servers have answered. */
async function bothServe(mesh: RealMesh): Promise<void> {
  const names = new Set<string>()
  await eventually('both servers answer', async () => {
    const { status, body } = await ask(mesh, '/')
    assert.equal(status, 200)
    names.add(body)
    return names.has('ok server-a') && names.has('ok server-b')
  })
}

test('outages of real processes', { timeout: 300_000 }, async (t) => {
  await using mesh = await RealMesh.start(policies)
  const load = (): NewConnections => new NewConnections({ ...mesh.outbound, url: 'http://server:8080/', ratePerSecond })
  await bothServe(mesh)
  await mesh.inSync(5_000)

  await t.test(
    `kill -9 of the control plane under load, ${downMs / 1_000} s: no request fails, all in sync within 2 s of its return`,
    async () => {
      const traffic = load()
      await traffic.answered(rateMin)
      const before = traffic.succeeded
      const killedAt = performance.now()
      await mesh.controlPlane.end('SIGKILL')
      await delay(downMs)
      const rate = traffic.rateSince(before, killedAt)
      for (const name of mesh.sidecars.keys())
        assert.equal((await mesh.readiness(name))?.status, 200, `${name} is ready`)
      mesh.controlPlane.start()
      await mesh.controlPlaneReady()
      const backAt = performance.now()
      await mesh.inSync(2_000)
      const syncMs = performance.now() - backAt
      await traffic.answered(rateMin)
      await traffic.stop()
      t.diagnostic(
        `${traffic.succeeded} requests, ${rate.toFixed(0)}/s during the outage, in sync ${syncMs.toFixed(0)} ms after the return`,
      )
      assert.deepEqual(traffic.failures, [])
      assert.ok(rate >= rateMin, `only ${rate.toFixed(0)} requests/s`)
    },
  )

  await t.test(
    'kill -9 of the control plane and of two sidecars: they come back on what lies on disk, STRICT and DENY included',
    async () => {
      mesh.removeTokens()
      await mesh.controlPlane.end('SIGKILL')
      for (const name of ['client', 'server-a'] as const) await mesh.sidecar(name).end('SIGKILL')
      for (const name of ['client', 'server-a'] as const) mesh.sidecar(name).start()
      for (const name of ['client', 'server-a'] as const) await mesh.ready(name)
      await bothServe(mesh)
      assert.equal((await ask(mesh, '/admin')).status, 403)
      const seen = await mesh.seen('server-a')
      assert.equal(await plaintext(mesh, 'server-a'), '')
      assert.equal(await mesh.seen('server-a'), seen, 'no byte reached the application')
    },
  )

  await t.test('one that has nothing on disk comes up, is not ready, says why and lets nothing in', async () => {
    const sidecar = mesh.sidecar('server-b')
    await sidecar.end('SIGKILL')
    rmSync(mesh.stateDir('server-b'), { recursive: true })
    sidecar.start()
    let said: { status: number; text: string } | undefined
    await eventually('it says why it is not ready', async () => {
      sidecar.checkAlive()
      said = await mesh.readiness('server-b')
      return said !== undefined && !said.text.includes('waiting for the control plane')
    })
    assert.equal(said?.status, 503)
    assert.match(said.text, /no certificate/)
    const seen = await mesh.seen('server-b')
    assert.equal(await plaintext(mesh, 'server-b'), '')
    assert.equal(await mesh.seen('server-b'), seen)
    // The other one serves for both.
    for (let at = 0; at < 20; at++) assert.deepEqual(await ask(mesh, '/'), { status: 200, body: 'ok server-a' })
  })

  await t.test(
    'a policy that was spoiled during the outage is in force as it was when the control plane is back',
    async () => {
      writeFileSync(mesh.policies, policies.replace('action: DENY', 'action: DENI'))
      mesh.controlPlane.start()
      await mesh.controlPlaneReady()
      await mesh.renewToken('server-b')
      await mesh.inSync(30_000)
      await mesh.ready('server-b')
      const [problem] = (await mesh.status())?.sources.flatMap(({ problems }) => problems) ?? []
      assert.match(problem?.message ?? '', /; last good of .* in force for AuthorizationPolicy test\/no-admin$/)
      assert.deepEqual([problem?.line, problem?.column], [5, 11])
      await bothServe(mesh)
      assert.equal((await ask(mesh, '/admin')).status, 403)
      const { revision = 0 } = (await mesh.status()) ?? {}
      writeFileSync(mesh.policies, policies.replace('/admin', '/other'))
      await eventually('the change is read', async () => ((await mesh.status())?.revision ?? 0) > revision)
      await eventually('and in force', async () => (await ask(mesh, '/admin')).status === 200)
      assert.equal((await ask(mesh, '/other')).status, 403)
    },
  )

  await t.test('kill -9 of a server’s sidecar under load costs what it had under way, and it comes back', async () => {
    const traffic = load()
    await traffic.answered(rateMin)
    const killedAt = performance.now()
    await mesh.sidecar('server-b').end('SIGKILL')
    const goneAt = performance.now()
    await traffic.answered(2 * rateMin)
    mesh.sidecar('server-b').start()
    await mesh.ready('server-b')
    const seen = await mesh.seen('server-b')
    await eventually('it is used again', async () => (await mesh.seen('server-b')) > seen + 100, 20_000)
    await traffic.stop()
    t.diagnostic(`${traffic.failures.length} failed of ${traffic.succeeded}`)
    const notUnderWay = traffic.failures.filter((it) => it.startedAtMs > goneAt || it.endedAtMs < killedAt)
    assert.deepEqual(notUnderWay, [])
    await mesh.inSync(5_000)
  })

  await t.test(
    'kill -9 of the client’s sidecar fails closed while it is away, and costs nobody anything after that',
    async () => {
      const traffic = load()
      await traffic.answered(rateMin)
      const killedAt = performance.now()
      const before = [await mesh.seen('server-a'), await mesh.seen('server-b')]
      const early = traffic.failures.length
      assert.equal(early, 0)
      await mesh.sidecar('client').end('SIGKILL')
      mesh.sidecar('client').start()
      await mesh.ready('client')
      const readyAt = performance.now()
      await traffic.answered(rateMin)
      await traffic.stop()
      assert.ok(traffic.failures.length > 0, 'there was an outage')
      for (const failure of traffic.failures) {
        assert.ok(failure.endedAtMs > killedAt && failure.startedAtMs < readyAt, JSON.stringify(failure))
        assert.match(failure.why, /^(ECONNREFUSED|ECONNRESET|EPIPE|closed after \d+ bytes|HTTP\/1\.1 503 .*)$/)
      }
      assert.ok((await mesh.seen('server-a')) > before[0]! && (await mesh.seen('server-b')) > before[1]!)
      await mesh.inSync(5_000)
    },
  )
})

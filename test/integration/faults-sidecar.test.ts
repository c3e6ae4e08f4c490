/** Faults of the sidecar's own surroundings, as rows of test/faults/table.ts: certificates, disk, collector, scraper, mistakes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Service, stack } from '../../src/base/stack.ts'
import { inFlight, OwnInFlight } from '../../src/policy/in-flight.ts'
import { rescue } from '../../src/policy/rescue.ts'
import { startRelay } from '../support/http1-relay.ts'
import { call, credentialsOf, Mesh, type RunningWorkload } from '../support/mesh.ts'
import { eventually } from '../support/shop.ts'
import { openClient, startUpstream } from '../support/upstream.ts'

const strict = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`
const everySampled = `apiVersion: outrigger.dev/v1alpha1
kind: TelemetryPolicy
metadata: { name: default, namespace: test }
spec: { tracing: { samplingRate: 100 } }
`
const ok: http.RequestListener = (_request, response) => response.end('ok')

async function metric(of: RunningWorkload, name: string): Promise<number> {
  const text = await (await fetch(`${of.metrics}/metrics`)).text()
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
}

describe('F10, F11: the authority is gone until certificates have expired', { timeout: 60_000 }, () => {
  it('nothing fails until then; then every new connection is refused, none is in plaintext; what stands goes on', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'server', app: ok }],
      policies: strict,
      controlPlane: { certificateLifetimeMs: 5_000 },
    })
    const client = mesh.get('client')
    const server = mesh.get('server')
    // A tunnel keeps its connection between the sidecars; a request would give it back to the pool.
    const tunnel = net.connect(client.outbound)
    tunnel.setEncoding('latin1')
    let said = ''
    tunnel.on('data', (text: string) => {
      said += text
    })
    tunnel.write('CONNECT server:8080 HTTP/1.1\r\nHost: server:8080\r\n\r\n')
    await eventually('the tunnel stands', () => said.includes('\r\n\r\n'))
    await mesh.stopControlPlane()
    const first = Math.min(credentialsOf(client).expiresAtMs, credentialsOf(server).expiresAtMs)
    let answered = 0
    while (Date.now() < first - 500) {
      const answer = await call(client, 'http://server:8080/')
      assert.equal(answer.status, 200, answer.body)
      answered++
    }
    assert.ok(answered > 10, `${answered} answers before it expired`)
    const both = [client, server].map(({ running }) => running.credentials)
    await eventually('both have expired', () => both.every(({ current }) => current === undefined), 20_000)
    const before = server.seen
    said = ''
    tunnel.write('GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n')
    await eventually('the connection that stands is served', () => said.includes('ok'))
    const refusals = new Set<string>()
    const direct = await Promise.all(Array.from({ length: 20 }, () => tunnelTo(client, 'server:8080')))
    for (const head of direct) refusals.add(/x-outrigger-reason: (\w+)/i.exec(head)?.[1] ?? head)
    assert.deepEqual([...refusals], ['UPSTREAM_TLS'])
    assert.equal(server.seen, before + 1, 'only the tunnel reached the application')
    assert.match(client.running.ready().reason, /^no certificate: /)
    await mesh.startControlPlane()
    await eventually('both have a certificate again', () => both.every(({ current }) => current !== undefined), 20_000)
    assert.match(await tunnelTo(client, 'server:8080'), /^HTTP\/1\.1 200/)
  })
})

/** The head of the answer to a CONNECT, which needs a connection of its own. */
async function tunnelTo(from: RunningWorkload, authority: string): Promise<string> {
  using client = await openClient(from.outbound)
  client.socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  return await client.seen(/\r\n\r\n/)
}

describe('what goes wrong beside the traffic costs the traffic nothing', { timeout: 60_000 }, () => {
  it('F19: a state folder that is gone: policy is obeyed, and requests are served', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'server', app: ok }],
      policies: strict,
    })
    const state = join(mesh.folder, 'client')
    rmSync(state, { recursive: true, force: true })
    // Nothing can be made where a file stands.
    writeFileSync(state, '')
    await mesh.setPolicies(
      `${strict}---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: { name: teapot, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: server }]
  match: [{ path: { type: Exact, value: /teapot } }]
  abort: { percentage: 100, httpStatus: 418 }
`,
    )
    assert.equal((await call(mesh.get('client'), 'http://server:8080/teapot')).status, 418)
    for (let i = 0; i < 50; i++) assert.equal((await call(mesh.get('client'), 'http://server:8080/')).status, 200)
  })

  it('F22, F23: a collector that hangs and scrapers that do not read: every request is served, spans are dropped and counted', async () => {
    const held = new Set<net.Socket>()
    const collector = net.createServer((socket) => void held.add(socket.on('error', () => {})))
    collector.listen(0, '127.0.0.1')
    await once(collector, 'listening')
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_BSP_MAX_QUEUE_SIZE: '512',
    }
    // The sidecar reads the variables of its process.
    Object.assign(process.env, env)
    try {
      await using mesh = await Mesh.start({
        workloads: [{ name: 'client' }, { name: 'server', app: ok }],
        policies: everySampled,
      })
      const client = mesh.get('client')
      const { host, port } = client.running.addresses.get('metrics')!
      const scrapers = Array.from({ length: 50 }, () => {
        const socket = net.connect({ host, port })
        socket.on('error', () => {})
        // Many answers, of which not one byte is read.
        return socket.pause().end('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(100))
      })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 20 })
      const answers = await Promise.all(
        Array.from({ length: 1_000 }, () => call(client, 'http://server:8080/', { agent })),
      )
      agent.destroy()
      for (const { status } of answers) assert.equal(status, 200)
      await eventually('the collector was called', () => held.size > 0)
      // Two spans a request, of which the queue takes 512.
      await eventually(
        'dropped spans are counted',
        async () => (await metric(client, 'outrigger_spans_dropped_total')) === 2 * answers.length - 512,
      )
      const startedAt = performance.now()
      assert.ok((await metric(client, 'outrigger_requests_in_flight')) >= 0)
      assert.ok(performance.now() - startedAt < 2_000, 'a scrape among hung ones')
      for (const socket of scrapers) socket.destroy()
    } finally {
      for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name)
      for (const socket of held) socket.destroy()
      collector.close()
    }
  })

  it('F29: a mistake of ours in a layer costs the request that met it, and no other', async () => {
    const logged: string[] = []
    const limit = new OwnInFlight(100)
    const broken = (next: Service): Service =>
      stack(
        [rescue({ log: { error: (_fields, message) => logged.push(message) }, by: 'shop/a' }), inFlight(limit)],
        async (exchange) => {
          const { target } = exchange.request
          if (target === '/throw') throw new TypeError('a mistake')
          if (target === '/later') await Promise.reject(new RangeError('a later mistake'))
          return next(exchange)
        },
      )
    await using up = await startUpstream((socket) => {
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    })
    await using relay = await startRelay(up.port, { layer: broken })
    const asks = Array.from({ length: 60 }, async (_, i) => {
      const path = ['/', '/throw', '/later'][i % 3]!
      const response = await fetch(`http://127.0.0.1:${relay.port}${path}`)
      return `${path} ${response.status} ${await response.text()}`
    })
    const seen = Map.groupBy(await Promise.all(asks), (text) => text.trim())
    const said = 'UNEXPECTED: the mesh failed to handle this request; its log says more'
    assert.deepEqual(
      [...seen].map(([text, { length }]) => [text, length]),
      [
        ['/ 200 ok', 20],
        [`/throw 500 ${said}`, 20],
        [`/later 500 ${said}`, 20],
      ],
    )
    assert.equal(logged.length, 40)
    assert.equal(limit.count, 0)
  })
})

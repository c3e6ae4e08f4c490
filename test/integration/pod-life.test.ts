/** A Pod's sidecar from start to end: known late, asked by the kubelet, retired, rolled. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import type { AppProbe } from '../../src/api/app-probe.ts'
import { eventually } from '../support/control.ts'
import { call, Mesh, type RunningWorkload } from '../support/mesh.ts'

const strict = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`

async function get(url: string, method = 'GET'): Promise<{ status: number; text: string }> {
  const response = await fetch(url, { method })
  return { status: response.status, text: await response.text() }
}

describe('a Pod', { timeout: 120_000 }, () => {
  it('that the control plane hears of late is ready as soon as it does, whatever time has passed', async () => {
    await using mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'late', known: false, app: (_request, response) => response.end('here') },
      ],
    })
    const late = mesh.get('late')
    await eventually(
      () => /knows no workload test\/late/.test(late.running.ready().reason),
      'it says what it waits for',
    )
    // Long enough for any wait that grows to have grown.
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    assert.equal(late.running.ready().ready, false)
    const writtenAt = performance.now()
    mesh.writeWorkloads()
    await eventually(() => late.running.ready().ready, 'it is ready', 5_000)
    assert.ok(performance.now() - writtenAt < 2_500, `${performance.now() - writtenAt} ms`)
    const answers = async (): Promise<string> => (await call(mesh.get('client'), 'http://late:8080/')).body
    for (let tries = 0; (await answers()) !== 'here'; tries++) assert.ok(tries < 200, 'its Service is reached')
  })

  it('answers the kubelet for its application, under STRICT and while it is not ready itself', async () => {
    const path = '/app-health/app/readyz'
    const probe: AppProbe = { kind: 'http', port: 18_080, path: '/ready', tls: false, headers: [], timeoutMs: 1_000 }
    await using mesh = await Mesh.start({
      workloads: [
        {
          name: 'web',
          app: (request, response) => response.writeHead(request.url === '/ready' ? 204 : 404).end(),
          env: { OUTRIGGER_APP_PROBES: JSON.stringify({ [path]: probe }) },
        },
      ],
      policies: strict,
    })
    const web = mesh.get('web')
    assert.deepEqual(await get(web.metrics + path), { status: 200, text: 'the application answered 204\n' })
    assert.equal(web.seen, 1)
    web.running.retire()
    assert.equal((await get(web.metrics + path)).status, 200)
    await mesh.stopApp('web')
    const gone = await get(web.metrics + path)
    assert.deepEqual([gone.status, /nothing listens on 127\.\d+\.\d+\.\d+:18080/.test(gone.text)], [503, true])
  })

  it('without capture reaches another by its address, too, under STRICT', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'web', app: (_request, response) => response.end('served') }],
      policies: strict,
    })
    // What an application sends that knows nothing but http_proxy and a Pod's address.
    const answer = await call(mesh.get('client'), `http://${mesh.get('web').address}:8080/`)
    assert.deepEqual([answer.status, answer.body], [200, 'served'])
    const unknown = await call(mesh.get('client'), 'http://192.0.2.1:8080/')
    assert.deepEqual(
      [unknown.status, unknown.headers['x-outrigger-reason']],
      [502, 'UNKNOWN_DESTINATION; by=test/client'],
    )
  })

  it('that is retired sends callers elsewhere and serves all the same', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'web', app: (_request, response) => response.end('served') }],
    })
    const web = mesh.get('web')
    const kept = net.connect(8_080, web.address)
    await once(kept, 'connect')
    let answers = ''
    kept.on('data', (chunk: Buffer) => {
      answers += chunk.toString()
    })
    const ask = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n'
    kept.write(ask)
    await eventually(() => answers.includes('served'), 'the first answer')
    assert.doesNotMatch(answers, /connection: close/i)
    assert.equal((await get(`${web.admin}/retire`, 'POST')).status, 200)
    assert.deepEqual(web.running.ready(), { ready: false, reason: 'retired: the Pod is about to end' })
    // Far past the moment that a drain leaves idle connections.
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    assert.equal(kept.destroyed, false)
    answers = ''
    kept.write(ask)
    await once(kept, 'end')
    assert.match(answers, /connection: close\r\n[^]*served$/i)
    // Who dials anew is served, too, and sent on.
    const again = await fetch(`http://${web.address}:8080/`)
    assert.deepEqual([again.status, again.headers.get('connection')], [200, 'close'])
  })

  it('is replaced under load without a lost request: no retries, kept connections, GET and POST', async () => {
    const servers = ['server-1', 'server-2', 'server-3']
    await using mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        ...servers.map((name) => ({
          name,
          service: 'server',
          app: (request: http.IncomingMessage, response: http.ServerResponse) => {
            request.resume().on('end', () => response.end(name))
          },
        })),
      ],
      policies: strict,
    })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
    const failures: string[] = []
    let answered = 0
    let running = true
    const load = Array.from({ length: 4 }, async (_, at) => {
      for (let i = 0; running; i++) {
        const post = (i + at) % 2 === 0
        await new Promise((resolve) => setTimeout(resolve, 2))
        try {
          const answer = await call(mesh.get('client'), 'http://server:8080/', {
            agent,
            method: post ? 'POST' : 'GET',
            ...(post ? { body: 'x'.repeat(100) } : {}),
          })
          if (answer.status === 200) answered++
          else failures.push(`${answer.status} ${String(answer.headers['x-outrigger-reason'])}`)
        } catch (error) {
          failures.push(String(error))
        }
      }
    })
    const hears = async (pod: RunningWorkload, wanted: boolean): Promise<void> => {
      const ready = async (): Promise<boolean | undefined> => {
        const backends = (await (await fetch(`${mesh.get('client').admin}/backends`)).json()) as Backends
        const found = backends.services.flatMap(({ backends: ports }) => ports.flatMap((port) => port.endpoints))
        return found.find(({ endpoint }) => endpoint.startsWith(`${pod.address}:`))?.ready
      }
      for (let tries = 0; (await ready()) !== wanted; tries++) {
        assert.ok(tries < 500, `the client hears that ${pod.name} is ${wanted ? 'ready' : 'ending'}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    // As Kubernetes does: told to end, and only then found gone by callers.
    for (const name of [...servers, ...servers]) {
      const pod = mesh.get(name)
      assert.equal((await get(`${pod.admin}/retire`, 'POST')).status, 200)
      mesh.writeWorkloads({ [name]: { ready: false, serving: true, terminating: true } })
      await hears(pod, false)
      await pod.restart()
      await eventually(() => pod.running.ready().ready, `${name} is ready`)
      mesh.writeWorkloads()
      await hears(pod, true)
    }
    running = false
    await Promise.all(load)
    agent.destroy()
    assert.deepEqual(failures.slice(0, 5), [])
    assert.ok(answered > 100, `${answered} answers`)
    for (const name of servers) assert.ok(mesh.get(name).seen > 5, `${name}: ${mesh.get(name).seen}`)
  })
})

interface Backends {
  readonly services: readonly {
    readonly backends: readonly { readonly endpoints: readonly { endpoint: string; ready: boolean }[] }[]
  }[]
}

/** Upstreams that fail, as rows of test/faults/table.ts. Asserted at the client, and at the upstream itself. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually } from '../support/control.ts'
import { type Answer, call, Mesh } from '../support/mesh.ts'

/** How connections to `cutter` end, by path. */
const cuts: Readonly<Record<string, (socket: net.Socket) => void>> = {
  '/reset-in-body': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart', () => socket.resetAndDestroy()),
  '/short-body': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart'),
  '/short-chunk': (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\npart'),
  '/no-last-chunk': (socket) =>
    socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n', () => socket.destroySoon()),
}

let cutRequests = 0
function cutter(socket: net.Socket): void {
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    cutRequests++
    cuts[/ (\S+) HTTP/.exec(chunk.toString('latin1'))?.[1] ?? '']?.(socket)
  })
}

/** Ends each connection a moment after an answer, as servers with a short keep-alive do, also while a request comes. */
const idleMs = 20
function closer(socket: net.Socket): void {
  let timer: NodeJS.Timeout | undefined
  socket.on('error', () => {})
  socket.on('end', () => socket.end())
  socket.on('data', () => {
    if (socket.destroyed) return
    clearTimeout(timer)
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    timer = setTimeout(() => socket.resetAndDestroy(), idleMs)
  })
}

/** Answers by path: `/reset` loses the connection when it has read the request. */
const deliveries = new Map<string, number>()
function flaky(name: string, resets: boolean): http.RequestListener {
  return (request, response) => {
    const id = String(request.headers['x-request'])
    deliveries.set(id, (deliveries.get(id) ?? 0) + 1)
    request.resume().on('end', () => {
      if (resets) request.socket.resetAndDestroy()
      else response.end(name)
    })
  }
}

/** Never answers; counts those who stopped waiting. */
const gaveUp: string[] = []
const hang: http.RequestListener = (request, response) => {
  response.on('close', () => gaveUp.push(request.url!))
}

const ok: http.RequestListener = (_request, response) => response.end('ok')

const policies = `
apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: cutter, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: cutter }]
  retry: { attempts: 3, retryOn: [reset, 5xx] }
  retryConstraint: { budget: { percent: 100 }, minRetryRate: { count: 1000 } }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: flaky, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: flaky }]
  retry: { attempts: 2, retryOn: [reset] }
  retryConstraint: { budget: { percent: 100 }, minRetryRate: { count: 1000 } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: hang, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: hang }]
  rules:
    - matches: [{ path: { type: Exact, value: /late } }]
      timeouts: { request: 200ms }
      backendRefs: [{ name: hang, port: 8080 }]
    - backendRefs: [{ name: hang, port: 8080 }]
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: server, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: server }]
  connectionPool: { connectTimeout: 300ms }
  outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 60s, maxEjectionPercent: 50 }
  retry: { attempts: 2, retryOn: [connect-failure] }
  retryConstraint: { budget: { percent: 100 }, minRetryRate: { count: 1000 } }
`

describe('upstreams that fail', { timeout: 120_000 }, () => {
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'cutter', tcp: cutter },
        { name: 'closer', tcp: closer },
        { name: 'flaky-a', service: 'flaky', app: flaky('a', true) },
        { name: 'flaky-b', service: 'flaky', app: flaky('b', false) },
        { name: 'server-a', service: 'server', app: ok },
        { name: 'server-b', service: 'server', app: ok },
        { name: 'alone', app: ok },
        { name: 'hang', app: hang },
      ],
      policies,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  const get = (url: string, headers = {}, method = 'GET'): Promise<Answer> =>
    call(mesh.get('client'), url, { headers, method, ...(method === 'POST' ? { body: 'x' } : {}) })
  const pools = async (name: string): Promise<{ key: string; open: number; idle: number }[]> => {
    const said = (await (await fetch(`${mesh.get(name).admin}/backends`)).json()) as { pools: [] }
    return said.pools
  }

  it('F14: a body that breaks off is an error for the client each time, is not repeated, and its connection not used again', async () => {
    const paths = Object.keys(cuts)
    for (let i = 0; i < 100; i++) {
      const path = paths[i % paths.length]!
      await assert.rejects(get(`http://cutter:8080${path}`), /aborted|ECONNRESET|hang up/, path)
    }
    assert.equal(cutRequests, 100)
    const [pool] = (await pools('client')).filter(({ key }) => key.startsWith(mesh.get('cutter').address))
    assert.equal(pool?.idle, 0)
  })

  it('F14: a connection lost before the answer is repeated elsewhere for GET; a POST that was sent is delivered once', async () => {
    let lost = 0
    for (let i = 0; i < 60; i++) {
      const method = i % 2 === 0 ? 'GET' : 'POST'
      const answer = await get('http://flaky:8080/', { 'x-request': String(i) }, method)
      if (method === 'GET') assert.equal(answer.status, 200, answer.body)
      else if (answer.status !== 200) {
        lost++
        assert.match(String(answer.headers['x-outrigger-reason']), /^UPSTREAM_RESET/)
        assert.equal(deliveries.get(String(i)), 1, 'a POST was delivered again')
      }
    }
    assert.ok(lost > 0, 'no POST met the endpoint that fails')
  })

  it('F15: an upstream that ends idle connections while requests are on their way costs GET nothing', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
    const failures: string[] = []
    const one = async (at: number): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        const answer = await call(mesh.get('client'), 'http://closer:8080/', { agent })
        if (answer.status !== 200) failures.push(`${answer.status} ${answer.body}`)
        // Around the moment at which the upstream lets go.
        await delay(idleMs - 4 + ((i * 7 + at) % 9))
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, at) => one(at)))
    agent.destroy()
    assert.deepEqual(failures, [])
  })

  for (const [way, silence] of [
    ['accepts and says nothing', acceptsInSilence],
    ['lets no connection in', dropsSyn],
  ] as const) {
    it(`F16: a peer that ${way} is ejected after a few tries, and nobody else is delayed`, async () => {
      const dead = mesh.get('server-a')
      await dead.stop()
      {
        await using peer = await silence(dead.address, 8080)
        const load = Array.from({ length: 100 }, async (_, i) => {
          await delay(i * 15)
          return get('http://server:8080/')
        })
        const answers = await Promise.all(load)
        for (const { status, body } of answers) assert.equal(status, 200, body)
        const met = answers.filter(({ headers }) => headers['x-outrigger-attempt'] !== undefined).length
        // Those that were under way to it in the 300 ms that it took to know, and a few to be sure.
        assert.ok(met > 0 && met <= 30, `${met} of 100 met it`)
        const tried = await peer.tries()
        assert.ok(tried === undefined || tried <= 30, `${tried} connections to it`)
        const said = (await (await fetch(`${mesh.get('client').admin}/backends`)).json()) as Backends
        const ejected = said.services
          .flatMap(({ backends }) => backends.flatMap(({ endpoints }) => endpoints))
          .filter(({ ejectedUntil }) => ejectedUntil > 0)
        assert.deepEqual(
          ejected.map(({ endpoint }) => endpoint),
          [`${dead.address}:8080`],
        )
      }
      await dead.restart()
      await mesh.ready()
      // A new process of the caller knows of no ejection.
      await mesh.get('client').restart()
      await mesh.ready()
    })
  }

  it('F36: who gives up ends the work at the application, two sidecars away', async () => {
    assert.equal((await get('http://hang:8080/late')).status, 504)
    await eventually(() => gaveUp.includes('/late'), 'the application hears of the deadline')
    const socket = net.connect(mesh.get('client').outbound)
    socket.write('GET http://hang:8080/reset HTTP/1.1\r\nHost: hang:8080\r\n\r\n')
    await eventually(() => mesh.get('hang').seen === 2, 'the application has it')
    socket.resetAndDestroy()
    await eventually(() => gaveUp.includes('/reset'), 'the application hears that the client is gone')
  })

  it('F17: all endpoints down is a 503 at once, with its reason; a second after they are back it works', async () => {
    const { address } = mesh.get('alone')
    assert.equal((await get('http://alone:8080/')).status, 200)
    await mesh.get('alone').stop()
    for (let i = 0; i < 20; i++) {
      const startedAt = performance.now()
      const answer = await get('http://alone:8080/')
      assert.equal(answer.status, 503)
      assert.match(String(answer.headers['x-outrigger-reason']), /^UPSTREAM_CONNECT; by=test\/client/)
      assert.match(answer.body, new RegExp(`${address}:8080: refused: nothing listens there`))
      assert.ok(performance.now() - startedAt < 3_000)
    }
    await mesh.get('alone').restart()
    await eventually(() => mesh.get('alone').running.ready().ready, 'it is back')
    const backAt = performance.now()
    let status = 0
    while (status !== 200) {
      status = (await get('http://alone:8080/')).status
      assert.ok(status === 200 || performance.now() - backAt < 1_000, 'it is not reached a second after it is back')
    }
  })
})

interface Backends {
  readonly services: readonly {
    readonly backends: readonly { readonly endpoints: readonly { endpoint: string; ejectedUntil: number }[] }[]
  }[]
}

interface SilentPeer extends AsyncDisposable {
  /** Connections that came; undefined where nobody can know. */
  tries(): Promise<number | undefined>
}

/** A machine that is half dead: the kernel takes connections and the process does nothing with them. */
async function acceptsInSilence(host: string, port: number): Promise<SilentPeer> {
  const sockets = new Set<net.Socket>()
  let tries = 0
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    tries++
    socket.on('error', () => {})
    sockets.add(socket)
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    tries: () => Promise.resolve(tries),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A machine that answers no SYN: a process that is stopped, whose queue of connections is full. */
async function dropsSyn(host: string, port: number): Promise<SilentPeer> {
  const program = `require('net').createServer().listen({port:${port},host:'${host}',backlog:1},()=>console.log('up'))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  const fillers: net.Socket[] = []
  let full = false
  while (!full) {
    const socket = net.connect({ host, port })
    socket.on('error', () => {})
    fillers.push(socket)
    full = !(await Promise.race([once(socket, 'connect').then(() => true), delay(300, false)]))
  }
  return {
    tries: () => Promise.resolve(undefined),
    [Symbol.asyncDispose]: async () => {
      for (const socket of fillers) socket.destroy()
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}

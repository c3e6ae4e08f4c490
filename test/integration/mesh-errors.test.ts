/** The table of what can go wrong, one row one test: status, reason and flag that the caller sees, and what the application saw. */
import assert from 'node:assert/strict'
import type net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type Answer, call, Mesh } from '../support/mesh.ts'

/** An upstream that misbehaves as the path says. */
function misbehave(socket: net.Socket): void {
  socket.on('error', () => {})
  socket.on('end', () => socket.end())
  socket.on('data', (chunk) => {
    const path = / (\S+) HTTP/.exec(chunk.toString('latin1'))?.[1]
    switch (path) {
      case '/reset':
        socket.resetAndDestroy()
        return
      case '/close':
        socket.end()
        return
      case '/reset-in-body':
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart', () => socket.resetAndDestroy())
        return
      case '/short-body':
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart')
        return
      case '/short-chunk':
        socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\npart')
        return
      case '/garbage':
        socket.write('SSH-2.0-OpenSSH_9.9\r\n')
        return
      case '/both-framings':
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n')
        return
      case '/surplus':
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil')
        return
      case '/silent':
        return
      default:
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    }
  })
}

const policies = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: routed, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: routed }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /only } }]
      backendRefs: [{ name: routed, port: 8080 }]
    - matches: [{ path: { type: PathPrefix, value: /invalid } }]
      backendRefs: [{ name: missing, port: 8080 }]
    - matches: [{ path: { type: PathPrefix, value: /silent } }]
      timeouts: { request: 300ms }
      backendRefs: [{ name: bad, port: 8080 }]
    - matches: [{ path: { type: PathPrefix, value: /try } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /silent } } }]
      timeouts: { backendRequest: 200ms }
      backendRefs: [{ name: bad, port: 8080 }]
---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: { name: teapot, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: faulty }]
  match: [{ path: { type: Exact, value: /teapot } }]
  abort: { percentage: 100, httpStatus: 418 }
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: nobody, namespace: test }
spec:
  selector: { matchLabels: { workload: guarded } }
  action: DENY
  rules:
    - from: [{ principals: [spiffe://cluster.local/ns/test/sa/client] }]
      to: [{ methods: [GET], paths: [/admin*] }]
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: test }
spec: { ports: [{ name: http, port: 8080 }] }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: narrow, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: narrow }]
  connectionPool: { connectionsMax: 1, pendingRequestsMax: 1 }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: broken, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: broken }]
  circuitBreaker: [{ scope: Service, errorThresholdPercentage: 50, volumeThreshold: 3, rollingWindow: 10s, resetTimeout: 30s }]
`

const unanswered = (): void => {}

describe('the error table', () => {
  let mesh: Mesh
  before(async () => {
    const ok = (_req: unknown, res: { end(text: string): void }): void => res.end('ok')
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'bad', tcp: misbehave },
        { name: 'routed', app: ok },
        { name: 'faulty', app: ok },
        { name: 'guarded', app: ok },
        { name: 'narrow', tcp: misbehave },
        { name: 'broken', tcp: misbehave },
      ],
      policies,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  const get = (url: string, headers = {}): Promise<Answer> => call(mesh.get('client'), url, { headers })
  const expectRefusal = (answer: Answer, status: number, reason: RegExp): void => {
    assert.equal(answer.status, status, answer.body)
    assert.match(String(answer.headers['x-outrigger-reason']), reason)
  }

  it('NO_ROUTE: no rule matches', async () =>
    expectRefusal(await get('http://routed:8080/else'), 404, /^NO_ROUTE; by=test\/client$/))
  it('NO_VALID_BACKEND: the backend does not exist', async () => {
    expectRefusal(
      await get('http://routed:8080/invalid'),
      500,
      /^NO_VALID_BACKEND; policy=HTTPRoute\/test\/routed; version=\w+; by=test\/client$/,
    )
  })
  it('DEADLINE: the request took too long', async () => {
    const started = performance.now()
    expectRefusal(await get('http://routed:8080/silent'), 504, /^DEADLINE; policy=HTTPRoute\/test\/routed; /)
    assert.ok(performance.now() - started >= 300)
  })
  it('TRY_TIMEOUT: the try took too long', async () => {
    expectRefusal(await get('http://routed:8080/try'), 504, /^TRY_TIMEOUT; policy=HTTPRoute\/test\/routed; /)
  })
  it('FAULT_ABORTED: as the policy says', async () => {
    const { seen } = mesh.get('faulty')
    expectRefusal(await get('http://faulty:8080/teapot'), 418, /^FAULT_ABORTED; policy=FaultInjection\/test\/teapot; /)
    assert.equal(mesh.get('faulty').seen, seen)
    assert.equal((await get('http://faulty:8080/coffee')).status, 200)
  })
  it('DENIED: by identity, method and path; the application sees nothing', async () => {
    const { seen } = mesh.get('guarded')
    for (const path of ['/admin', '/admin/x', '/%61dmin', '/x/../admin', '/./admin', '/admin%2fx', '//admin']) {
      expectRefusal(
        await get(`http://guarded:8080${path}`),
        403,
        /^DENIED; policy=AuthorizationPolicy\/test\/nobody; version=\w+; by=test\/guarded$/,
      )
    }
    assert.equal((await get('http://guarded:8080/%ff')).status, 400)
    assert.equal(mesh.get('guarded').seen, seen)
    assert.equal((await get('http://guarded:8080/public')).status, 200)
  })
  it('NO_HEALTHY_ENDPOINT: nobody is there', async () =>
    expectRefusal(await get('http://empty:8080/'), 503, /^NO_HEALTHY_ENDPOINT; /))
  it('UPSTREAM_RESET: before the answer', async () => {
    expectRefusal(await get('http://bad:8080/reset'), 502, /^UPSTREAM_RESET; by=test\/bad$/)
    expectRefusal(await get('http://bad:8080/close'), 502, /^UPSTREAM_RESET; by=test\/bad$/)
  })
  for (const path of ['/reset-in-body', '/short-body', '/short-chunk']) {
    it(`a body that breaks off (${path}) breaks off at the caller too`, async () => {
      await assert.rejects(get(`http://bad:8080${path}`), /aborted|ECONNRESET|socket hang up/)
    })
  }
  for (const path of ['/garbage', '/both-framings']) {
    it(`UPSTREAM_PROTOCOL: ${path}`, async () =>
      expectRefusal(await get(`http://bad:8080${path}`), 502, /^UPSTREAM_PROTOCOL; by=test\/bad$/))
  }
  it('what an upstream sends unasked becomes nobody else’s answer', async () => {
    for (let i = 0; i < 20; i++) {
      assert.equal((await get('http://bad:8080/surplus')).body, 'ok')
      assert.equal((await get('http://bad:8080/')).body, 'ok')
    }
  })
  it('POOL_OVERFLOW: one connection, one waiting request, the third is refused', async () => {
    const aborted = [
      call(mesh.get('client'), 'http://narrow:8080/silent'),
      call(mesh.get('client'), 'http://narrow:8080/silent'),
    ]
    for (const promise of aborted) promise.catch(() => {})
    let answer: Answer | undefined
    for (let i = 0; i < 100 && answer?.status !== 503; i++) {
      answer = await Promise.race([
        get('http://narrow:8080/silent'),
        new Promise<undefined>((resolve) => setTimeout(resolve, 50, undefined)),
      ])
    }
    expectRefusal(answer!, 503, /^POOL_OVERFLOW; /)
  })
  it('BREAKER_OPEN: after enough failures nothing reaches the application', async () => {
    const broken = mesh.get('broken')
    for (let i = 0; i < 5; i++) await get('http://broken:8080/reset')
    const { seen } = broken
    for (let i = 0; i < 10; i++) {
      expectRefusal(await get('http://broken:8080/'), 503, /^BREAKER_OPEN; policy=BackendPolicy\/test\/broken; /)
    }
    assert.equal(broken.seen, seen)
  })
  it('UPSTREAM_CONNECT: the application is not there', async () => {
    await using other = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'gone', app: unanswered }],
    })
    await other.stopApp('gone')
    const answer = await call(other.get('client'), 'http://gone:8080/')
    expectRefusal(answer, 503, /^UPSTREAM_CONNECT; by=test\/gone$/)
  })
  it('UPSTREAM_CONNECT: the peer sidecar is not there', async () => {
    await using other = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'gone', app: unanswered }] })
    await other.get('gone').stop()
    const answer = await call(other.get('client'), 'http://gone:8080/')
    expectRefusal(answer, 503, /^UPSTREAM_CONNECT; by=test\/client$/)
  })
  it('every refusal is in the metrics by its flag', async () => {
    const admin = mesh.get('client').running.addresses.get('metrics')!
    const text = await (await fetch(`http://${admin.host}:${admin.port}/metrics`)).text()
    for (const flag of ['NR', 'UT', 'FI', 'UH', 'UO']) assert.match(text, new RegExp(`response_flags="${flag}"`), flag)
  })
})

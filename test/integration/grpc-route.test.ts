/** GRPCRoute from YAML to the answer: control plane, sidecars and applications, with calls that the test writes itself. */
import assert from 'node:assert/strict'
import type http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { type Answer, call, Mesh } from '../support/mesh.ts'

const policies = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: orders, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: orders }]
  rules:
    - name: canary
      matches:
        - method: { service: shop.v1.Orders, method: Get }
          headers: [{ name: x-customer, value: tester }]
      filters:
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-build, value: next }] } }
        - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-route, value: canary }] } }
      backendRefs: [{ name: orders-v2, port: 8080 }]
    - name: service
      matches: [{ method: { service: shop.v1.Orders } }]
      backendRefs: [{ name: orders, port: 8080 }]
    - name: expression
      matches: [{ method: { type: RegularExpression, service: "^shop[.]v[0-9]+[.]Stock$", method: "(Get|List).*" } }]
      backendRefs: [{ name: orders-v2, port: 8080 }]
    - name: method
      matches: [{ method: { method: Health } }]
      backendRefs: [{ name: orders-v2, port: 8080 }]
    - name: gone
      matches: [{ method: { service: shop.v1.Gone } }]
      backendRefs: [{ name: gone, port: 8080 }]
    - name: nothing
      matches: [{ method: { service: shop.v1.Nothing } }]
---
# Older by its date, and yet it is not applied: a port has routes of one kind.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: older, namespace: test, creationTimestamp: "2020-01-01T00:00:00Z" }
spec:
  parentRefs: [{ group: "", kind: Service, name: orders }]
  rules: [{ backendRefs: [{ name: orders-v2, port: 8080 }] }]
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: orders, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  timeouts: { request: 300ms }
`

describe('GRPCRoute', () => {
  let mesh: Mesh
  before(async () => {
    const app =
      (version: string): http.RequestListener =>
      (req, res) => {
        if (req.url === '/shop.v1.Orders/Slow') return
        res.setHeader('x-version', version).setHeader('x-saw', String(req.headers['x-build'] ?? ''))
        res.end('ok')
      }
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        // A port that declares nothing: the calls of this test come over HTTP/1.1.
        { name: 'orders', app: app('v1'), portName: 'api' },
        { name: 'orders-v2', app: app('v2'), portName: 'api' },
      ],
      policies,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  const grpc = (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    call(mesh.get('client'), `http://orders:8080${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc', te: 'trailers', ...headers },
    })
  const version = async (path: string, headers?: Record<string, string>) =>
    (await grpc(path, headers)).headers['x-version']
  /** A real gRPC answer that is its status and nothing else. */
  const refused = (answer: Answer, status: number, reason: RegExp): void => {
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['content-type'], 'application/grpc')
    assert.equal(answer.headers['grpc-status'], String(status))
    assert.match(String(answer.headers['x-outrigger-reason']), reason)
  }

  it('takes service and method before a service, with the rule it is of', async () => {
    const canary = await grpc('/shop.v1.Orders/Get', { 'x-customer': 'tester' })
    assert.deepEqual(
      ['x-version', 'x-saw', 'x-route'].map((name) => canary.headers[name]),
      ['v2', 'next', 'canary'],
    )
    assert.equal(await version('/shop.v1.Orders/Get'), 'v1')
    assert.equal(await version('/shop.v1.Orders/Put', { 'x-customer': 'tester' }), 'v1')
    assert.equal(await version('/shop.v1.Stock/ListAll'), 'v2')
    assert.equal(await version('/other.Service/Health'), 'v2')
  })

  it('answers a call that no rule matches with UNIMPLEMENTED', async () => {
    for (const path of ['/shop.v1.OrdersX/Get', '/shop.v1.Stock/Put', '/shop.v1.stock/Get', '/other.Service/Healthy'])
      refused(await grpc(path), 12, /^NO_ROUTE; by=test\/client$/)
  })

  it('answers what is no call with 404, and says why', async () => {
    const answer = await call(mesh.get('client'), 'http://orders:8080/shop.v1.Orders/Get', { method: 'POST' })
    assert.equal(answer.status, 404)
    assert.match(answer.body, /^NO_ROUTE: .*it is no gRPC request/)
  })

  it('answers UNAVAILABLE for a backend that is not there, and for none', async () => {
    for (const path of ['/shop.v1.Gone/Get', '/shop.v1.Nothing/Get'])
      refused(await grpc(path), 14, /^NO_VALID_BACKEND; policy=GRPCRoute\/test\/orders; version=\w+; by=test\/client$/)
  })

  it('has its timeouts from the BackendPolicy', async () => {
    // The other sidecar is told what time is left, and may be the first to see it end.
    refused(
      await grpc('/shop.v1.Orders/Slow'),
      4,
      /^DEADLINE; (?:policy=BackendPolicy\/test\/orders; version=\w+; by=test\/client|by=test\/orders)$/,
    )
  })
})

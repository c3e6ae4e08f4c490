/** What policies make of real gRPC calls: client and server of node:http2, two sidecars with mTLS between, documents as YAML. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, describe, it } from 'node:test'
import { sleep, systemClock } from '../../src/base/clock.ts'
import { findTrace } from '../../src/cli/trace.ts'
import { renderTrace } from '../../src/cli/trace-tree.ts'
import { eventually } from '../support/control.ts'
import { freePort } from '../support/free-port.ts'
import { Mesh } from '../support/mesh.ts'

const policies = `
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: orders, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  retry: { attempts: 2, retryOn: [connect-failure, refused, unavailable], backoff: { base: 1ms } }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: fragile, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: fragile }]
  circuitBreaker: [{ scope: Service, volumeThreshold: 4, errorThresholdPercentage: 50, resetTimeout: 1h }]
---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: { name: exhausted, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  match: [{ headers: [{ name: x-fault, value: "1" }] }]
  abort: { grpcStatus: RESOURCE_EXHAUSTED }
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-secrets, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  action: DENY
  rules:
    - to: [{ paths: [/test.Orders/Secret, "/test.Keys/*"] }]
`

/** Length-prefixed, not compressed. */
const message = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), Buffer.from(text)])

interface Outcome {
  readonly head: http2.IncomingHttpHeaders
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: string
  /** From the trailers, or the head of an answer that is nothing else. */
  readonly status: string
  /** Of the stream, if it was reset. */
  readonly error: string
}

describe('policies and gRPC calls', { timeout: 60_000 }, () => {
  let mesh: Mesh
  let app: http2.Http2Server
  let client: http2.ClientHttp2Session
  let admin = 0
  /** Heads of the calls that reached the application, and how many of them it saw reset. */
  let seen: http2.IncomingHttpHeaders[] = []
  let reset = 0

  const refuse = (stream: http2.ServerHttp2Stream, status: number): void =>
    stream.respond({ 'content-type': 'application/grpc', 'grpc-status': status }, { endStream: true })
  const begin = (stream: http2.ServerHttp2Stream, status: number | undefined): void => {
    stream.on('error', () => {})
    stream.once('close', () => {
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) reset++
    })
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: status !== undefined })
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status! }))
    stream.write(message('hello'))
    if (status !== undefined) stream.end()
  }
  const methods: Readonly<Record<string, (stream: http2.ServerHttp2Stream) => void>> = {
    Get: (stream) => begin(stream, 0),
    Secret: (stream) => begin(stream, 0),
    /** Well at the second try. */
    Flaky: (stream) => (seen.length === 1 ? refuse(stream, 14) : begin(stream, 0)),
    /** Refuses the first before it has read anything; of the second it counts the bytes. */
    Collect: (stream) => {
      if (seen.length === 1) {
        refuse(stream, 14)
        return
      }
      let bytes = 0
      stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
      stream.once('end', () => {
        stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }))
        stream.end(message(String(bytes)))
      })
    },
    Down: (stream) => refuse(stream, 14),
    Late: (stream) => begin(stream, 14),
    Broken: (stream) => begin(stream, 13),
    Drip: (stream) => begin(stream, undefined),
    Hang: (stream) => {
      stream.on('error', () => {})
      stream.once('close', () => reset++)
    },
  }

  before(async () => {
    app = http2.createServer()
    app.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      seen.push(headers)
      methods[headers[':path']!.slice(headers[':path']!.lastIndexOf('/') + 1)]!(stream)
    })
    app.listen(0, '127.0.0.1')
    await once(app, 'listening')
    const runsAt = (app.address() as AddressInfo).port
    admin = await freePort()
    const env = { OUTRIGGER_TRACES: `http://127.0.0.1:${admin}/v1/traces` }
    mesh = await Mesh.start({
      controlPlane: { ports: { stream: 0, admin } },
      workloads: [
        { name: 'client', env },
        { name: 'orders', runsAt, portName: 'grpc', env },
        { name: 'fragile', runsAt, portName: 'grpc' },
      ],
      policies,
    })
    const { host, port } = mesh.get('client').outbound
    client = http2.connect(`http://${host}:${port}`)
  })
  after(async () => {
    client?.destroy()
    await mesh?.[Symbol.asyncDispose]()
    app?.close()
  })
  beforeEach(() => {
    seen = []
    reset = 0
  })

  function open(method: string, headers: http2.OutgoingHttpHeaders = {}, service = 'orders'): http2.ClientHttp2Stream {
    return client.request({
      ':method': 'POST',
      ':authority': `${service}:8080`,
      ':path': method.startsWith('/') ? method : `/test.Orders/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
  }

  async function outcomeOf(stream: http2.ClientHttp2Stream): Promise<Outcome> {
    let head: http2.IncomingHttpHeaders = {}
    let trailers: http2.IncomingHttpHeaders = {}
    let body = ''
    let error = ''
    stream.once('response', (fields) => (head = fields))
    stream.once('trailers', (fields) => (trailers = fields))
    stream.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    stream.once('error', (cause) => (error = cause.message))
    await new Promise<void>((resolve) => stream.once('close', () => resolve()))
    return { head, trailers, body, error, status: String(trailers['grpc-status'] ?? head['grpc-status'] ?? '') }
  }

  function call(method: string, headers: http2.OutgoingHttpHeaders = {}, service = 'orders'): Promise<Outcome> {
    const stream = open(method, headers, service)
    stream.end(message('hi'))
    return outcomeOf(stream)
  }
  const answered = message('hello').toString('latin1')

  it('UNAVAILABLE in place of an answer is tried again, and the server is told so', async () => {
    const outcome = await call('Flaky')
    assert.deepEqual([outcome.status, outcome.body], ['0', answered])
    assert.equal(outcome.head['x-outrigger-attempt'], '2')
    assert.deepEqual(
      seen.map((headers) => headers['grpc-previous-rpc-attempts']),
      [undefined, '1'],
    )
  })

  it('a stream of messages that was refused goes on at the next try, from its beginning', async () => {
    const stream = open('Collect')
    const outcome = outcomeOf(stream)
    for (let i = 0; i < 50; i++) {
      stream.write(message('x'.repeat(95)))
      if (i === 10) await eventually(() => seen.length === 2, 'the second try')
    }
    stream.end()
    const { status, body } = await outcome
    assert.deepEqual([status, body], ['0', message('5000').toString('latin1')])
  })

  it('three times and no more; the last answer is the answer', async () => {
    const outcome = await call('Down')
    assert.deepEqual([outcome.status, outcome.head[':status'], seen.length], ['14', 200, 3])
    assert.equal(outcome.head['x-outrigger-reason'], undefined)
  })

  it('what ends so after a message is not tried again', async () => {
    const outcome = await call('Late')
    assert.deepEqual([outcome.status, outcome.body, seen.length], ['14', answered, 1])
  })

  it('INTERNAL is not among the conditions', async () => {
    assert.deepEqual([(await call('Broken')).status, seen.length], ['13', 1])
  })

  it('the time of the caller ends a call that hangs, and the server hears of both', async () => {
    const outcome = await call('Hang', { 'grpc-timeout': '1S' })
    assert.equal(outcome.status, '4')
    assert.match(String(outcome.head['x-outrigger-reason']), /^DEADLINE; by=test\/(?:client|orders)$/)
    const [, count, unit] = /^(\d+)([mu])$/.exec(String(seen[0]!['grpc-timeout']))!
    const toldMs = Number(count) / (unit === 'u' ? 1_000 : 1)
    assert.ok(toldMs > 0 && toldMs <= 1_000, String(toldMs))
    await eventually(() => reset === 1, 'the application sees the end of the call')
  })

  it('the time of the caller ends a stream that had begun, with a status', async () => {
    const outcome = await call('Drip', { 'grpc-timeout': '1S' })
    assert.equal(outcome.body, answered)
    assert.equal(outcome.status, '4')
    assert.equal(outcome.error, '')
    assert.match(String(outcome.trailers['grpc-message']), /^DEADLINE: /)
    await eventually(() => reset === 1, 'the application sees the end of the call')
  })

  it('a timeout that is none is refused', async () => {
    const outcome = await call('Get', { 'grpc-timeout': '5 seconds' })
    assert.deepEqual([outcome.status, seen.length], ['13', 0])
    assert.match(String(outcome.head['grpc-message']), /^BAD_REQUEST: grpc-timeout "5 seconds": expected/)
  })

  it('an injected status ends calls, and leaves other requests alone', async () => {
    const outcome = await call('Get', { 'x-fault': '1' })
    assert.deepEqual([outcome.status, seen.length], ['8', 0])
    assert.match(
      String(outcome.head['x-outrigger-reason']),
      /^FAULT_ABORTED; policy=FaultInjection\/test\/exhausted; version=\w+; by=test\/client$/,
    )
    const other = await call('Get', { 'x-fault': '1', 'content-type': 'application/json' })
    assert.deepEqual([other.head[':status'], other.body, seen.length], [200, answered, 1])
  })

  it('methods and services that a policy names are denied, however they are spelt', async () => {
    for (const path of ['/test.Orders/Secret', '/test.orders/secret', '//test.Orders/Secret', '/test.Keys/List']) {
      const outcome = await call(path)
      assert.equal(outcome.status, '7', path)
      assert.match(String(outcome.head['x-outrigger-reason']), /^DENIED; policy=AuthorizationPolicy\/test\/no-secrets/)
    }
    assert.equal(seen.length, 0)
    assert.equal((await call('Get')).status, '0')
  })

  it('a breaker opens for calls that were all answered 200', async () => {
    for (let i = 0; i < 4; i++) assert.equal((await call('Broken', {}, 'fragile')).status, '13')
    await call('Broken', {}, 'fragile')
    const refused = await call('Get', {}, 'fragile')
    assert.equal(refused.status, '14')
    assert.match(String(refused.head['x-outrigger-reason']), /^BREAKER_OPEN; policy=BackendPolicy\/test\/fragile/)
  })

  it('metrics of both sidecars tell methods and statuses', async () => {
    await call('Flaky')
    seen = []
    await call('Down')
    await call('/test.Keys/MadeUp')
    for (const [name, reporter] of [
      ['client', 'source'],
      ['orders', 'destination'],
    ] as const) {
      const text = await (await fetch(`${mesh.get(name).metrics}/metrics`)).text()
      const of = (method: string, status: string) =>
        `outrigger_rpc_calls_total{reporter="${reporter}",destination_service="test/orders",rpc_method="${method}",rpc_response_status_code="${status}"}`
      assert.ok(text.includes(of('test.Orders/Flaky', 'OK')), name)
      assert.ok(text.includes(of('_OTHER', 'PERMISSION_DENIED')), name)
      assert.ok(!text.includes('MadeUp'))
      assert.match(text, /outrigger_requests_total\{[^}]*request_protocol="grpc"[^}]*grpc_response_status="14"\}/)
    }
  })

  it('a trace shows the tries with their codes', async () => {
    const traceId = 'ab'.repeat(16)
    await call('Flaky', { traceparent: `00-${traceId}-${'1'.repeat(16)}-01` })
    let spans = 0
    let text = ''
    // One of the call and two of its tries from one sidecar, two from the other.
    while (spans < 5) {
      await sleep(systemClock, 50)
      const trace = await findTrace(traceId, `127.0.0.1:${admin}`, systemClock).catch(() => undefined)
      if (trace === undefined) continue
      spans = trace.spanCount
      text = renderTrace(trace, (_, plain) => plain)
    }
    assert.match(text, /client outbound {2}test\.Orders\/Flaky {2}.* OK$/m)
    assert.match(text, /try 1 → test\/orders .* UNAVAILABLE$/m)
    assert.match(text, /try 2 → test\/orders .* OK$/m)
    assert.match(text, /orders inbound {2}test\.Orders\/Flaky/)
    assert.match(text, /retry: after grpc-status UNAVAILABLE/)
  })
})

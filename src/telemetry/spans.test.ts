import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { trailersOnly } from '../../test/support/exchanges.ts'
import { attemptOf, completionOf, exchangeOf } from '../../test/support/telemetry-exchange.ts'
import { MeshError } from '../base/errors.ts'
import type { Completion, Exchange } from '../base/exchange.ts'
import { resultOf } from './result.ts'
import { type SpanData, spansOf } from './spans.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const policy = { kind: 'FaultInjection', namespace: 'shop', name: 'chaos', version: '2' }

function traced(exchange: Exchange): Exchange {
  exchange.trace = { traceId, parentSpanId: 'a'.repeat(16), spanId: 'b'.repeat(16), sampled: true, state: 'x=1' }
  exchange.decisions = []
  exchange.service = 'shop/orders'
  return exchange
}

function spansFor(exchange: Exchange, completion: Completion = completionOf(), rpcMethod = ''): SpanData[] {
  const result = resultOf(exchange, completion, '')
  return spansOf({ exchange, completion, result, rpcMethod, endedAt: 1_020, wall: (at) => at + 1_000_000 })
}

describe('spansOf', () => {
  it('makes a server span and a client span per try, with explicit ids and times', () => {
    const exchange = traced(exchangeOf({ headers: ['user-agent', 'curl/8'] }))
    const error = new MeshError('FAULT_ABORTED', 'aborted by policy', { policy })
    exchange.attempts.push(attemptOf({ status: 0, error, spanId: '1'.repeat(16), faultDelayMs: 2 }))
    exchange.attempts.push(
      attemptOf({
        number: 2,
        startedAt: 1_010,
        endedAt: 1_019,
        spanId: '2'.repeat(16),
        cause: 'FAULT_ABORTED',
        backoffMs: 6,
      }),
    )
    exchange.decide(1_000.5, 'route', 'rule 0', { kind: 'HTTPRoute', namespace: 'shop', name: 'orders', version: '9' })
    const [server, first, second] = spansFor(exchange)
    assert.ok(server !== undefined && first !== undefined && second !== undefined)
    assert.deepEqual(
      [
        server.name,
        server.kind,
        server.traceId,
        server.spanId,
        server.parentSpanId,
        server.parentRemote,
        server.traceState,
      ],
      ['GET orders', 'server', traceId, 'b'.repeat(16), 'a'.repeat(16), true, 'x=1'],
    )
    assert.deepEqual([server.startMs, server.endMs, server.error], [1_001_000, 1_001_020, undefined])
    assert.deepEqual(server.events, [
      {
        name: 'route',
        atMs: 1_001_000.5,
        attributes: {
          'outrigger.decision': 'rule 0',
          'outrigger.policy': 'HTTPRoute/shop/orders',
          'outrigger.policy.version': '9',
        },
      },
    ])
    assert.deepEqual(server.attributes, {
      'http.request.method': 'GET',
      'url.scheme': 'http',
      'server.address': 'orders',
      'server.port': 80,
      'network.protocol.version': '1.1',
      'url.path': '/cart',
      'network.peer.address': '127.0.0.1',
      'network.peer.port': 40_000,
      'client.address': '127.0.0.1',
      'http.request.body.size': 0,
      'http.response.body.size': 10,
      'outrigger.direction': 'outbound',
      'outrigger.attempts': 2,
      'outrigger.response_flags': 'DI',
      'user_agent.original': 'curl/8',
      'outrigger.service': 'shop/orders',
      'http.response.status_code': 200,
    })
    assert.deepEqual(
      [first.kind, first.spanId, first.parentSpanId, first.parentRemote],
      ['client', '1'.repeat(16), 'b'.repeat(16), false],
    )
    assert.equal(first.error, 'aborted by policy')
    assert.equal(first.attributes['error.type'], 'FAULT_ABORTED')
    assert.equal(first.attributes['outrigger.fault.type'], 'abort')
    assert.equal(first.attributes['outrigger.fault.delay_ms'], 2)
    assert.equal(first.attributes['outrigger.policy'], 'FaultInjection/shop/chaos')
    assert.equal(first.attributes['http.request.resend_count'], undefined)
    assert.deepEqual([second.startMs, second.endMs, second.error], [1_001_010, 1_001_019, undefined])
    assert.equal(second.attributes['http.request.resend_count'], 1)
    assert.equal(second.attributes['outrigger.retry.cause'], 'FAULT_ABORTED')
    assert.equal(second.attributes['outrigger.retry.backoff_ms'], 6)
    assert.equal(second.attributes['network.peer.address'], '127.1.0.3')
    assert.equal(second.attributes['outrigger.peer.identity'], 'spiffe://cluster.local/ns/shop/sa/orders')
  })

  it('marks errors as the conventions say: 4xx on the client side only', () => {
    const exchange = traced(exchangeOf())
    exchange.attempts.push(attemptOf({ status: 404 }))
    const [server, client] = spansFor(exchange, completionOf({ status: 404 }))
    assert.equal(server?.error, undefined)
    assert.equal(client?.error, '')
    assert.equal(client?.attributes['error.type'], '404')
    const [failed] = spansFor(traced(exchangeOf()), completionOf({ status: 500 }))
    assert.equal(failed?.attributes['error.type'], '500')
    const [cut] = spansFor(
      traced(exchangeOf()),
      completionOf({ error: new MeshError('UPSTREAM_RESET', 'reset in body') }),
    )
    assert.deepEqual([cut?.error, cut?.attributes['error.type']], ['reset in body', 'UPSTREAM_RESET'])
  })

  it('says who refused and why', () => {
    const exchange = traced(exchangeOf())
    exchange.error = new MeshError('BREAKER_OPEN', 'breaker open (rejecting)', { policy })
    const [server] = spansFor(exchange, completionOf({ status: 503 }))
    assert.equal(server?.attributes['outrigger.code'], 'BREAKER_OPEN')
    assert.equal(server?.attributes['outrigger.policy'], 'FaultInjection/shop/chaos')
    assert.equal(server?.attributes['outrigger.reason'], 'BREAKER_OPEN; policy=FaultInjection/shop/chaos; version=2')
  })

  it('keeps names few, and tokens and control characters out', () => {
    const exchange = traced(
      exchangeOf({ method: 'EVIL', target: '/a\u001b?token=secret', headers: ['user-agent', 'x\r\n\u0007'] }),
    )
    exchange.attempts.push(attemptOf({ endedAt: 0, endpoint: '[::1]:8080' }))
    const spans = spansFor(exchange)
    const [server, client] = spans
    assert.equal(server?.name, 'HTTP orders')
    assert.equal(server?.attributes['http.request.method'], '_OTHER')
    assert.equal(server?.attributes['http.request.method_original'], 'EVIL')
    const text = JSON.stringify(spans)
    assert.ok(!text.includes('secret'))
    assert.equal(server?.attributes['url.path'], '/a\\x1b')
    assert.equal(server?.attributes['user_agent.original'], 'x\\x0d\\x0a\\x07')
    assert.deepEqual(
      [client?.attributes['network.peer.address'], client?.attributes['network.peer.port']],
      ['::1', 8_080],
    )
    assert.equal(client?.endMs, 1_001_020, 'a try that nobody closed ends with the exchange')
    assert.match(client?.spanId ?? '', /^[0-9a-f]{16}$/)
  })

  it('tells the client apart from the load balancer that named it', () => {
    const downstream = { remoteAddress: '203.0.113.5', remotePort: 49_153, proxy: { address: '10.0.0.9', port: 4_000 } }
    const [server] = spansFor(traced(exchangeOf({ downstream })))
    assert.equal(server?.attributes['client.address'], '203.0.113.5')
    assert.equal(server?.attributes['network.peer.address'], '10.0.0.9')
    assert.equal(server?.attributes['network.peer.port'], 4_000)
  })

  it('says of a gRPC call its method and status, by the RPC conventions', () => {
    const call = (): Exchange => {
      const exchange = traced(
        exchangeOf({ method: 'POST', target: '/shop.Orders/Get', headers: ['content-type', 'application/grpc'] }),
      )
      exchange.response = trailersOnly(0)
      exchange.attempts.push(attemptOf({ grpcStatus: 14 }))
      exchange.attempts.push(attemptOf({ number: 2, grpcStatus: 0, cause: 'grpc-status UNAVAILABLE' }))
      return exchange
    }
    const [server, first, second] = spansFor(call(), completionOf(), 'shop.Orders/Get')
    const of = (span: SpanData | undefined) => [
      span?.name,
      span?.attributes['rpc.system.name'],
      span?.attributes['rpc.method'],
      span?.attributes['rpc.response.status_code'],
      span?.attributes['error.type'],
      span?.error,
      span?.attributes['http.response.status_code'],
    ]
    const known = ['shop.Orders/Get', 'grpc', 'shop.Orders/Get']
    assert.deepEqual(of(server), [...known, 'OK', undefined, undefined, 200])
    assert.deepEqual(of(first), [...known, 'UNAVAILABLE', 'UNAVAILABLE', '', 200])
    assert.deepEqual(of(second), [...known, 'OK', undefined, undefined, 200])

    const [unknown] = spansFor(call(), completionOf(), '_OTHER')
    assert.equal(unknown?.name, 'POST orders')
    assert.deepEqual(
      [unknown?.attributes['rpc.method'], unknown?.attributes['rpc.method_original']],
      ['_OTHER', 'shop.Orders/Get'],
    )
  })

  it('marks statuses as errors as the conventions say: of a server only those that are its own', () => {
    const call = (grpcStatus: number): Exchange => {
      const exchange = traced(exchangeOf({ method: 'POST', headers: ['content-type', 'application/grpc'] }))
      exchange.response = trailersOnly(grpcStatus)
      exchange.attempts.push(attemptOf({ grpcStatus }))
      return exchange
    }
    const errors = (grpcStatus: number) =>
      spansFor(call(grpcStatus), completionOf(), 'a.B/C').map(({ attributes }) => attributes['error.type'])
    assert.deepEqual(errors(5), [undefined, 'NOT_FOUND'])
    assert.deepEqual(errors(13), ['INTERNAL', 'INTERNAL'])
    assert.deepEqual(errors(0), [undefined, undefined])
  })

  it('holds no more than 64 decisions', () => {
    const exchange = traced(exchangeOf())
    for (let i = 0; i < 200; i++) exchange.decide(i, 'retry', `try ${i}`)
    assert.equal(spansFor(exchange)[0]?.events.length, 64)
  })
})

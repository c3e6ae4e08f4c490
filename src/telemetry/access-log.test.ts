import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { trailersOnly } from '../../test/support/exchanges.ts'
import { attemptOf, completionOf, exchangeOf } from '../../test/support/telemetry-exchange.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import { ecsLine, type LogEntry, lineBytesMax, textLine } from './access-log.ts'
import { resultOf } from './result.ts'

function entryOf(exchange: Exchange, status = 200): LogEntry {
  const completion = completionOf({ status, bytesIn: 3 })
  const result = resultOf(exchange, completion, '')
  return { exchange, completion, result, startedAtMs: Date.UTC(2026, 0, 1, 12), durationMs: 5.4 }
}

function deniedExchange(): Exchange {
  const exchange = exchangeOf({
    headers: ['User-Agent', 'curl/8', 'X-Forwarded-For', '10.9.9.9', 'X-Request-Id', 'r-1'],
    direction: 'inbound',
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
  })
  exchange.trace = { traceId: 'a'.repeat(32), parentSpanId: '', spanId: 'b'.repeat(16), sampled: true, state: '' }
  exchange.service = 'shop/orders'
  exchange.error = new MeshError('DENIED', 'denied', {
    policy: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'only-web', version: '3' },
  })
  return exchange
}

const hostileTexts = [
  '"\r\n[2026-01-01T00:00:00.000Z] "GET /forged HTTP/1.1" 200',
  '\u001b[2J\u001b]0;title\u0007',
  '\u0000\u007f\u0080\u009b31m',
  'caf\u00c3\u00a9 \u00ff\u00fe',
  'x'.repeat(10_000),
  '\\"'.repeat(5_000),
  '\u202e\u2028',
]

describe('textLine', () => {
  it("is Envoy's default layout with reason, policy and trace", () => {
    const exchange = exchangeOf({ headers: ['User-Agent', 'curl/8', 'x-request-id', 'r-1'] })
    exchange.attempts.push(attemptOf())
    assert.equal(
      textLine(entryOf(exchange)),
      '[2026-01-01T12:00:00.000Z] "GET /cart?id=1 HTTP/1.1" 200 - 3 10 5 3 "-" "curl/8" "r-1" "orders:80" "127.1.0.3:8080" - "-" -',
    )
    assert.equal(
      textLine(entryOf(deniedExchange(), 403)),
      '[2026-01-01T12:00:00.000Z] "GET /cart?id=1 HTTP/1.1" 403 DENY 3 10 5 - "10.9.9.9" "curl/8" "r-1" "orders:80" "-" ' +
        `DENIED "AuthorizationPolicy/shop/only-web@3" ${'a'.repeat(32)}`,
    )
  })
})

describe('a gRPC call', () => {
  const call = (): Exchange => {
    const exchange = exchangeOf({
      method: 'POST',
      target: '/shop.Orders/Get',
      headers: ['content-type', 'application/grpc'],
    })
    exchange.response = trailersOnly(14)
    return exchange
  }

  it('has its status at the end of the line', () => {
    assert.match(textLine(entryOf(call())), /"POST \/shop\.Orders\/Get HTTP\/1\.1" 200 - .* - "-" - UNAVAILABLE$/)
  })

  it('has it as a label', () => {
    const line = JSON.parse(ecsLine(entryOf(call()), 'web'))
    assert.deepEqual(
      [line['labels.grpc_status'], line['event.outcome'], line['log.level']],
      ['UNAVAILABLE', 'failure', 'warn'],
    )
    assert.equal(JSON.parse(ecsLine(entryOf(exchangeOf()), 'web'))['labels.grpc_status'], undefined)
  })
})

describe('ecsLine', () => {
  it('has the client that a load balancer named, and the load balancer', () => {
    const downstream = { remoteAddress: '2001:db8::5', remotePort: 49_153, proxy: { address: 'fd00::9', port: 4_000 } }
    const line = JSON.parse(ecsLine(entryOf(exchangeOf({ downstream })), 'orders'))
    assert.deepEqual(
      [line['source.ip'], line['source.port'], line['labels.proxy']],
      ['2001:db8::5', 49_153, '[fd00::9]:4000'],
    )
  })

  it('has the fields that Elastic knows', () => {
    const line = JSON.parse(ecsLine(entryOf(deniedExchange(), 403), 'orders'))
    assert.deepEqual(line, {
      '@timestamp': '2026-01-01T12:00:00.000Z',
      'ecs.version': '8.17.0',
      'log.level': 'warn',
      message: 'GET /cart?id=1 403',
      'event.kind': 'event',
      'event.category': ['web', 'network'],
      'event.outcome': 'failure',
      'event.duration': 5_400_000,
      'service.name': 'orders',
      'trace.id': 'a'.repeat(32),
      'span.id': 'b'.repeat(16),
      'http.request.method': 'GET',
      'http.request.id': 'r-1',
      'http.request.body.bytes': 3,
      'http.version': '1.1',
      'http.response.status_code': 403,
      'http.response.body.bytes': 10,
      'url.path': '/cart',
      'url.query': 'id=1',
      'url.domain': 'orders:80',
      'user_agent.original': 'curl/8',
      'client.address': '10.9.9.9',
      'source.ip': '127.0.0.1',
      'source.port': 40_000,
      'destination.address': '127.1.0.1:15001',
      'tls.client.x509.subject': 'spiffe://cluster.local/ns/shop/sa/web',
      'labels.direction': 'inbound',
      'labels.destination_service': 'shop/orders',
      'labels.response_flags': 'DENY',
      'labels.reason': 'DENIED',
      'labels.policy': 'AuthorizationPolicy/shop/only-web@3',
      'labels.attempts': 0,
    })
  })
})

describe('hostile requests', () => {
  for (const hostile of hostileTexts) {
    it(`stay on one line: ${JSON.stringify(hostile.slice(0, 20))}`, () => checkLines(hostile))
  }

  it('stay on one line, any of them', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 3_000 }), checkLines), { numRuns: 300 })
  })
})

/** The text stands wherever a client can put it. */
function checkLines(hostile: string): void {
  const exchange = exchangeOf({
    method: hostile,
    target: `/${hostile}?${hostile}`,
    authority: hostile,
    headers: ['user-agent', hostile, 'x-forwarded-for', hostile, 'x-request-id', hostile],
  })
  exchange.attempts.push(attemptOf())
  const text = textLine(entryOf(exchange))
  assert.match(text, /^[\x20-\x7e]+$/)
  assert.ok(text.length < lineBytesMax)
  // Seven quoted fields and nothing that closes one early.
  assert.equal(text.split('"').length - 1, 14)
  assert.ok(!text.includes('"GET /forged'))
  const json = ecsLine(entryOf(exchange), 'web')
  assert.match(json, /^[\x20-\x7e]+$/)
  assert.ok(json.length < lineBytesMax, `${json.length}`)
  assert.equal(JSON.parse(json)['http.response.status_code'], 200)
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { StoredSpan, TraceView } from '../../control-plane/admin/trace-store.ts'
import { renderTrace } from './trace-tree.ts'

const uncoloured = (_style: string, text: string): string => text

function span(facts: Partial<StoredSpan>): StoredSpan {
  return {
    traceId: 'a'.repeat(32),
    spanId: '1'.repeat(16),
    parentSpanId: '',
    name: 'GET orders',
    kind: 'server',
    service: 'web',
    instance: 'shop/web-1',
    startMs: 1_000,
    durationMs: 5,
    status: 'unset',
    message: '',
    attributes: {},
    events: [],
    ...facts,
  }
}

function view(spans: StoredSpan[], droppedSpans = 0): TraceView {
  return {
    traceId: 'a'.repeat(32),
    name: 'GET orders',
    service: 'web',
    startMs: Date.UTC(2026, 0, 1, 12, 0, 0, 250),
    durationMs: 5,
    spanCount: spans.length,
    failed: false,
    quietMs: 0,
    droppedSpans,
    spans,
  }
}

describe('renderTrace', () => {
  it('escapes what came over the network', () => {
    const hostile = '\u001b[2J\r\nforged \u202e'
    const text = renderTrace(
      view([
        span({
          name: hostile,
          service: hostile,
          status: 'error',
          message: hostile,
          attributes: {
            'url.path': hostile,
            'error.type': hostile,
            'outrigger.reason': hostile,
            'outrigger.retry.cause': hostile,
          },
          events: [
            { name: hostile, atMs: 1, attributes: { 'outrigger.decision': hostile, 'outrigger.policy': hostile } },
          ],
        }),
      ]),
      uncoloured,
    )
    assert.match(text.replaceAll('\n', ''), /^[\x20-\x7e]+$/)
    assert.ok(!text.split('\n').some((line) => line.trimStart().startsWith('forged')))
  })

  it('shows the codes of a gRPC call and of its tries', () => {
    const grpc = { 'rpc.system.name': 'grpc', 'rpc.method': 'shop.Orders/Get', 'http.response.status_code': 200 }
    const tried = { kind: 'client' as const, parentSpanId: '1'.repeat(16), name: 'shop.Orders/Get' }
    const text = renderTrace(
      view([
        span({
          name: 'shop.Orders/Get',
          attributes: {
            ...grpc,
            'url.path': '/shop.Orders/Get',
            'outrigger.direction': 'outbound',
            'rpc.response.status_code': 'OK',
          },
        }),
        span({
          ...tried,
          spanId: '2'.repeat(16),
          status: 'error',
          attributes: {
            ...grpc,
            'outrigger.attempt': 1,
            'outrigger.backend': 'shop/orders',
            'rpc.response.status_code': 'UNAVAILABLE',
            'error.type': 'UNAVAILABLE',
          },
        }),
        span({
          ...tried,
          spanId: '3'.repeat(16),
          status: 'error',
          attributes: {
            ...grpc,
            'http.response.status_code': 503,
            'outrigger.attempt': 2,
            'outrigger.backend': 'shop/orders',
            'rpc.response.status_code': 'UNAVAILABLE',
            'error.type': 'UNAVAILABLE',
            'outrigger.retry.cause': 'grpc-status UNAVAILABLE',
          },
        }),
      ]),
      uncoloured,
    )
    assert.match(text, /web outbound {2}shop\.Orders\/Get {2}5\.0 ms {2}OK$/m)
    assert.match(text, /try 1 → shop\/orders {2}5\.0 ms {2}UNAVAILABLE$/m)
    assert.match(text, /try 2 → shop\/orders {2}5\.0 ms {2}UNAVAILABLE HTTP 503$/m)
    assert.match(text, /retry: after grpc-status UNAVAILABLE/)
  })

  it('tells a hedge from a retry, and who lost from who failed', () => {
    const tried = { kind: 'client' as const, parentSpanId: '1'.repeat(16) }
    const text = renderTrace(
      view([
        span({}),
        span({
          ...tried,
          spanId: '2'.repeat(16),
          attributes: { 'outrigger.attempt': 1, 'outrigger.backend': 'shop/orders', 'outrigger.code': 'SUPERSEDED' },
        }),
        span({
          ...tried,
          spanId: '3'.repeat(16),
          attributes: {
            'outrigger.attempt': 2,
            'outrigger.backend': 'shop/orders',
            'outrigger.hedge.cause': 'no answer within 50 ms',
            'http.response.status_code': 200,
          },
        }),
      ]),
      uncoloured,
    )
    assert.match(text, /try 1 → shop\/orders {2}5\.0 ms {2}superseded/)
    assert.match(text, /try 2 → shop\/orders {2}5\.0 ms {2}200\n.*hedge: beside a slow try, no answer within 50 ms/)
  })

  it('prints every span once, whatever their parents say', () => {
    const spans = [
      span({ spanId: '1'.repeat(16), parentSpanId: '2'.repeat(16), name: 'cycle one' }),
      span({ spanId: '2'.repeat(16), parentSpanId: '1'.repeat(16), name: 'cycle two' }),
      span({ spanId: '3'.repeat(16), parentSpanId: '3'.repeat(16), name: 'own parent' }),
      span({ spanId: '4'.repeat(16), parentSpanId: '9'.repeat(16), name: 'orphan' }),
    ]
    const text = renderTrace(view(spans, 2), uncoloured)
    for (const { name } of spans) assert.equal(text.split(name).length, 2, name)
    assert.match(text, /2 more spans were not kept$/)
  })

  it('draws a deep trace without losing its place', () => {
    const depth = 300
    const spans = Array.from({ length: depth }, (_, i) =>
      span({ spanId: String(i + 1).padStart(16, '0'), parentSpanId: i === 0 ? '' : String(i).padStart(16, '0') }),
    )
    assert.equal(renderTrace(view(spans), uncoloured).split('\n').length, depth + 2)
  })
})

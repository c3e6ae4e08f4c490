import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { create, toBinary } from '@bufbuild/protobuf'
import { ExportTraceServiceRequestSchema } from '../../src/api/gen/otlp_pb.ts'
import { silentLog } from '../../src/base/log.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { decodeSpans } from './otlp.ts'
import { AdminServer } from './server.ts'
import { type StoredSpan, TraceStore, type TraceView } from './trace-store.ts'
import { mountTraces } from './traces.ts'

const traceA = 'a'.repeat(32)
const traceB = 'b'.repeat(32)

function span(facts: Partial<StoredSpan> = {}): StoredSpan {
  return {
    traceId: traceA,
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

function id(i: number, digits: number): string {
  return i.toString(16).padStart(digits, '0')
}

/** One export of one span, as a sidecar writes it. */
function exported(traceId = traceA): Uint8Array {
  const text = (value: string) => ({ value: { case: 'stringValue' as const, value } })
  return toBinary(
    ExportTraceServiceRequestSchema,
    create(ExportTraceServiceRequestSchema, {
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: text('web') }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: Buffer.from(traceId, 'hex'),
                  spanId: Buffer.from('2'.repeat(16), 'hex'),
                  parentSpanId: Buffer.from('3'.repeat(16), 'hex'),
                  name: 'GET orders',
                  kind: 3,
                  startTimeUnixNano: 1_700_000_000_123_456_789n,
                  endTimeUnixNano: 1_700_000_000_125_456_789n,
                  attributes: [
                    { key: '__proto__', value: text('x') },
                    { key: 'n', value: { value: { case: 'intValue', value: 7n } } },
                    { key: 'd', value: { value: { case: 'doubleValue', value: 1.5 } } },
                    { key: 'b', value: { value: { case: 'boolValue', value: true } } },
                    { key: 'l', value: { value: { case: 'arrayValue', value: { values: [text('p'), text('q')] } } } },
                    { key: 'none' },
                  ],
                  events: [
                    {
                      name: 'route',
                      timeUnixNano: 1_700_000_000_124_000_000n,
                      attributes: [{ key: 'k', value: text('v') }],
                    },
                  ],
                  status: { code: 2, message: 'refused' },
                },
                { traceId: Buffer.from('short'), spanId: Buffer.from('1'), name: 'no ids' },
              ],
            },
          ],
        },
      ],
    }),
  )
}

async function setUp(test: TestContext): Promise<{ port: number; store: TraceStore; clock: FakeClock }> {
  const clock = new FakeClock()
  const store = new TraceStore(clock)
  const admin = new AdminServer({ log: silentLog, host: '127.0.0.1', port: 0 })
  mountTraces(admin, store)
  await admin.start()
  test.after(() => admin.stop())
  return { port: admin.port, store, clock }
}

async function call(
  port: number,
  path: string,
  body?: Uint8Array,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  const outgoing = request({
    host: '127.0.0.1',
    port,
    path,
    method: body === undefined ? 'GET' : 'POST',
    headers,
    agent: false,
  })
  outgoing.end(body)
  const [response] = await once(outgoing, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  return { status: response.statusCode, body: text }
}

const protobuf = { 'content-type': 'application/x-protobuf' }

describe('decodeSpans', () => {
  it('reads ids, times, kinds, values and events, and leaves out spans without ids', () => {
    const spans = decodeSpans(exported())
    assert.equal(spans.length, 1)
    const { attributes, ...rest } = spans[0]!
    assert.deepEqual(Object.entries(attributes), [
      ['__proto__', 'x'],
      ['n', 7],
      ['d', 1.5],
      ['b', true],
      ['l', 'p, q'],
      ['none', ''],
    ])
    assert.deepEqual(
      { ...rest, events: rest.events.map((event) => ({ ...event, attributes: { ...event.attributes } })) },
      {
        traceId: traceA,
        spanId: '2'.repeat(16),
        parentSpanId: '3'.repeat(16),
        name: 'GET orders',
        kind: 'client',
        service: 'web',
        instance: '',
        startMs: 1_700_000_000_123.456,
        durationMs: 2,
        status: 'error',
        message: 'refused',
        events: [{ name: 'route', atMs: 1_700_000_000_124, attributes: { k: 'v' } }],
      },
    )
  })

  it('throws on what is no export', () => {
    assert.throws(() => decodeSpans(Buffer.from('{"resourceSpans":[]}')))
  })
})

describe('TraceStore', () => {
  it('keeps spans of a trace together, by start, each once', () => {
    const store = new TraceStore(new FakeClock())
    store.add([span({ spanId: '2'.repeat(16), startMs: 1_004, durationMs: 9, status: 'error' })])
    store.add([span(), span()])
    const view = store.get(traceA)
    assert.deepEqual(
      view?.spans.map(({ startMs }) => startMs),
      [1_000, 1_004],
    )
    assert.deepEqual(
      [view?.spanCount, view?.startMs, view?.durationMs, view?.failed, view?.service],
      [2, 1_000, 13, true, 'web'],
    )
    assert.equal(store.get(traceB), undefined)
  })

  it('finds the latest with enough spans, and knows since when it is quiet', async () => {
    const clock = new FakeClock()
    const store = new TraceStore(clock)
    assert.equal(store.last(), undefined)
    store.add([span(), span({ spanId: '2'.repeat(16) })])
    store.add([span({ traceId: traceB })])
    await clock.advance(300)
    assert.equal(store.last()?.traceId, traceB)
    assert.equal(store.last(2)?.traceId, traceA)
    assert.equal(store.last(3), undefined)
    assert.equal(store.last()?.quietMs, 300)
    assert.deepEqual(
      store.list(1).map(({ traceId }) => traceId),
      [traceB],
    )
    assert.deepEqual(
      store.list(9).map(({ traceId }) => traceId),
      [traceB, traceA],
    )
  })

  it('lets the oldest traces go past its limits of spans and of bytes', () => {
    const bySpans = new TraceStore(new FakeClock(), { spansMax: 10 })
    for (let i = 1; i <= 100; i++) bySpans.add([span({ traceId: id(i, 32) })])
    assert.equal(bySpans.spanCount, 10)
    assert.equal(bySpans.get(id(90, 32)), undefined)
    assert.ok(bySpans.get(id(91, 32)) !== undefined)
    const byBytes = new TraceStore(new FakeClock(), { bytesMax: 100_000 })
    for (let i = 1; i <= 100; i++) byBytes.add([span({ traceId: id(i, 32), message: 'x'.repeat(4_000) })])
    assert.ok(byBytes.spanCount < 13 && byBytes.spanCount > 5, `${byBytes.spanCount}`)
    byBytes.add([span({ message: 'x'.repeat(60_000) })])
    assert.equal(byBytes.spanCount, 0, 'even one that is too big alone')
  })

  it('holds one trace to its share', () => {
    const store = new TraceStore(new FakeClock(), { spansPerTraceMax: 3 })
    for (let i = 1; i <= 10; i++) store.add([span({ spanId: id(i, 16) })])
    assert.deepEqual([store.get(traceA)?.spanCount, store.get(traceA)?.droppedSpans], [3, 7])
  })
})

describe('traces over HTTP', () => {
  it('takes an export and shows it', async (test) => {
    const { port } = await setUp(test)
    assert.equal((await call(port, '/traces/last')).status, 404)
    assert.deepEqual(await call(port, '/v1/traces', exported(), protobuf), { status: 200, body: '' })
    const zipped = gzipSync(exported(traceB))
    assert.equal((await call(port, '/v1/traces', zipped, { ...protobuf, 'content-encoding': 'gzip' })).status, 200)
    const view = JSON.parse((await call(port, `/traces/${traceA.toUpperCase()}`)).body) as TraceView
    assert.equal(view.spans[0]?.attributes['n'], 7)
    const list = JSON.parse((await call(port, '/traces')).body) as TraceView[]
    assert.deepEqual(
      list.map(({ traceId }) => traceId),
      [traceB, traceA],
    )
    assert.equal((JSON.parse((await call(port, '/traces/last?min=1')).body) as TraceView).traceId, traceB)
    assert.equal((await call(port, '/traces/last?min=2')).status, 404)
  })

  it('refuses what it cannot read, with the remedy', async (test) => {
    const { port, store } = await setUp(test)
    const asJson = await call(port, '/v1/traces', Buffer.from('{}'), { 'content-type': 'application/json' })
    assert.deepEqual([asJson.status, /OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/.test(asJson.body)], [415, true])
    assert.equal((await call(port, '/v1/traces', exported(), { ...protobuf, 'content-encoding': 'br' })).status, 415)
    assert.equal((await call(port, '/v1/traces', Buffer.from('garbage!'), protobuf)).status, 400)
    assert.equal(
      (await call(port, '/v1/traces', Buffer.from('no gzip'), { ...protobuf, 'content-encoding': 'gzip' })).status,
      400,
    )
    assert.equal((await call(port, '/v1/traces', Buffer.alloc(5_000_000), protobuf)).status, 413)
    const bomb = gzipSync(Buffer.alloc(40_000_000))
    assert.equal((await call(port, '/v1/traces', bomb, { ...protobuf, 'content-encoding': 'gzip' })).status, 400)
    assert.equal(store.spanCount, 0)
    for (const path of ['/traces/xyz', '/traces/last?min=0', '/traces/last?min=x', '/traces?limit=-1']) {
      assert.equal((await call(port, path)).status, 400, path)
    }
    assert.equal((await call(port, `/traces/${traceB}`)).status, 404)
  })
})

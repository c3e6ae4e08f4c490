import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { AdminServer } from '../../control-plane/admin/server.ts'
import { TraceStore } from '../../control-plane/admin/trace-store.ts'
import { mountTraces } from '../../control-plane/admin/traces.ts'
import { attemptOf, completionOf, exchangeOf, MemorySink, testWorkload } from '../../test/support/telemetry-exchange.ts'
import { type Clock, sleep, systemClock, type Timer } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { attemptSpanId, traceHeaderLines } from '../telemetry/trace-context.ts'
import { findTrace } from './trace.ts'
import { renderTrace } from './trace-tree.ts'

const start = Date.UTC(2026, 0, 1, 12)

/** Real timers for what waits, and a time of day that the test moves. */
class TestClock implements Clock {
  atMs = 0
  now = (): number => this.atMs
  wall = (): number => start + this.atMs
  after = (ms: number, callback: () => void): Timer => systemClock.after(ms, callback)
  every = (ms: number, callback: () => void): Timer => systemClock.every(ms, callback)
  random = (): number => 0
}

async function startStore(test: TestContext): Promise<{ store: TraceStore; admin: string }> {
  const store = new TraceStore(systemClock)
  const server = new AdminServer({ log: silentLog, host: '127.0.0.1', port: 0 })
  mountTraces(server, store)
  await server.start()
  test.after(() => server.stop())
  return { store, admin: `127.0.0.1:${server.port}` }
}

function sidecar(admin: string, clock: Clock, name: string): Telemetry {
  return new Telemetry({
    clock,
    workload: { ...testWorkload, name: `${name}-1`, canonicalService: name },
    tracesEndpoint: `http://${admin}/v1/traces`,
    accessLog: 'off',
    stdout: new MemorySink(),
    env: { OTEL_TRACES_SAMPLER: 'always_on', OTEL_BSP_SCHEDULE_DELAY: '20' },
  })
}

/** One request from web to orders: a try that a fault ends, a try that arrives, a refusal there. Returns its trace id. */
async function makeTrace(admin: string): Promise<string> {
  const clock = new TestClock()
  const web = sidecar(admin, clock, 'web')
  const orders = sidecar(admin, clock, 'orders')

  const caller = exchangeOf({ startedAt: 0 })
  web.begin(caller)
  caller.service = 'shop/orders'
  caller.decide(0.5, 'route', 'rule 0 of "orders"', {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name: 'orders',
    version: '4',
  })
  const fault = new MeshError('FAULT_ABORTED', 'aborted with 503', {
    policy: { kind: 'FaultInjection', namespace: 'shop', name: 'chaos', version: '2' },
  })
  caller.attempts.push(attemptOf({ startedAt: 1, endedAt: 2, status: 0, error: fault, spanId: attemptSpanId(caller) }))
  const second = attemptOf({
    number: 2,
    startedAt: 27,
    endedAt: 35.5,
    status: 403,
    cause: 'FAULT_ABORTED',
    backoffMs: 25,
    spanId: attemptSpanId(caller),
  })
  caller.attempts.push(second)

  const [, name = '', value = ''] = /^(\w+): (\S+)\r\n$/.exec(traceHeaderLines(caller, second)) ?? []
  const callee = exchangeOf({
    startedAt: 29,
    direction: 'inbound',
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    headers: [name, value],
  })
  orders.begin(callee)
  callee.service = 'shop/orders'
  const policy = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'only-admin', version: '3' }
  callee.decide(30, 'authorize', 'no rule allows spiffe://cluster.local/ns/shop/sa/web', policy)
  callee.error = new MeshError('DENIED', 'denied', { policy })
  clock.atMs = 33
  orders.complete('inbound', callee, completionOf({ status: 403 }), '')
  clock.atMs = 36
  web.complete(
    'outbound',
    caller,
    completionOf({ status: 403 }),
    'DENIED; policy=AuthorizationPolicy/shop/only-admin; version=3; by=shop/orders-1',
  )
  // `close` waits for the exporter only once it is loaded.
  for (const telemetry of [web, orders]) {
    while (!/outrigger_spans_exported_total [1-9]/.test(await telemetry.scrape())) await sleep(systemClock, 20)
    await telemetry.close()
  }
  return caller.trace!.traceId
}

describe('outrigger trace', () => {
  it('shows a request that crossed two sidecars as one tree', async (test) => {
    const { admin } = await startStore(test)
    const traceId = await makeTrace(admin)
    const trace = await findTrace('last', admin, systemClock)
    assert.equal(trace.traceId, traceId)
    assert.deepEqual((await findTrace(traceId.toUpperCase(), admin, systemClock)).spans, trace.spans)
    assert.equal(
      `\n${renderTrace(trace, (_style, text) => text)}\n`,
      `
trace ${traceId}  web  36.0 ms  4 spans  2026-01-01 12:00:00.000Z

   0.0 ms  web outbound  GET orders  /cart  36.0 ms  403
   0.5 ms  │   route: rule 0 of "orders" [HTTPRoute/shop/orders@4]
           │   reason: DENIED; policy=AuthorizationPolicy/shop/only-admin; version=3; by=shop/orders-1
   1.0 ms  ├─ try 1 → shop/orders (orders-1 127.1.0.3:8080)  1.0 ms  FAULT_ABORTED
           │      error: aborted with 503
           │      policy: FaultInjection/shop/chaos@2
  27.0 ms  └─ try 2 → shop/orders (orders-1 127.1.0.3:8080)  8.5 ms  403
              │   retry: after FAULT_ABORTED, waited 25.0 ms
  29.0 ms     └─ orders inbound  GET orders  /cart  4.0 ms  403
  30.0 ms            authorize: no rule allows spiffe://cluster.local/ns/shop/sa/web [AuthorizationPolicy/shop/only-admin@3]
                     reason: DENIED; policy=AuthorizationPolicy/shop/only-admin; version=3
`,
    )
  })

  it('waits for spans that are still on their way', async (test) => {
    const { admin } = await startStore(test)
    const finding = findTrace('last', admin, systemClock)
    const traceId = await makeTrace(admin)
    const trace = await finding
    assert.deepEqual([trace.traceId, trace.spanCount], [traceId, 4])
  })

  it('says what is missing: trace, sampling, control plane, a real id', async (test) => {
    const { admin } = await startStore(test)
    const started = performance.now()
    await assert.rejects(findTrace('last', admin, systemClock), /no trace yet: none was sampled/)
    assert.ok(performance.now() - started < 4_000)
    await assert.rejects(findTrace('c'.repeat(32), admin, systemClock), /no trace cccc/)
    await assert.rejects(findTrace('latest', admin, systemClock), /'latest' is no trace: expected 'last' or 32/)
    const gone = createServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const { port } = gone.address() as { port: number }
    gone.close()
    await once(gone, 'close')
    await assert.rejects(
      findTrace('last', `127.0.0.1:${port}`, systemClock),
      new RegExp(`no control plane answers at 127.0.0.1:${port} \\(ECONNREFUSED\\): start one with 'outrigger up DIR'`),
    )
    const other = createServer((_request, response) => void response.writeHead(500).end('oops')).listen(0, '127.0.0.1')
    await once(other, 'listening')
    test.after(() => other.close())
    await assert.rejects(
      findTrace('last', `127.0.0.1:${(other.address() as { port: number }).port}`, systemClock),
      /answered 500: oops/,
    )
  })
})

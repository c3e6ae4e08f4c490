import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { trailersOnly } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  attemptOf,
  completionOf,
  type ExchangeFacts,
  exchangeOf,
  MemorySink,
  testWorkload,
} from '../../test/support/telemetry-exchange.ts'
import { TelemetrySchema } from '../api/gen/outrigger_pb.ts'
import { noBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Attempt, type Completion, type Exchange, Response } from '../base/exchange.ts'
import { metricList } from './metrics.ts'
import { record, recordRefusal } from './record.ts'
import { Telemetry, type TelemetryOptions } from './telemetry.ts'
import { latencyBucketsMs } from './totals.ts'

const web = 'spiffe://cluster.local/ns/shop/sa/web'
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const sampledParent = `00-${traceId}-00f067aa0ba902b7-01`

function setUp(options: Partial<TelemetryOptions> = {}) {
  const clock = new FakeClock()
  const sink = new MemorySink()
  const telemetry = new Telemetry({
    clock,
    workload: testWorkload,
    tracesEndpoint: undefined,
    accessLog: 'off',
    stdout: sink,
    env: {},
    ...options,
  })
  /** Sends one exchange through `record` and ends it. */
  const run = async (
    facts: ExchangeFacts & { service?: string; attempts?: Attempt[]; error?: MeshError; response?: Response },
    completion: Completion = completionOf(),
  ): Promise<Exchange> => {
    const exchange = exchangeOf({ startedAt: clock.now(), ...facts })
    const layer = record(telemetry, facts.direction ?? 'outbound')
    exchange.response = await layer((passed) => {
      passed.service = facts.service ?? 'shop/orders'
      passed.attempts.push(...(facts.attempts ?? []))
      passed.error = facts.error
      return Promise.resolve(facts.response ?? new Response(completion.status, '', [], noBody))
    })(exchange)
    exchange.onComplete?.(completion)
    return exchange
  }
  return { clock, sink, telemetry, run }
}

async function scrapeLines(telemetry: Telemetry, name: string): Promise<string[]> {
  return (await telemetry.scrape()).split('\n').filter((line) => line.startsWith(name))
}

const idle = { ready: true, reason: '' }

describe('record', () => {
  it('makes one result of an exchange and insists on it', async () => {
    const { telemetry, run } = setUp()
    const exchange = await run({ attempts: [attemptOf()] })
    assert.equal(telemetry.stats(idle, []).upstreams[0]?.requests, 1)
    assert.throws(() => exchange.onComplete?.(completionOf()), /completes once/)
    assert.equal(telemetry.stats(idle, []).upstreams[0]?.requests, 1)
  })

  it('takes the trace headers off and keeps decisions only when sampled and exported', async () => {
    const { run } = setUp({
      tracesEndpoint: 'http://127.0.0.1:9/v1/traces',
      env: { OTEL_TRACES_SAMPLER: 'always_off' },
    })
    const headers = ['traceparent', sampledParent, 'A', '1']
    const sampled = await run({ headers })
    assert.deepEqual(headers, ['A', '1'])
    assert.equal(sampled.trace?.traceId, traceId)
    assert.deepEqual(sampled.decisions, [])
    const fresh = await run({})
    assert.equal(fresh.trace?.sampled, false)
    assert.equal(fresh.decisions, undefined)
    assert.notEqual(fresh.trace?.traceId, traceId)
  })

  it('passes a context on unchanged when nobody takes our spans', async () => {
    const { run } = setUp()
    const exchange = await run({ headers: ['traceparent', sampledParent] })
    assert.equal(exchange.trace?.spanId, '00f067aa0ba902b7')
    assert.equal(exchange.trace?.sampled, true)
    assert.equal(exchange.decisions, undefined)
  })

  it('samples as many roots as the policy says', async () => {
    const { run, telemetry } = setUp({ tracesEndpoint: 'http://127.0.0.1:9/v1/traces' })
    telemetry.update(create(TelemetrySchema, { samplingPpm: 250_000 }))
    let sampled = 0
    for (let i = 0; i < 400; i++) if ((await run({})).trace?.sampled === true) sampled++
    assert.ok(Math.abs(sampled - 100) < 45, `${sampled} of 400`)
    telemetry.update(create(TelemetrySchema, { samplingPpm: 0 }))
    assert.equal((await run({})).trace?.sampled, false)
    telemetry.update(create(TelemetrySchema, { samplingPpm: 1_000_000 }))
    assert.equal((await run({})).trace?.sampled, true)
    await telemetry.close()
  })

  it('counts a service that throws as running until its completion comes', async () => {
    const { telemetry } = setUp()
    const exchange = exchangeOf()
    const service = record(
      telemetry,
      'outbound',
    )(() => Promise.reject(new MeshError('FAULT_ABORTED', 'reset', { reset: true })))
    await assert.rejects(service(exchange), /reset/)
    assert.match((await scrapeLines(telemetry, 'outrigger_requests_in_flight'))[0] ?? '', / 1$/)
    exchange.error = new MeshError('FAULT_ABORTED', 'reset', { reset: true })
    exchange.onComplete?.(completionOf({ status: 0 }))
    assert.match((await scrapeLines(telemetry, 'outrigger_requests_in_flight'))[0] ?? '', / 0$/)
    assert.match((await scrapeLines(telemetry, 'outrigger_faults_injected_total{'))[0] ?? '', /type="reset".* 1$/)
  })

  it('counts what the parser refused', async () => {
    const { telemetry, sink, clock } = setUp({ accessLog: 'text' })
    const { downstream } = exchangeOf({ direction: 'inbound' })
    const error = new MeshError('BAD_REQUEST', 'bare CR in \u001b[31m header')
    recordRefusal(telemetry, { downstream, error, startedAt: clock.now(), bytesOut: 20, answered: true })
    assert.deepEqual(await scrapeLines(telemetry, 'outrigger_downstream_refused_total{'), [
      'outrigger_downstream_refused_total{code="BAD_REQUEST"} 1',
    ])
    assert.match(
      (await scrapeLines(telemetry, 'outrigger_requests_total{'))[0] ?? '',
      /response_code="400",response_flags="DPE",grpc_response_status=""\} 1$/,
    )
    assert.deepEqual(telemetry.stats(idle, []).inbound.refusedByReason, { BAD_REQUEST: 1 })
    await clock.advance(200)
    assert.equal(sink.lines.length, 1)
    assert.match(sink.lines[0] ?? '', /"- - HTTP\/1\.1" 400 DPE 0 20 .* BAD_REQUEST /)
  })
})

describe('metrics', () => {
  it('stand in the README, each with its labels, and nothing else does', async () => {
    const readme = await readFile(new URL('README.md', import.meta.url), 'utf8')
    const rows = new Map(
      [...readme.matchAll(/^\| `(outrigger_\w+)` \| (.*?) \|/gm)].map(([, name, labels]) => [name, labels]),
    )
    assert.deepEqual(
      new Set(rows.keys()),
      new Set<string | undefined>(Object.values(metricList).map(({ name }) => name)),
    )
    for (const { name, labels } of Object.values(metricList)) {
      const expected =
        labels.length > 6 ? /^peer labels/ : new RegExp(`^${labels.map((label) => `\`${label}\``).join(', ')}$`)
      assert.match(rows.get(name) ?? '', expected, name)
    }
  })

  it("uses Istio's label names", async () => {
    const { telemetry, run, clock } = setUp()
    telemetry.certificateChanged({ spiffeId: web, expiresAtMs: clock.wall() + 3_600_000 })
    await run({ attempts: [attemptOf({ workload: 'orders-5d9c7b8f4b-x2k8z' })] })
    assert.deepEqual(await scrapeLines(telemetry, 'outrigger_requests_total{'), [
      'outrigger_requests_total{reporter="source",source_workload="web",source_workload_namespace="shop",' +
        'source_principal="spiffe://cluster.local/ns/shop/sa/web",destination_service="orders.shop.svc.cluster.local",' +
        'destination_service_name="orders",destination_service_namespace="shop",destination_workload="orders",' +
        'destination_version="v2",request_protocol="http",connection_security_policy="mutual_tls",response_code="200",response_flags="-",grpc_response_status=""} 1',
    ])
    assert.deepEqual(await scrapeLines(telemetry, 'outrigger_cert_expiry_seconds'), [
      'outrigger_cert_expiry_seconds 3600',
    ])
  })

  it('knows the caller of an inbound request by its certificate, and nothing without one', async () => {
    const { telemetry, run } = setUp()
    await run({ direction: 'inbound', service: 'shop/web', identity: 'spiffe://cluster.local/ns/front/sa/edge' })
    await run({ direction: 'inbound', service: 'shop/web' }, completionOf({ status: 503 }))
    const [mtls, plain] = await scrapeLines(telemetry, 'outrigger_requests_total{')
    assert.match(mtls ?? '', /reporter="destination",source_workload="edge",source_workload_namespace="front"/)
    assert.match(
      mtls ?? '',
      /destination_workload="web",destination_version="v1",.*connection_security_policy="mutual_tls"/,
    )
    assert.match(
      plain ?? '',
      /source_workload="unknown".*source_principal="unknown".*connection_security_policy="none",response_code="503"/,
    )
    assert.deepEqual(telemetry.stats(idle, []).inbound.bySource, [
      { source: 'spiffe://cluster.local/ns/front/sa/edge', requests: 1, failures: 0 },
      { source: 'plaintext', requests: 1, failures: 1 },
    ])
  })

  it('counts retries and faults by try', async () => {
    const { telemetry, run } = setUp()
    const fault = new MeshError('FAULT_ABORTED', 'abort')
    await run({
      attempts: [
        attemptOf({ status: 0, error: fault, faultDelayMs: 3 }),
        attemptOf({ number: 2, status: 0, error: fault }),
        attemptOf({ number: 3 }),
      ],
    })
    telemetry.metrics.retryWithheld('shop/orders', 'budget')
    assert.deepEqual(await scrapeLines(telemetry, 'outrigger_retries_total{'), [
      'outrigger_retries_total{destination_service="shop/orders",outcome="failure"} 1',
      'outrigger_retries_total{destination_service="shop/orders",outcome="success"} 1',
      'outrigger_retries_total{destination_service="shop/orders",outcome="budget"} 1',
    ])
    assert.deepEqual(await scrapeLines(telemetry, 'outrigger_faults_injected_total{'), [
      'outrigger_faults_injected_total{type="delay",destination_service="shop/orders"} 1',
      'outrigger_faults_injected_total{type="abort",destination_service="shop/orders"} 2',
    ])
    assert.equal(telemetry.stats(idle, []).upstreams[0]?.retries, 2)
    assert.equal(telemetry.stats(idle, []).upstreams[0]?.failures, 0)
  })

  it('shows breakers, ejections, stream and rejections, and takes away what is gone', async () => {
    const { telemetry } = setUp()
    const change = { service: 'shop/orders', cause: '5 of 5 failed', at: 77 } as const
    telemetry.breakerChanged({ ...change, endpoint: '10.0.0.1:80', from: 'closed', to: 'open' })
    telemetry.breakerChanged({ ...change, endpoint: '', from: 'open', to: 'half-open' })
    telemetry.ejectionChanged('shop/orders', '10.0.0.2:80', true)
    telemetry.watchChanged(true, 12)
    telemetry.rejectedChanged([{ resource: 'service/shop/orders', version: 'a', reason: 'no rules' }])
    telemetry.metrics.authorized('deny', 'shadow')
    telemetry.metrics.unknownDestination('refuse')
    const text = await telemetry.scrape()
    for (const line of [
      'outrigger_circuit_state{service="shop/orders",endpoint="10.0.0.1:80"} 2',
      'outrigger_circuit_state{service="shop/orders",endpoint=""} 1',
      'outrigger_circuit_transitions_total{service="shop/orders",scope="endpoint",to="open"} 1',
      'outrigger_outlier_ejections_active{service="shop/orders"} 1',
      'outrigger_watch_connected 1',
      'outrigger_policy_revision 12',
      'outrigger_policy_rejected 1',
      'outrigger_authz_decisions_total{action="deny",mode="shadow"} 1',
      'outrigger_unknown_destination_total{action="refuse"} 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line)
    }
    const [upstream] = telemetry.stats(idle, [{ service: 'shop/orders', endpoints: 2, inFlight: 1 }]).upstreams
    assert.deepEqual(upstream?.breakers, [
      { scope: '10.0.0.1:80', state: 'open', since: 77 },
      { scope: 'service', state: 'half-open', since: 77 },
    ])
    assert.deepEqual([upstream?.ejected, upstream?.endpoints, upstream?.inFlight], [['10.0.0.2:80'], 2, 1])
    telemetry.breakerRemoved('shop/orders', '10.0.0.1:80')
    telemetry.ejectionChanged('shop/orders', '10.0.0.2:80', false)
    const after = await telemetry.scrape()
    assert.ok(!after.includes('endpoint="10.0.0.1:80"'))
    assert.ok(after.includes('outrigger_outlier_ejections_active{service="shop/orders"} 0\n'))
  })

  it('looks at the delay of the event loop while there is traffic, and not when there is none', async () => {
    const { clock, telemetry, run } = setUp()
    const looks = async (): Promise<number> => {
      const [line] = await scrapeLines(telemetry, 'outrigger_event_loop_delay_seconds_count')
      return Number(line?.split(' ').at(-1))
    }
    telemetry.watchLoop()
    await clock.advance(100)
    assert.equal(await looks(), 0)
    await run({})
    telemetry.watchLoop()
    await clock.advance(100)
    assert.equal(await looks(), 5)
    telemetry.tcpOpened('outbound', 'shop/orders', '').relayed(1, 0)
    telemetry.watchLoop()
    await clock.advance(100)
    assert.equal(await looks(), 10)
    telemetry.watchLoop()
    await clock.advance(1_000)
    assert.equal(await looks(), 10)
  })

  it('shows what keeps the process alive, by name', async () => {
    const { telemetry } = setUp()
    const listeners = async (): Promise<number> => {
      const lines = await scrapeLines(telemetry, 'outrigger_active_resources{type="TCPServerWrap"}')
      return Number(lines[0]?.split(' ').at(-1) ?? 0)
    }
    const before = await listeners()
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    assert.equal(await listeners(), before + 1)
    server.close()
  })

  it('never shows more than 5,000 series, whatever the traffic, and scrapes in time', async () => {
    const worst = Object.values(metricList).reduce(
      (sum, { type, seriesMax }) => sum + seriesMax * (type === 'histogram' ? 17 : 1),
      0,
    )
    assert.ok(worst <= 5_000, `${worst}`)
    const { telemetry, run } = setUp()
    for (let i = 0; i < 6_000; i++) {
      const call = i % 2 === 1
      await run(
        {
          service: `ns-${i}/svc-${i}`,
          attempts: [attemptOf({ workload: `w${i}`, identity: '' })],
          ...(call && { method: 'POST', target: `/a.B/M${i}`, headers: ['content-type', 'application/grpc'] }),
          ...(call && { response: trailersOnly(i % 17) }),
        },
        completionOf({ status: call ? 200 : 200 + (i % 300) }),
      )
    }
    for (let i = 0; i < 3_000; i++) {
      telemetry.breakerChanged({
        service: `s${i}`,
        endpoint: `10.0.0.1:${i}`,
        from: 'closed',
        to: 'open',
        cause: '',
        at: 0,
      })
      telemetry.tcpOpened('outbound', `s/${i}`, '').closed()
    }
    await telemetry.scrape()
    let text = ''
    let fastestMs = Number.POSITIVE_INFINITY
    // The fastest of five: what else runs on the machine is not our cost.
    for (let i = 0; i < 5; i++) {
      const start = performance.now()
      text = await telemetry.scrape()
      fastestMs = Math.min(fastestMs, performance.now() - start)
    }
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    assert.ok(lines.length <= 5_000, `${lines.length} series`)
    assert.ok(lines.length > 4_000)
    assert.ok(fastestMs < 100, `${fastestMs} ms`)
    assert.ok(text.includes('destination_service="other"'))
    const overflow = Number(/outrigger_metric_overflow_total (\d+)/.exec(text)?.[1])
    assert.ok(overflow > 0)
    const total = lines
      .filter((line) => line.startsWith('outrigger_requests_total'))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
    assert.equal(total, 6_000, 'no request is lost to the cap')
    assert.ok(telemetry.stats(idle, []).upstreams.length <= 1_001 + 2_000, 'bounded')
  })

  it('counts opaque connections as they go', async () => {
    const { telemetry } = setUp()
    const connection = telemetry.tcpOpened('outbound', 'shop/db', 'spiffe://cluster.local/ns/shop/sa/db', 'db-0', 'v1')
    connection.relayed(10, 20)
    connection.relayed(1, 2)
    assert.deepEqual(telemetry.stats(idle, []).tcp, { opened: 1, closed: 0, sent: 11, received: 22 })
    connection.closed()
    const [line] = await scrapeLines(telemetry, 'outrigger_tcp_sent_bytes_total{')
    assert.match(
      line ?? '',
      /destination_service_name="db".*request_protocol="tcp",connection_security_policy="mutual_tls"\} 11$/,
    )
    assert.deepEqual(telemetry.stats(idle, []).tcp.closed, 1)
  })
})

describe('stats', () => {
  it('says who refuses and why, the peer sidecar included', async () => {
    const { telemetry, run } = setUp()
    const reason = 'DENIED; policy=AuthorizationPolicy/shop/only-web; version=3; by=shop/orders-1'
    await run(
      {
        response: new Response(403, '', ['X-Outrigger-Reason', reason], noBody),
        attempts: [attemptOf({ status: 403 })],
      },
      completionOf({ status: 403 }),
    )
    await run({ error: new MeshError('NO_HEALTHY_ENDPOINT', 'none') }, completionOf({ status: 503 }))
    const [upstream] = telemetry.stats(idle, []).upstreams
    assert.deepEqual(upstream?.refusedByReason, { DENIED: 1, NO_HEALTHY_ENDPOINT: 1 })
    assert.equal(upstream?.lastReason, 'NO_HEALTHY_ENDPOINT')
    assert.equal(upstream?.failures, 2)
  })

  it('has latencies that p50 and p99 can be read from', async () => {
    const { telemetry, run, clock } = setUp()
    for (const ms of [0, 1, 1, 1, 40, 100_000]) await run({ startedAt: clock.now() - ms })
    const [upstream] = telemetry.stats(idle, []).upstreams
    assert.ok(upstream !== undefined)
    const { latencyBucketsMs: bounds, latencyCounts: counts } = upstream
    assert.equal(bounds, latencyBucketsMs)
    assert.equal(counts.length, bounds.length + 1)
    assert.equal(counts[0], 1)
    assert.equal(counts[bounds.indexOf(1)], 3)
    const at40 = counts.findIndex((count, i) => count === 1 && i > bounds.indexOf(1))
    assert.ok(bounds[at40]! >= 40 && bounds[at40 - 1]! < 40)
    assert.equal(counts.at(-1), 1)
  })

  it('tells what it is before anything has happened', () => {
    const { telemetry } = setUp()
    const stats = telemetry.stats({ ready: false, reason: 'no policy yet' }, [])
    assert.equal(stats.workload, 'shop/web-1')
    assert.equal(stats.readyReason, 'no policy yet')
    assert.equal(stats.certificate, null)
    assert.deepEqual(stats.controlPlane, { connected: false, revision: 0 })
    assert.deepEqual(stats.upstreams, [])
    assert.deepEqual(JSON.parse(JSON.stringify(stats)), stats)
  })
})

describe('workloadChanged', () => {
  it('names the workload anew once the control plane has said what it is', async () => {
    const { telemetry, run, clock, sink } = setUp({ accessLog: 'json' })
    await run({ attempts: [attemptOf()] })
    telemetry.workloadChanged({ serviceAccount: 'web', canonicalService: 'storefront', revision: 'v9' })
    await run({ attempts: [attemptOf()] })
    await run({ direction: 'inbound', service: 'shop/web' })
    const lines = await scrapeLines(telemetry, 'outrigger_requests_total{')
    assert.match(lines[0] ?? '', /source_workload="web",/)
    assert.match(lines[1] ?? '', /source_workload="storefront",/)
    assert.match(lines[2] ?? '', /destination_workload="storefront",destination_version="v9"/)
    assert.equal(telemetry.stats(idle, []).workload, 'shop/web-1')
    assert.equal(telemetry.stats(idle, []).upstreams[0]?.requests, 2)
    await clock.advance(200)
    assert.deepEqual(
      sink.lines.map((line) => JSON.parse(line)['service.name']),
      ['web', 'storefront', 'storefront'],
    )
  })
})

describe('update', () => {
  it('lets policy turn the access log on and off, and ignores a word it does not know', async () => {
    const { telemetry, run, clock, sink } = setUp()
    await run({})
    telemetry.update(create(TelemetrySchema, { accessLog: 'json' }))
    await run({})
    telemetry.update(create(TelemetrySchema, { accessLog: 'xml' }))
    await run({})
    telemetry.update(undefined)
    await run({})
    await clock.advance(200)
    assert.equal(sink.lines.length, 1)
    assert.equal(JSON.parse(sink.lines[0] ?? '')['http.response.status_code'], 200)
  })
})

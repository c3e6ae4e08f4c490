import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import type { Stats, TrafficStats } from '../admin/stats.ts'
import type { BreakerSnapshot } from '../balance/breaker.ts'
import { followed } from '../balance/breaker.ts'
import type { BackendsReport } from '../data-plane.ts'
import { addedUp, merged } from '../telemetry/merged.ts'
import { Counters, Histograms, Readings } from '../telemetry/series.ts'
import { LineSink } from './line-sink.ts'
import { lastStats, mergedBackends, mergedStats } from './merge.ts'

const traffic = (
  requests: number,
  refused: Record<string, number> = {},
  reason: string | null = null,
): TrafficStats => ({
  requests,
  failures: requests - 1,
  refusedByReason: refused,
  lastReason: reason,
  latencyBucketsMs: [1, 2],
  latencyCounts: [requests, 0, 1],
})

const stats = (of: Partial<Stats>): Stats => ({
  workload: 'a/b',
  uptimeMs: 1,
  ready: true,
  readyReason: '',
  controlPlane: { connected: true, revision: 7 },
  certificate: null,
  rejected: [],
  upstreams: [],
  inbound: { ...traffic(0), bySource: [] },
  tcp: { opened: 0, closed: 0, sent: 0, received: 0 },
  ...of,
})

const upstream = (requests: number, endpoints: number, inFlight: number) => ({
  ...traffic(requests, { DENIED: requests }, `reason ${requests}`),
  service: 'a/x',
  retries: 2,
  breakers: [],
  ejected: [],
  endpoints,
  inFlight,
})

describe('answers of several threads', () => {
  it('stats add up, and what the process knows is its own', () => {
    const own = stats({
      uptimeMs: 500,
      upstreams: [
        { ...upstream(0, 0, 0), lastReason: null, breakers: [{ scope: 'service', state: 'open', since: 3 }] },
      ],
    })
    const one = stats({ upstreams: [upstream(3, 2, 1)], tcp: { opened: 2, closed: 1, sent: 10, received: 20 } })
    const two = stats({
      upstreams: [upstream(5, 2, 4), { ...upstream(1, 1, 0), service: 'a/y' }],
      inbound: { ...traffic(4), bySource: [{ source: 's', requests: 4, failures: 1 }] },
      tcp: { opened: 1, closed: 0, sent: 1, received: 2 },
    })
    const all = mergedStats(own, [lastStats(one), two])
    assert.equal(all.uptimeMs, 500)
    assert.deepEqual(all.tcp, { opened: 3, closed: 1, sent: 11, received: 22 })
    assert.deepEqual(all.inbound.bySource, [{ source: 's', requests: 4, failures: 1 }])
    assert.deepEqual(
      all.upstreams.map(({ service }) => service),
      ['a/x', 'a/y'],
    )
    const [x] = all.upstreams
    assert.deepEqual([x!.requests, x!.retries, x!.endpoints, x!.inFlight], [8, 6, 2, 4])
    assert.deepEqual(x!.refusedByReason, { DENIED: 8 })
    assert.equal(x!.lastReason, 'reason 5')
    assert.deepEqual(x!.latencyCounts, [8, 0, 3])
    assert.deepEqual(x!.breakers, [{ scope: 'service', state: 'open', since: 3 }])
  })

  it('backends are one: state once, requests and rejections added', () => {
    const breaker = (cause: string, rejected: number): BreakerSnapshot => ({
      state: 'open',
      shadow: false,
      requests: 20,
      failures: 15,
      rejected,
      openedAt: 9,
      cause,
    })
    const report = (inFlight: number, cause: string): BackendsReport => ({
      services: [
        {
          service: 'a/x',
          policy: undefined,
          breaker: breaker(cause, inFlight),
          backends: [
            {
              port: 80,
              endpoints: [
                {
                  endpoint: 'e',
                  workload: 'w',
                  ready: true,
                  inFlight,
                  latencyMs: inFlight,
                  ejectedUntil: 0,
                  breaker: undefined,
                },
              ],
              budgets: [{ intervalMs: 10, requests: 9, retries: 1 }],
            },
          ],
        },
      ],
      pools: [{ key: 'e', open: inFlight, idle: 1, active: 1, waiting: 0 }],
      local: [],
    })
    const all = mergedBackends([report(2, followed), report(3, 'it failed')])
    const [service] = all.services
    assert.deepEqual(service!.breaker, breaker('it failed', 5))
    const [port] = service!.backends
    assert.deepEqual([port!.endpoints[0]!.inFlight, port!.endpoints[0]!.latencyMs], [5, 3])
    assert.deepEqual(port!.budgets, [{ intervalMs: 10, requests: 9, retries: 1 }])
    assert.deepEqual(all.pools, [{ key: 'e', open: 5, idle: 2, active: 2, waiting: 0 }])
  })

  it('metrics add up, a label set is one series, and what overflowed anywhere is one', () => {
    const spec = { name: 'n', type: 'counter', help: '', labels: ['l'], seriesMax: 3 } as const
    const own = new Counters(spec)
    const thread = new Counters(spec)
    own.count(['x'])
    for (const value of ['x', 'y', 'z', 'q']) thread.count([value], 2)
    const counted = { n: thread.rows() }
    const sum = merged(own, () => [counted, addedUp(counted, counted)])
    const read = (): [string | undefined, number][] => sum.samples().map((s) => [s.sharedLabels['l'], s.value])
    assert.deepEqual(read(), [
      ['x', 7],
      ['y', 6],
      ['other', 12],
    ])
    // A scrape does not add to the one before.
    assert.deepEqual(read()[0], ['x', 7])
  })

  it('histograms add up bucket by bucket; a gauge of the process is left alone', () => {
    const spec = { name: 'h', type: 'histogram', help: '', labels: [], seriesMax: 1 } as const
    const [own, thread] = [new Histograms(spec, [1, 2]), new Histograms(spec, [1, 2])]
    own.observe(own.slot([]), 0.5)
    thread.observe(thread.slot([]), 1.5)
    const sum = merged(own, () => [{ h: thread.rows() }])
    assert.deepEqual(
      sum.samples().map(({ value }) => value),
      [1, 2, 2, 2, 2],
    )
    const gauge = new Readings({ name: 'g', type: 'gauge', help: '', labels: [], seriesMax: 1, once: true }, () => [
      [[], 5],
    ])
    assert.equal(merged(gauge, () => [{ g: [{ values: [], numbers: [5] }] }]).samples()[0]!.value, 5)
  })
})

describe('lines of several threads', () => {
  it('stay whole where the descriptor takes a part at a time, or is full for a while', async () => {
    const clock = new FakeClock()
    let written = ''
    let calls = 0
    const sink = new LineSink(
      {
        write: (bytes, done) => {
          calls++
          if (calls % 3 === 0) {
            done(Object.assign(new Error('full'), { code: 'EAGAIN' }), 0)
            return
          }
          const part = bytes.subarray(0, 4)
          written += part.toString()
          setImmediate(() => done(null, part.length))
        },
      },
      clock,
    )
    const told: (string | undefined)[] = []
    for (const line of ['first line\n', 'second line\n']) sink.write(Buffer.from(line), (error) => told.push(error))
    while (told.length < 2) await clock.advance(50)
    assert.equal(written, 'first line\nsecond line\n')
    assert.deepEqual(told, [undefined, undefined])
  })

  it('are given up where nobody reads any more', () => {
    const sink = new LineSink(
      { write: (_bytes, done) => done(Object.assign(new Error('gone'), { code: 'EPIPE' }), 0) },
      new FakeClock(),
    )
    const told: (string | undefined)[] = []
    sink.write(Buffer.from('x\n'), (error) => told.push(error))
    assert.deepEqual(told, ['EPIPE'])
  })
})

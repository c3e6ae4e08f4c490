import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Stats, UpstreamStats } from '../../admin/stats.ts'
import { type Look, percentile, trafficRows } from './traffic-rows.ts'

const upstream: UpstreamStats = {
  service: 'shop/web',
  requests: 0,
  failures: 0,
  retries: 0,
  refusedByReason: {},
  lastReason: null,
  latencyBucketsMs: [1, 10, 100],
  latencyCounts: [0, 0, 0, 0],
  breakers: [],
  ejected: [],
  endpoints: 1,
  inFlight: 0,
}

function look(
  atMs: number,
  upstreams: readonly Partial<UpstreamStats>[],
  plaintext?: [requests: number, failures: number],
): Look {
  const inbound = {
    ...upstream,
    bySource: plaintext === undefined ? [] : [{ source: 'plaintext', requests: plaintext[0], failures: plaintext[1] }],
  }
  const stats: Stats = {
    workload: 'shop/client',
    uptimeMs: 1,
    ready: true,
    readyReason: '',
    controlPlane: { connected: true, revision: 1 },
    certificate: null,
    rejected: [],
    upstreams: upstreams.map((some) => ({ ...upstream, ...some })),
    inbound,
    tcp: { opened: 0, closed: 0, sent: 0, received: 0 },
  }
  return { atMs, stats: new Map([['shop/client', stats]]) }
}

const nobody = (): undefined => undefined

test('rates are differences over the time between two looks', () => {
  const before = look(1_000, [{ requests: 100, failures: 10, retries: 5, latencyCounts: [90, 10, 0, 0] }])
  const now = look(3_000, [{ requests: 300, failures: 60, retries: 25, latencyCounts: [90, 210, 0, 0] }])
  const [row] = trafficRows(before, now, nobody)
  assert.deepEqual(row, {
    from: 'shop/client',
    to: 'shop/web',
    requestsPerSecond: 100,
    successPercent: 75,
    p50Ms: 5.5,
    p99Ms: 9.91,
    retriesPerSecond: 10,
    breaker: '',
    refused: '',
  })
})

test('a sidecar that was started again counts from zero, and nothing is negative', () => {
  const before = look(0, [{ requests: 1_000, failures: 500, latencyCounts: [1_000, 0, 0, 0] }])
  const now = look(1_000, [{ requests: 10, failures: 1, latencyCounts: [10, 0, 0, 0] }])
  const [row] = trafficRows(before, now, nobody)
  assert.equal(row?.requestsPerSecond, 10)
  assert.equal(row?.successPercent, 90)
})

test('without requests there is no success and no latency', () => {
  const same = look(0, [{ requests: 5 }])
  const [row] = trafficRows(same, { ...same, atMs: 1_000 }, nobody)
  assert.deepEqual([row?.requestsPerSecond, row?.successPercent, row?.p50Ms], [0, undefined, undefined])
})

test('breakers that are not closed are named by their Pod', () => {
  const breakers = [
    { scope: '127.1.0.5:8080', state: 'closed', since: 1 },
    { scope: '127.1.0.6:8080', state: 'open', since: 1 },
  ] as const
  const rows = (some: UpstreamStats['breakers']): string | undefined =>
    trafficRows(look(0, []), look(1_000, [{ breakers: some }]), (at) =>
      at === '127.1.0.6:8080' ? 'inventory-v2' : undefined,
    )[0]?.breaker
  assert.equal(rows(breakers), 'open: inventory-v2')
  assert.equal(rows(breakers.slice(0, 1)), 'closed')
  assert.equal(rows([{ scope: 'service', state: 'half-open', since: 1 }]), 'half-open: service')
})

test('who refuses, how often, why, and by which policy', () => {
  const lastReason = 'DENIED; policy=AuthorizationPolicy/shop/callers; version=12; by=shop/inventory-v1'
  const before = look(0, [{ refusedByReason: { DENIED: 10 }, lastReason }])
  const now = look(2_000, [{ refusedByReason: { DENIED: 30 }, lastReason }])
  assert.equal(
    trafficRows(before, now, nobody)[0]?.refused,
    'shop/inventory-v1: 10.0/s DENIED (AuthorizationPolicy/shop/callers)',
  )
  assert.equal(trafficRows(now, { ...now, atMs: 4_000 }, nobody)[0]?.refused, '')
})

test('plaintext from outside the mesh has a row of its own', () => {
  const [row] = trafficRows(look(0, [], [10, 0]), look(1_000, [], [30, 5]), nobody)
  assert.deepEqual(
    [row?.from, row?.to, row?.requestsPerSecond, row?.successPercent],
    ['(plaintext)', 'shop/client', 20, 75],
  )
})

test('percentiles lie inside their bucket', () => {
  assert.equal(percentile(50, [1, 10], [0, 10, 0]), 5.5)
  assert.equal(percentile(100, [1, 10], [10, 0, 0]), 1)
  assert.equal(percentile(99, [1, 10], [0, 0, 5]), 10)
  assert.equal(percentile(50, [1, 10], [0, 0, 0]), undefined)
})

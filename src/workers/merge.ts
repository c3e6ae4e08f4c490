/** One answer of several threads: what is counted adds up, what is known is the same in all. */
import type { SourceStats, Stats, TrafficStats, UpstreamStats } from '../admin/stats.ts'
import type { BackendSnapshot, EndpointSnapshot, ServiceSnapshot } from '../balance/backends.ts'
import { type BreakerSnapshot, followed } from '../balance/breaker.ts'
import type { BackendsReport } from '../data-plane.ts'
import type { PoolSize } from '../upstream/pools.ts'

/** `first` is the process's own: what is not a count of traffic is taken from it. */
export function mergedStats(first: Stats, others: readonly Stats[]): Stats {
  const all = [first, ...others]
  const inbound = all.map((one) => one.inbound)
  return {
    ...first,
    upstreams: byKey(
      all.flatMap((one) => one.upstreams),
      ({ service }) => service,
      mergedUpstreams,
    ),
    inbound: {
      ...mergedTraffic(inbound),
      bySource: byKey(
        inbound.flatMap(({ bySource }) => bySource),
        ({ source }) => source,
        mergedSources,
      ),
    },
    tcp: {
      opened: sum(all, ({ tcp }) => tcp.opened),
      closed: sum(all, ({ tcp }) => tcp.closed),
      sent: sum(all, ({ tcp }) => tcp.sent),
      received: sum(all, ({ tcp }) => tcp.received),
    },
  }
}

/** What a thread that has died had counted; nothing runs in it any more. */
export function lastStats(stats: Stats): Stats {
  const upstreams = stats.upstreams.map((upstream) => ({ ...upstream, endpoints: 0, inFlight: 0 }))
  return { ...stats, upstreams }
}

function mergedUpstreams(all: readonly UpstreamStats[]): UpstreamStats {
  return {
    service: all[0]!.service,
    ...mergedTraffic(all),
    retries: sum(all, ({ retries }) => retries),
    // Only the process knows these: it hears of each change once.
    breakers: all.flatMap(({ breakers }) => breakers),
    ejected: all.flatMap(({ ejected }) => ejected),
    endpoints: Math.max(...all.map(({ endpoints }) => endpoints)),
    inFlight: sum(all, ({ inFlight }) => inFlight),
  }
}

function mergedTraffic(all: readonly TrafficStats[]): TrafficStats {
  const refusedByReason: Record<string, number> = {}
  for (const one of all) {
    for (const [code, count] of Object.entries(one.refusedByReason))
      refusedByReason[code] = (refusedByReason[code] ?? 0) + count
  }
  const { latencyBucketsMs } = all[0]!
  return {
    requests: sum(all, ({ requests }) => requests),
    failures: sum(all, ({ failures }) => failures),
    refusedByReason,
    lastReason: all.findLast(({ lastReason }) => lastReason !== null)?.lastReason ?? null,
    latencyBucketsMs,
    latencyCounts: all[0]!.latencyCounts.map((_, i) => sum(all, ({ latencyCounts }) => latencyCounts[i] ?? 0)),
  }
}

function mergedSources(all: readonly SourceStats[]): SourceStats {
  return {
    source: all[0]!.source,
    requests: sum(all, ({ requests }) => requests),
    failures: sum(all, ({ failures }) => failures),
  }
}

export function mergedBackends(all: readonly BackendsReport[]): BackendsReport {
  return {
    services: byKey(
      all.flatMap(({ services }) => services),
      ({ service }) => service,
      mergedServices,
    ),
    pools: mergedPools(all.flatMap(({ pools }) => pools)),
    local: mergedPools(all.flatMap(({ local }) => local)),
  }
}

function mergedServices(all: readonly ServiceSnapshot[]): ServiceSnapshot {
  return {
    service: all[0]!.service,
    policy: all[0]!.policy,
    breaker: mergedBreakers(all.map(({ breaker }) => breaker)),
    backends: byKey(
      all.flatMap(({ backends }) => backends),
      ({ port }) => String(port),
      mergedPorts,
    ),
  }
}

function mergedPorts(all: readonly BackendSnapshot[]): BackendSnapshot {
  return {
    port: all[0]!.port,
    endpoints: byKey(
      all.flatMap(({ endpoints }) => endpoints),
      ({ endpoint }) => endpoint,
      mergedEndpoints,
    ),
    // One budget for all threads: the latest look at it.
    budgets: byKey(
      all.flatMap(({ budgets }) => budgets),
      ({ intervalMs }) => String(intervalMs),
      (budgets) => budgets.at(-1)!,
    ),
  }
}

function mergedEndpoints(all: readonly EndpointSnapshot[]): EndpointSnapshot {
  return {
    ...all[0]!,
    inFlight: sum(all, ({ inFlight }) => inFlight),
    latencyMs: Math.max(...all.map(({ latencyMs }) => latencyMs)),
    ejectedUntil: Math.max(...all.map(({ ejectedUntil }) => ejectedUntil)),
    breaker: mergedBreakers(all.map(({ breaker }) => breaker)),
  }
}

/** State and window are one; who changed it last can say why, and each counts what it rejected. */
function mergedBreakers(some: readonly (BreakerSnapshot | undefined)[]): BreakerSnapshot | undefined {
  const all = some.filter((one) => one !== undefined)
  const author = all.find(({ cause }) => cause !== followed) ?? all[0]
  return author && { ...author, rejected: sum(all, ({ rejected }) => rejected) }
}

function mergedPools(all: readonly PoolSize[]): PoolSize[] {
  return byKey(
    all,
    ({ key }) => key,
    (sizes) => ({
      key: sizes[0]!.key,
      open: sum(sizes, ({ open }) => open),
      idle: sum(sizes, ({ idle }) => idle),
      active: sum(sizes, ({ active }) => active),
      waiting: sum(sizes, ({ waiting }) => waiting),
    }),
  )
}

function byKey<T>(all: readonly T[], keyOf: (one: T) => string, merge: (same: readonly T[]) => T): T[] {
  return Array.from(Map.groupBy(all, keyOf).values(), merge)
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0)
}

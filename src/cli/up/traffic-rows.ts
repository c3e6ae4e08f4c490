import type { Stats, TrafficStats, UpstreamStats } from '../../admin/stats.ts'

/** What one caller did to one callee between two looks. Rates are per second. */
export interface TrafficRow {
  readonly from: string
  readonly to: string
  readonly requestsPerSecond: number
  /** undefined without requests. */
  readonly successPercent: number | undefined
  readonly p50Ms: number | undefined
  readonly p99Ms: number | undefined
  readonly retriesPerSecond: number
  /** `closed`, or those that are not: `open: inventory-v2`. Empty when there is no breaker. */
  readonly breaker: string
  /** Who refused, how often a second and why: `web 12.0/s DENIED by AuthorizationPolicy/shop/x`. Empty when nobody did. */
  readonly refused: string
}

/** What every sidecar said at one time, by workload (`ns/name`). */
export interface Look {
  readonly atMs: number
  readonly stats: ReadonlyMap<string, Stats>
}

/** Rows for the callers' view of each service, and for plaintext that came in from outside the mesh. */
export function trafficRows(
  before: Look,
  now: Look,
  workloadAt: (address: string) => string | undefined,
): readonly TrafficRow[] {
  const seconds = (now.atMs - before.atMs) / 1_000
  const rows: TrafficRow[] = []
  for (const [workload, stats] of now.stats) {
    const earlier = before.stats.get(workload)
    for (const upstream of stats.upstreams) {
      const then = earlier?.upstreams.find((other) => other.service === upstream.service)
      rows.push(row(workload, upstream, then, seconds, workloadAt))
    }
    const plain = stats.inbound.bySource.find(({ source }) => source === 'plaintext')
    if (plain !== undefined) {
      const then = earlier?.inbound.bySource.find(({ source }) => source === 'plaintext')
      const requests = since(plain.requests, then?.requests)
      const failures = since(plain.failures, then?.failures)
      rows.push({
        from: '(plaintext)',
        to: workload,
        requestsPerSecond: requests / seconds,
        successPercent: share(requests - failures, requests),
        p50Ms: undefined,
        p99Ms: undefined,
        retriesPerSecond: 0,
        breaker: '',
        refused: '',
      })
    }
  }
  return rows.sort((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to))
}

function row(
  from: string,
  now: UpstreamStats,
  then: UpstreamStats | undefined,
  seconds: number,
  workloadAt: (address: string) => string | undefined,
): TrafficRow {
  const requests = since(now.requests, then?.requests)
  const counts = now.latencyCounts.map((count, i) => since(count, then?.latencyCounts[i]))
  return {
    from,
    to: now.service,
    requestsPerSecond: requests / seconds,
    successPercent: share(requests - since(now.failures, then?.failures), requests),
    p50Ms: percentile(50, now.latencyBucketsMs, counts),
    p99Ms: percentile(99, now.latencyBucketsMs, counts),
    retriesPerSecond: since(now.retries, then?.retries) / seconds,
    breaker: breakerText(now.breakers, workloadAt),
    refused: refusedText(now, then, seconds),
  }
}

/** A counter that went down belongs to a sidecar that was started again: it counts from zero. */
function since(now: number, then: number | undefined): number {
  return then === undefined || then > now ? now : now - then
}

function share(part: number, whole: number): number | undefined {
  return whole === 0 ? undefined : (part / whole) * 100
}

/** Linear inside the bucket; the last bucket has no upper end, so its lower one stands. */
export function percentile(
  percent: number,
  boundsMs: readonly number[],
  counts: readonly number[],
): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  const rank = (percent / 100) * total
  let seen = 0
  for (const [i, count] of counts.entries()) {
    if (seen + count < rank || count === 0) {
      seen += count
      continue
    }
    const low = i === 0 ? 0 : (boundsMs[i - 1] ?? 0)
    const high = boundsMs[i] ?? low
    return low + (high - low) * ((rank - seen) / count)
  }
  return boundsMs.at(-1)
}

function breakerText(breakers: UpstreamStats['breakers'], workloadAt: (address: string) => string | undefined): string {
  if (breakers.length === 0) return ''
  const notClosed = breakers.filter(({ state }) => state !== 'closed')
  if (notClosed.length === 0) return 'closed'
  return notClosed.map(({ scope, state }) => `${state}: ${workloadAt(scope) ?? scope}`).join(', ')
}

function refusedText(now: UpstreamStats, then: TrafficStats | undefined, seconds: number): string {
  const parts: string[] = []
  for (const [code, count] of Object.entries(now.refusedByReason)) {
    const refusals = since(count, then?.refusedByReason[code])
    if (refusals > 0) parts.push(`${(refusals / seconds).toFixed(1)}/s ${code}`)
  }
  const last = parseReason(now.lastReason)
  if (parts.length === 0 || last === undefined) return parts.join(', ')
  const who = last.by === undefined ? '' : `${last.by}: `
  return `${who}${parts.join(', ')}${last.policy === undefined ? '' : ` (${last.policy})`}`
}

/** Takes `x-outrigger-reason: CODE; policy=Kind/ns/name; version=N; by=ns/workload` apart. */
function parseReason(reason: string | null): { policy: string | undefined; by: string | undefined } | undefined {
  if (reason === null) return undefined
  const parts = reason.split(';').map((part) => part.trim())
  const value = (name: string): string | undefined =>
    parts.find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1)
  return { policy: value('policy'), by: value('by') }
}

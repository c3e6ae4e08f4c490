import type { TrafficStats } from '../admin/stats.ts'
import type { Result } from './result.ts'

/** A quarter of an octave from 0.25 ms to 70 s: p50 and p99 read from it are within 9 %. Prometheus' buckets are coarser. */
const bucketsPerOctave = 4
const firstBoundMs = 0.25
export const latencyBucketsMs: readonly number[] = Array.from(
  { length: 18 * bucketsPerOctave + 1 },
  (_, i) => Math.round(firstBoundMs * 2 ** (i / bucketsPerOctave) * 1_000) / 1_000,
)

/** Running totals of one service, or of all inbound traffic. */
export class Traffic {
  requests = 0
  failures = 0
  retries = 0
  lastReason = ''
  readonly #refused = new Map<string, number>()
  readonly #latency = new Float64Array(latencyBucketsMs.length + 1)

  add(result: Result, durationMs: number, retries: number): void {
    this.requests++
    this.retries += retries
    if (result.failed) this.failures++
    if (result.code !== '') {
      this.#refused.set(result.code, (this.#refused.get(result.code) ?? 0) + 1)
      this.lastReason = result.reason
    }
    this.#latency[latencyBucket(durationMs)]! += 1
  }

  stats(): TrafficStats {
    return {
      requests: this.requests,
      failures: this.failures,
      refusedByReason: Object.fromEntries(this.#refused),
      lastReason: this.lastReason === '' ? null : this.lastReason.slice(0, 1_024),
      latencyBucketsMs,
      latencyCounts: Array.from(this.#latency),
    }
  }
}

function latencyBucket(ms: number): number {
  if (ms <= firstBoundMs) return 0
  // Bounds are rounded to a microsecond; a value that close to one may land in its neighbour.
  const bucket = Math.ceil(Math.log2(ms / firstBoundMs) * bucketsPerOctave)
  return Math.min(bucket, latencyBucketsMs.length)
}

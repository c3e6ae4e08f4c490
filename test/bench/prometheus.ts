/** What a scrape says. Pure. */

/** Counts of a histogram's buckets up to each bound, ascending; the last bound is infinite. */
export type Buckets = readonly { readonly bound: number; readonly count: number }[]

/** Of a histogram without labels of its own. Throws when the text does not have it: the figure would be of nothing. */
export function bucketsOf(text: string, name: string): Buckets {
  const pattern = new RegExp(`^${name}_bucket\\{le="([^"]+)"\\} (\\S+)$`, 'gm')
  const buckets = Array.from(text.matchAll(pattern), ([, bound, count]) => ({
    bound: bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound),
    count: Number(count),
  }))
  if (buckets.length === 0) throw new Error(`the metrics have no ${name}`)
  return buckets.sort((a, b) => a.bound - b.bound)
}

/**
 * The quantile of what was counted between two scrapes, as PromQL's histogram_quantile finds it: linear within a bucket.
 * In the bucket without a bound: the highest bound. NaN when nothing was counted.
 */
export function quantileBetween(before: Buckets, after: Buckets, share: number): number {
  const counts = after.map(({ bound, count }, i) => ({ bound, count: count - (before[i]?.count ?? 0) }))
  const total = counts.at(-1)?.count ?? 0
  if (total === 0) return Number.NaN
  const wanted = share * total
  let low = { bound: 0, count: 0 }
  for (const bucket of counts) {
    if (bucket.count >= wanted) {
      if (bucket.bound === Number.POSITIVE_INFINITY) return low.bound
      return low.bound + ((bucket.bound - low.bound) * (wanted - low.count)) / (bucket.count - low.count)
    }
    low = bucket
  }
  return Number.NaN
}

/** Each series of a metric by its labels as they are written, `''` for none. */
export function seriesOf(text: string, name: string): Map<string, number> {
  const pattern = new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, 'gm')
  return new Map(Array.from(text.matchAll(pattern), ([, labels = '', value]) => [labels, Number(value)]))
}

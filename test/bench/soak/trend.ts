/** What a row of samples says about growth. Pure. */

export interface Point {
  readonly seconds: number
  readonly value: number
}

/** Slope of the least-squares line, in units of the value for each second; 0 for fewer than two points. */
export function slope(points: readonly Point[]): number {
  const n = points.length
  if (n < 2) return 0
  const mean = (of: (point: Point) => number): number => points.reduce((sum, point) => sum + of(point), 0) / n
  const [x, y] = [mean((point) => point.seconds), mean((point) => point.value)]
  let [above, below] = [0, 0]
  for (const { seconds, value } of points) {
    above += (seconds - x) * (value - y)
    below += (seconds - x) ** 2
  }
  return below === 0 ? 0 : above / below
}

/** The later half: what a start costs, compilers and pools among it, is over. */
export function secondHalf<T>(samples: readonly T[]): readonly T[] {
  return samples.slice(Math.floor(samples.length / 2))
}

/** Median of the last quarter less that of the second: what comes and goes does not count, what stays does. */
export function growth(values: readonly number[]): number {
  const quarter = Math.max(1, Math.floor(values.length / 4))
  return median(values.slice(-quarter)) - median(values.slice(quarter, 2 * quarter))
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

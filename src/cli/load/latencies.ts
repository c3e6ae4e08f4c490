/**
 * A histogram of durations in milliseconds with a relative error of 1 % and an exact maximum; its size does not
 * grow with the number of values, so that a load may run for days.
 */
export class Latencies {
  readonly #counts: number[] = []
  #count = 0
  #max = 0

  record(ms: number): void {
    const slot = ms <= lowestMs ? 0 : Math.ceil(Math.log(ms / lowestMs) / Math.log(ratio))
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1
    this.#count++
    if (ms > this.#max) this.#max = ms
  }

  /** Adds all of another one. */
  add(other: Latencies): this {
    for (const [slot, count] of other.#counts.entries()) this.#counts[slot] = (this.#counts[slot] ?? 0) + (count ?? 0)
    this.#count += other.#count
    this.#max = Math.max(this.#max, other.#max)
    return this
  }

  get count(): number {
    return this.#count
  }

  /** The longest, exact; 0 when there is none. */
  get maxMs(): number {
    return this.#max
  }

  /** The value that `percent` of all durations do not exceed; 0 when there is none. */
  percentile(percent: number): number {
    const rank = Math.ceil((percent / 100) * this.#count)
    let seen = 0
    for (let slot = 0; slot < this.#counts.length; slot++) {
      seen += this.#counts[slot] ?? 0
      if (seen >= rank && seen > 0) return Math.min(lowestMs * ratio ** slot, this.#max)
    }
    return 0
  }
}

const lowestMs = 0.05
const ratio = 1.02

/** How often a peer may do what costs us and brings nothing: so many at once, so many more a second. */
export class Allowance {
  readonly #max: number
  readonly #perMs: number
  #left: number
  #at: number

  constructor(max: number, perSecond: number, now: number) {
    this.#max = max
    this.#perMs = perSecond / 1_000
    this.#left = max
    this.#at = now
  }

  /** False: it has been too often. */
  spend(now: number): boolean {
    if (this.#left < 1) {
      this.#left = Math.min(this.#max, this.#left + (now - this.#at) * this.#perMs)
      this.#at = now
    } else if (this.#left === this.#max) this.#at = now
    this.#left--
    return this.#left >= 0
  }

  /** Something useful came. */
  earn(times: number): void {
    this.#left = Math.min(this.#max, this.#left + times)
  }
}

import type { Clock } from '../base/clock.ts'

/** Exponential from `firstMs` to `maxMs`, each wait somewhere in its upper half, so that many do not come back at once. */
export class Backoff {
  readonly #clock: Clock
  readonly #firstMs: number
  readonly #maxMs: number
  #failures = 0

  constructor(clock: Clock, firstMs: number, maxMs: number) {
    this.#clock = clock
    this.#firstMs = firstMs
    this.#maxMs = maxMs
  }

  /** Milliseconds to wait after one more failure; `maxMs` bounds this one wait further. */
  next(maxMs: number = this.#maxMs): number {
    // 2^20 of the first wait is past every maximum; more would leave the integers.
    const full = Math.min(this.#maxMs, maxMs, this.#firstMs * 2 ** Math.min(this.#failures++, 20))
    return full * (0.5 + this.#clock.random() / 2)
  }

  reset(): void {
    this.#failures = 0
  }
}

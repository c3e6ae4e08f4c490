import type { Clock, Timer } from '../../src/base/clock.ts'

/**
 * Turns a burst of events into one call: `quietMs` after the last event, and at the latest `maxMs` after the first,
 * so that a steady stream of events cannot put the call off for ever.
 */
export class Debounce {
  readonly #clock: Clock
  readonly #quietMs: number
  readonly #maxMs: number
  readonly #run: () => void
  #timer: Timer | undefined
  #latestAt = 0

  constructor(clock: Clock, quietMs: number, maxMs: number, run: () => void) {
    this.#clock = clock
    this.#quietMs = quietMs
    this.#maxMs = maxMs
    this.#run = run
  }

  trigger(): void {
    const now = this.#clock.now()
    if (this.#timer === undefined) this.#latestAt = now + this.#maxMs
    this.#timer?.cancel()
    this.#timer = this.#clock.after(Math.max(0, Math.min(this.#quietMs, this.#latestAt - now)), () => {
      this.#timer = undefined
      this.#run()
    })
  }

  cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

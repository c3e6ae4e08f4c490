import type { Clock, Timer } from '../base/clock.ts'
import type { Histograms } from './series.ts'

/** Fifty looks a second see one stall of 10 ms in two. */
const everyMs = 20

/** Seconds. The clock of timers has whole milliseconds: below 1 ms nothing can be told apart. */
export const loopDelayBoundsSeconds = [0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/**
 * How late a timer fires that is due every 20 ms: what any event of this process waits until the event loop comes to it.
 * Node's own monitor counts the interval with the delay, and cannot be added up over sidecars. Such a timer wakes a
 * process that has nothing to do, half a percent of a CPU in each of a hundred idle sidecars, so it runs while there is
 * traffic only.
 */
export class LoopDelay {
  readonly #clock: Clock
  readonly #histogram: Histograms
  readonly #slot: number
  #timer: Timer | undefined
  #lastAt = 0

  constructor(clock: Clock, histogram: Histograms) {
    this.#clock = clock
    this.#histogram = histogram
    this.#slot = histogram.slot([])
  }

  /** Called now and then with whether there was traffic since the last time. */
  watch(traffic: boolean): void {
    if (!traffic) this.stop()
    else if (this.#timer === undefined) {
      this.#lastAt = this.#clock.now()
      this.#timer = this.#clock.every(everyMs, this.#look)
    }
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  readonly #look = (): void => {
    const now = this.#clock.now()
    // The next one is due from when this one began, so delays do not add up.
    this.#histogram.observe(this.#slot, Math.max(0, now - this.#lastAt - everyMs) / 1_000)
    this.#lastAt = now
  }
}

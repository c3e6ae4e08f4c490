import type { Clock } from '../base/clock.ts'

/** The wall clock may be set while the process runs; a jump past this is followed, less is rounding. */
const jumpMs = 2

/**
 * Turns clock milliseconds into Unix milliseconds with a fraction. `Clock.wall` is cut to whole milliseconds, so the
 * largest difference seen to `Clock.now` is the truest; with it spans of one process nest as they happened.
 */
export class WallTime {
  readonly #clock: Clock
  #offset: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#offset = clock.wall() - clock.now()
  }

  at(clockMs: number): number {
    const offset = this.#clock.wall() - this.#clock.now()
    if (offset > this.#offset || this.#offset - offset > jumpMs) this.#offset = offset
    return clockMs + this.#offset
  }
}

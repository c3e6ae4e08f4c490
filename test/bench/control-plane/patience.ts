import type { Clock, Timer } from '../../../src/base/clock.ts'

const tickMs = 20

interface Waiting {
  readonly until: number
  readonly over: () => void
}

/**
 * Time limits for answers of the other end. A thousand sidecars in one process are late now and then; a sidecar alone would
 * not be, and would have read what lies there already. So only the time counts in which this process was not busy: a tick that
 * comes late counts as one.
 */
export class Patience {
  readonly #waiting = new Set<Waiting>()
  #awakeMs = 0

  constructor(clock: Clock) {
    clock.every(tickMs, () => this.#tick())
  }

  after(ms: number, over: () => void): Timer {
    const waiting = { until: this.#awakeMs + ms, over }
    this.#waiting.add(waiting)
    return { cancel: () => void this.#waiting.delete(waiting) }
  }

  #tick(): void {
    this.#awakeMs += tickMs
    for (const waiting of this.#waiting) {
      if (waiting.until > this.#awakeMs) continue
      this.#waiting.delete(waiting)
      waiting.over()
    }
  }
}

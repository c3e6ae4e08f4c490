/**
 * Time and chance are parameters, so that tests own them. The only file that may name Date.now,
 * setTimeout, setInterval and Math.random (test/tidy.test.ts).
 */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Monotonic milliseconds, with a fraction. For durations and deadlines. */
  now(): number
  /** Unix milliseconds. For what people and certificates read. */
  wall(): number
  /** Does not keep the process alive. */
  after(ms: number, callback: () => void): Timer
  every(ms: number, callback: () => void): Timer
  /** In [0, 1). */
  random(): number
}

class SystemTimer implements Timer {
  readonly #timer: NodeJS.Timeout
  constructor(timer: NodeJS.Timeout) {
    this.#timer = timer
  }
  cancel(): void {
    clearTimeout(this.#timer)
  }
}

/** The largest delay that setTimeout takes; longer ones would fire at once. */
const delayMaxMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, callback) => new SystemTimer(setTimeout(callback, Math.min(ms, delayMaxMs)).unref()),
  every: (ms, callback) => new SystemTimer(setInterval(callback, Math.min(ms, delayMaxMs)).unref()),
  random: () => Math.random(),
}

/** Resolves after `ms`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

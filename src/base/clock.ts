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

/**
 * A timer that is late by more than `lateMs` belongs to a loop that stood still (a long computation, a process without
 * CPU, a stopped one). Node runs timers before it reads sockets: whatever came in the meantime, in time, would find its
 * timeout fired. So a late one lets the loop read what is there first.
 */
class SystemTimer implements Timer {
  readonly #callback: () => void
  readonly #everyMs: number | undefined
  readonly #timer: NodeJS.Timeout
  #dueAt: number
  #deferred: NodeJS.Immediate | undefined

  constructor(ms: number, repeat: boolean, callback: () => void) {
    const delay = Math.min(ms, delayMaxMs)
    this.#callback = callback
    this.#everyMs = repeat ? delay : undefined
    this.#dueAt = performance.now() + delay
    this.#timer = repeat ? setInterval(fire, delay, this) : setTimeout(fire, delay, this)
    this.#timer.unref()
  }

  cancel(): void {
    clearTimeout(this.#timer)
    if (this.#deferred !== undefined) clearImmediate(this.#deferred)
    this.#deferred = undefined
  }

  fire(): void {
    const now = performance.now()
    const late = now - this.#dueAt > lateMs
    if (this.#everyMs !== undefined) this.#dueAt = now + this.#everyMs
    if (!late) this.#callback()
    else
      this.#deferred ??= setImmediate(() => {
        this.#deferred = undefined
        this.#callback()
      })
  }
}

function fire(timer: SystemTimer): void {
  timer.fire()
}

/** More than timers are late on a loop that is merely busy. */
const lateMs = 50

/** The largest delay that setTimeout takes; longer ones would fire at once. */
const delayMaxMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, callback) => new SystemTimer(ms, false, callback),
  every: (ms, callback) => new SystemTimer(ms, true, callback),
  random: () => Math.random(),
}

/** Milliseconds between the machine's monotonic clock and this thread's `now`. */
export function clockOrigin(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now()
}

/** The clock of a thread on the time of the process that started it, whose `clockOrigin()` was `origin`. */
export function threadClock(origin: number): Clock {
  const offset = clockOrigin() - origin
  return { ...systemClock, now: () => performance.now() + offset }
}

/** Resolves after `ms`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

import type { Clock } from '../base/clock.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'

/** One running timeout. */
export interface Timeout<T> {
  readonly of: T
  /** How many attempts the exchange had when it began. */
  readonly attempts: number
  at: number
  before: Timeout<T> | undefined
  after: Timeout<T> | undefined
}

/**
 * Timeouts that all have the same length: a linked list in order of time, and one timer for its head. A timer per
 * request would cost several times as much, and nearly all of them are cancelled.
 */
export class TimeoutQueue<T> {
  readonly #clock: Clock
  readonly #ms: number
  readonly #expire: (timeout: Timeout<T>) => void
  #first: Timeout<T> | undefined
  #last: Timeout<T> | undefined
  #armed = false

  constructor(clock: Clock, ms: number, expire: (timeout: Timeout<T>) => void) {
    this.#clock = clock
    this.#ms = ms
    this.#expire = expire
  }

  add(of: T, attempts = 0): Timeout<T> {
    const timeout: Timeout<T> = {
      of,
      attempts,
      at: this.#clock.now() + this.#ms,
      before: this.#last,
      after: undefined,
    }
    if (this.#last === undefined) this.#first = timeout
    else this.#last.after = timeout
    this.#last = timeout
    if (!this.#armed) this.#arm(this.#ms)
    return timeout
  }

  /** Takes it out; harmless if it has expired or was cancelled. */
  cancel(timeout: Timeout<T>): void {
    if (timeout.at === 0) return
    timeout.at = 0
    if (timeout.before === undefined) this.#first = timeout.after
    else timeout.before.after = timeout.after
    if (timeout.after === undefined) this.#last = timeout.before
    else timeout.after.before = timeout.before
    timeout.before = undefined
    timeout.after = undefined
  }

  #arm(ms: number): void {
    this.#armed = true
    this.#clock.after(ms, () => this.#fire())
  }

  #fire(): void {
    this.#armed = false
    const now = this.#clock.now()
    let first = this.#first
    // Timers may fire a fraction of a millisecond early.
    while (first !== undefined && first.at <= now + 0.5) {
      this.cancel(first)
      this.#expire(first)
      first = this.#first
    }
    if (first !== undefined && !this.#armed) this.#arm(Math.max(1, first.at - now))
  }
}

/** Times a service from its call until its response is whole; a tunnel, once made, may last. */
export function timed(queue: TimeoutQueue<Exchange>, next: Service): Service {
  return (exchange) => untilWhole(queue, queue.add(exchange, exchange.attempts.length), next, exchange)
}

/** Serves, and cancels the timeout when the response is whole, when there is none, or when it is a tunnel. */
export async function untilWhole<T>(
  queue: { cancel(timeout: T): void },
  timeout: T,
  next: Service,
  exchange: Exchange,
): Promise<Response> {
  try {
    const response = await next(exchange)
    if (response.finished || response.tunnel !== undefined) queue.cancel(timeout)
    else response.onFinish(() => queue.cancel(timeout))
    return response
  } catch (error) {
    queue.cancel(timeout)
    throw error
  }
}

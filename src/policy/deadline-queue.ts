import type { Clock, Timer } from '../base/clock.ts'
import type { Exchange } from '../base/exchange.ts'

/** A time at which an exchange is over, and where it lies in the heap; -1: no longer. */
export interface Due {
  readonly of: Exchange
  /** Clock milliseconds. */
  readonly at: number
  /** The caller chose it, not a policy. */
  readonly byCaller: boolean
  place: number
}

/**
 * Deadlines of any length: a binary heap, earliest first, and one timer for its head. Callers choose their own, so that
 * there is no list of equal ones (timeout-queue.ts); nearly all are cancelled, so that a timer for each would cost more.
 */
export class DeadlineQueue {
  readonly #clock: Clock
  readonly #expire: (due: Due) => void
  readonly #heap: Due[] = []
  #timer: Timer | undefined
  #armedFor = Number.POSITIVE_INFINITY

  constructor(clock: Clock, expire: (due: Due) => void) {
    this.#clock = clock
    this.#expire = expire
  }

  add(of: Exchange, at: number, byCaller: boolean): Due {
    const due: Due = { of, at, byCaller, place: this.#heap.length }
    this.#heap.push(due)
    this.#rise(due)
    if (at < this.#armedFor) this.#arm(at)
    return due
  }

  /** Takes it out; harmless if it has expired or was cancelled. */
  cancel(due: Due): void {
    const { place } = due
    if (place === -1) return
    due.place = -1
    const last = this.#heap.pop()!
    if (last === due) return
    this.#heap[place] = last
    last.place = place
    this.#rise(last)
    this.#sink(last)
  }

  #rise(due: Due): void {
    const heap = this.#heap
    while (due.place > 0) {
      const above = heap[(due.place - 1) >> 1]!
      if (above.at <= due.at) return
      this.#swap(above, due)
    }
  }

  #sink(due: Due): void {
    const heap = this.#heap
    for (;;) {
      const left = heap[2 * due.place + 1]
      if (left === undefined) return
      const right = heap[2 * due.place + 2]
      const earlier = right !== undefined && right.at < left.at ? right : left
      if (due.at <= earlier.at) return
      this.#swap(due, earlier)
    }
  }

  #swap(above: Due, below: Due): void {
    const { place } = above
    this.#heap[below.place] = above
    above.place = below.place
    this.#heap[place] = below
    below.place = place
  }

  #arm(at: number): void {
    this.#timer?.cancel()
    this.#armedFor = at
    this.#timer = this.#clock.after(Math.max(1, at - this.#clock.now()), () => this.#fire())
  }

  #fire(): void {
    this.#armedFor = Number.POSITIVE_INFINITY
    this.#timer = undefined
    const now = this.#clock.now()
    // Timers may fire a fraction of a millisecond early.
    for (let first = this.#heap[0]; first !== undefined && first.at <= now + 0.5; first = this.#heap[0]) {
      this.cancel(first)
      this.#expire(first)
    }
    const first = this.#heap[0]
    if (first !== undefined && first.at < this.#armedFor) this.#arm(first.at)
  }
}

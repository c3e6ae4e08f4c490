/** Limits that hold over all threads of a sidecar together. */
import { type Cell, SharedCount, type SharedTable } from '../base/shared-table.ts'
import { SharedWindow } from '../base/shared-window.ts'
import type { InFlight } from './in-flight.ts'
import { budgetSlots, leavesRetry, type RetryBudget, type RetryLimits } from './retry-budget.ts'

export class SharedInFlight implements InFlight {
  readonly max: number
  readonly #count: SharedCount

  constructor(table: SharedTable, max: number) {
    this.max = max
    this.#count = new SharedCount(table, table.claim('counts', 'in flight'), 0)
  }

  enter(): boolean {
    return this.#count.tryAdd(this.max)
  }

  leave(): void {
    this.#count.subtract()
  }
}

/**
 * One budget for all threads. Two that ask for the last retry in the same microsecond may both get it: the budget is a
 * share over seconds, and one more in it is within what it promises (the sliding interval is cut in twentieths as well).
 */
export class SharedRetryBudget implements RetryBudget {
  readonly #slotMs: number
  readonly #window: SharedWindow
  readonly #cell: Cell
  readonly #table: SharedTable

  constructor(table: SharedTable, name: string, intervalMs: number) {
    this.#table = table
    this.#slotMs = intervalMs / budgetSlots
    this.#cell = table.claim('window', `${name} ${intervalMs}`)
    this.#window = new SharedWindow(this.#cell, 0, budgetSlots)
  }

  get requests(): number {
    return this.#window.sum(0, this.#table.clock.now(), this.#slotMs)
  }

  get retries(): number {
    return this.#window.sum(1, this.#table.clock.now(), this.#slotMs)
  }

  request(now: number): void {
    this.#window.add(0, now, this.#slotMs)
  }

  tryRetry(limits: RetryLimits, now: number): boolean {
    const requests = this.#window.sum(0, now, this.#slotMs)
    if (!leavesRetry(limits, requests, this.#window.sum(1, now, this.#slotMs))) return false
    this.#window.add(1, now, this.#slotMs)
    return true
  }

  close(): void {
    this.#table.release(this.#cell)
  }
}

import type { RetryBudget as RetryBudgetPolicy } from '../api/gen/outrigger_pb.ts'

/** How many retries a backend bears: Gateway API's `retryConstraint` (GEP-3388). */
export interface RetryLimits {
  readonly percent: number
  readonly intervalMs: number
  readonly minPerSecond: number
}

/** GEP-3388's defaults; always on. */
export const defaultRetryLimits: RetryLimits = { percent: 20, intervalMs: 10_000, minPerSecond: 10 }

/** Limits of a policy; the defaults without one. */
export function retryLimitsOf(policy: RetryBudgetPolicy | undefined): RetryLimits {
  if (policy === undefined) return defaultRetryLimits
  return {
    percent: policy.percent,
    intervalMs: policy.intervalMs || defaultRetryLimits.intervalMs,
    minPerSecond: policy.minPerSecond,
  }
}

/** The interval slides by twentieths, on use; no timer runs. */
export const budgetSlots = 20

/**
 * Requests and retries of one backend over a sliding interval:
 * retries <= max(percent of the requests, minPerSecond x seconds of the interval).
 */
export interface RetryBudget {
  /** Requests (first tries) in the interval. */
  readonly requests: number
  /** Retries in the interval. */
  readonly retries: number
  /** A request came. */
  request(now: number): void
  /** Takes one retry if the limits leave one. */
  tryRetry(limits: RetryLimits, now: number): boolean
}

/** Whether the limits leave one more retry. */
export function leavesRetry(limits: RetryLimits, requests: number, retries: number): boolean {
  const floor = (limits.minPerSecond * limits.intervalMs) / 1_000
  const share = (limits.percent * requests) / 100
  return retries + 1 <= Math.max(floor, share)
}

/** The budget of a sidecar without threads. */
export class OwnRetryBudget implements RetryBudget {
  readonly #slotMs: number
  readonly #requests = new Uint32Array(budgetSlots)
  readonly #retries = new Uint32Array(budgetSlots)
  #slot = 0
  #slotEndsAt: number
  #requestCount = 0
  #retryCount = 0

  constructor(intervalMs: number, now: number) {
    this.#slotMs = intervalMs / budgetSlots
    this.#slotEndsAt = now + this.#slotMs
  }

  get requests(): number {
    return this.#requestCount
  }

  get retries(): number {
    return this.#retryCount
  }

  request(now: number): void {
    if (now >= this.#slotEndsAt) this.#slide(now)
    this.#requests[this.#slot]!++
    this.#requestCount++
  }

  tryRetry(limits: RetryLimits, now: number): boolean {
    if (now >= this.#slotEndsAt) this.#slide(now)
    if (!leavesRetry(limits, this.#requestCount, this.#retryCount)) return false
    this.#retries[this.#slot]!++
    this.#retryCount++
    return true
  }

  #slide(now: number): void {
    const due = Math.floor((now - this.#slotEndsAt) / this.#slotMs) + 1
    for (let i = 0; i < Math.min(due, budgetSlots); i++) {
      this.#slot = (this.#slot + 1) % budgetSlots
      this.#requestCount -= this.#requests[this.#slot]!
      this.#retryCount -= this.#retries[this.#slot]!
      this.#requests[this.#slot] = 0
      this.#retries[this.#slot] = 0
    }
    this.#slotEndsAt += due * this.#slotMs
  }
}

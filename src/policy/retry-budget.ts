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

const slots = 20

/**
 * Requests and retries of one backend over a sliding interval:
 * retries <= max(percent of the requests, minPerSecond x seconds of the interval).
 * The interval slides by twentieths, on use; no timer runs.
 */
export class RetryBudget {
  readonly #slotMs: number
  readonly #requests = new Uint32Array(slots)
  readonly #retries = new Uint32Array(slots)
  #slot = 0
  #slotEndsAt: number
  #requestCount = 0
  #retryCount = 0

  constructor(intervalMs: number, now: number) {
    this.#slotMs = intervalMs / slots
    this.#slotEndsAt = now + this.#slotMs
  }

  /** Requests (first tries) in the interval. */
  get requests(): number {
    return this.#requestCount
  }

  /** Retries in the interval. */
  get retries(): number {
    return this.#retryCount
  }

  /** A request came. */
  request(now: number): void {
    if (now >= this.#slotEndsAt) this.#slide(now)
    this.#requests[this.#slot]!++
    this.#requestCount++
  }

  /** Takes one retry if the limits leave one. */
  tryRetry(limits: RetryLimits, now: number): boolean {
    if (now >= this.#slotEndsAt) this.#slide(now)
    const floor = (limits.minPerSecond * limits.intervalMs) / 1_000
    const share = (limits.percent * this.#requestCount) / 100
    if (this.#retryCount + 1 > Math.max(floor, share)) return false
    this.#retries[this.#slot]!++
    this.#retryCount++
    return true
  }

  #slide(now: number): void {
    const due = Math.floor((now - this.#slotEndsAt) / this.#slotMs) + 1
    for (let i = 0; i < Math.min(due, slots); i++) {
      this.#slot = (this.#slot + 1) % slots
      this.#requestCount -= this.#requests[this.#slot]!
      this.#retryCount -= this.#retries[this.#slot]!
      this.#requests[this.#slot] = 0
      this.#retries[this.#slot] = 0
    }
    this.#slotEndsAt += due * this.#slotMs
  }
}

import { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'
import type { CircuitBreaker as BreakerPolicy } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'

/** `open` rejects, `half-open` lets one probe through (opossum's words). */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** One change of state, as in BreakerTransition of outrigger.proto. */
export interface Transition {
  /** "ns/name". */
  readonly service: string
  /** ip:port; '' for the breaker of the whole service. */
  readonly endpoint: string
  readonly from: BreakerState
  readonly to: BreakerState
  readonly cause: string
  /** Unix milliseconds. */
  readonly at: number
  /** It counts and changes state, but rejects nothing. */
  readonly shadow: boolean
}

export interface BreakerOwner {
  readonly clock: Clock
  readonly service: string
  readonly endpoint: string
  /** The breaker began or ceased to accept requests. */
  readonly onChange: () => void
  readonly onTransition: (transition: Transition) => void
}

/** What the admin API shows of a breaker. */
export interface BreakerSnapshot {
  readonly state: BreakerState
  readonly shadow: boolean
  /** Requests and failures in the rolling window. */
  readonly requests: number
  readonly failures: number
  /** Since the process began. */
  readonly rejected: number
  readonly openedAt: number
  readonly cause: string
}

/** May the request go, and how its outcome counts. */
export type Admission = 'counted' | 'probe' | 'uncounted' | 'rejected'

/**
 * A circuit breaker on opossum's state machine. Every transition is opossum's own decision: failures and the probe go
 * through `fire`. A success while closed is only counted in its rolling status, because `fire` costs a microsecond
 * and five allocations, and a success cannot change anything there. Time is the clock's: the window is rotated when
 * it is looked at, and the reset timeout is our timer, so that no opossum timer runs. Half-open is a circuit of
 * its own, made in that state: requests that began before cannot decide about the probe.
 */
export class Breaker {
  readonly #owner: BreakerOwner
  #policy: BreakerPolicy
  #circuit: CircuitBreaker<[Outcome]>
  #rotation = new EventEmitter()
  #bucketMs: number
  #rotateAt: number
  #resetTimer: Timer | undefined
  #probe: PromiseWithResolvers<void> | undefined
  #state: BreakerState = 'closed'
  #cause = ''
  #openedAt = 0
  #rejected = 0
  #outdated = false

  constructor(policy: BreakerPolicy, owner: BreakerOwner) {
    this.#policy = policy
    this.#owner = owner
    this.#bucketMs = windowOf(policy) / buckets
    this.#rotateAt = owner.clock.now() + this.#bucketMs
    this.#circuit = this.#make('closed')
  }

  get state(): BreakerState {
    return this.#state
  }

  get shadow(): boolean {
    return this.#policy.shadow
  }

  /** It would reject a request now (never true in Shadow). */
  get rejecting(): boolean {
    return this.#state !== 'closed' && !this.#policy.shadow && !this.#circuit.pendingClose
  }

  /** Asks for one request. Its outcome must follow by `succeeded`, `failed` or `ended`, unless rejected. */
  admit(): Admission {
    if (this.#state === 'closed') return 'counted'
    if (this.#circuit.pendingClose) {
      const probe = Promise.withResolvers<void>()
      this.#probe = probe
      // opossum tells the outcome by events; the promise of fire only repeats it.
      this.#circuit.fire(probe.promise).catch(() => {})
      this.#owner.onChange()
      return 'probe'
    }
    this.#rejected++
    return this.#policy.shadow ? 'uncounted' : 'rejected'
  }

  /** The request was answered well. */
  succeeded(admission: Admission, now: number): void {
    if (admission === 'counted') {
      if (this.#state !== 'closed') return
      if (now >= this.#rotateAt) this.#rotate(now)
      // `fires` without `successes`: the error rate needs no more, and opossum keeps a latency for each success.
      this.#circuit.status.increment('fires')
    } else if (admission === 'probe') {
      this.#cause = 'the probe was answered'
      this.#probe?.resolve()
      this.#probe = undefined
    }
  }

  /** The request failed; `cause` says how, for people. */
  failed(admission: Admission, now: number, cause: string): void {
    if (admission === 'counted') {
      if (this.#state !== 'closed') return
      if (now >= this.#rotateAt) this.#rotate(now)
      this.#cause = cause
      // The action throws, so opossum has counted and decided when `fire` returns.
      this.#circuit.fire('failed').catch(() => {})
    } else if (admission === 'probe') {
      this.#cause = `the probe failed: ${cause}`
      this.#probe?.reject(requestFailed)
      this.#probe = undefined
    }
  }

  /** The request ended without saying anything about the upstream (the client left): the probe is free again. */
  ended(admission: Admission): void {
    if (admission !== 'probe' || this.#probe === undefined) return
    this.#probe = undefined
    this.#replace('half-open')
    this.#owner.onChange()
  }

  /** Takes over a changed policy; state, window and running reset timeout stay. */
  configure(policy: BreakerPolicy): void {
    const before = this.#policy
    this.#policy = policy
    if (
      before.errorThresholdPercent === policy.errorThresholdPercent &&
      before.volumeThreshold === policy.volumeThreshold &&
      before.rollingWindowMs === policy.rollingWindowMs
    ) {
      return
    }
    this.#bucketMs = windowOf(policy) / buckets
    // While a probe is out its circuit must stay; the new figures hold from its outcome on.
    if (this.#probe === undefined) this.#replace(this.#state)
    else this.#outdated = true
  }

  /** Ends its timers. */
  close(): void {
    this.#resetTimer?.cancel()
    this.#circuit.shutdown()
  }

  snapshot(): BreakerSnapshot {
    const now = this.#owner.clock.now()
    if (now >= this.#rotateAt) this.#rotate(now)
    const { fires, failures } = this.#circuit.stats
    return {
      state: this.#state,
      shadow: this.#policy.shadow,
      requests: fires,
      failures,
      rejected: this.#rejected,
      openedAt: this.#openedAt,
      cause: this.#cause,
    }
  }

  #make(state: BreakerState, stats?: { fires: number; failures: number }): CircuitBreaker<[Outcome]> {
    const window = {
      rollingCountTimeout: windowOf(this.#policy),
      rollingCountBuckets: buckets,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#rotation,
    }
    const circuit = new CircuitBreaker(outcome, {
      ...window,
      timeout: false,
      name: this.#owner.endpoint === '' ? this.#owner.service : this.#owner.endpoint,
      errorThresholdPercentage: thresholdOf(this.#policy),
      volumeThreshold: Math.max(1, this.#policy.volumeThreshold),
      // Never fires: the reset timeout is the clock's. The longest that setTimeout takes.
      resetTimeout: 2 ** 31 - 1,
      status: CircuitBreaker.newStatus(stats === undefined ? window : { ...window, stats }),
      ...(state === 'closed' ? {} : { state: { enabled: true, closed: false, halfOpen: state === 'half-open' } }),
    })
    circuit.on('open', () => this.#opened())
    circuit.on('close', () => this.#closed())
    return circuit
  }

  #closed(): void {
    this.#enter('closed', this.#cause)
    if (this.#outdated) this.#replace('closed')
  }

  /** A new circuit in the given state. */
  #replace(state: BreakerState): void {
    this.#outdated = false
    const { fires, failures } = this.#circuit.stats
    this.#circuit.shutdown()
    this.#rotation = new EventEmitter()
    this.#rotateAt = this.#owner.clock.now() + this.#bucketMs
    this.#circuit = this.#make(state, state === 'half-open' ? undefined : { fires, failures })
  }

  #opened(): void {
    const { fires, failures } = this.#circuit.stats
    const cause =
      this.#state === 'half-open'
        ? this.#cause
        : `${failures} of ${fires} requests failed within ${windowOf(this.#policy)} ms, the last: ${this.#cause}`
    this.#openedAt = this.#owner.clock.wall()
    const resetMs = resetOf(this.#policy)
    this.#resetTimer?.cancel()
    this.#resetTimer = this.#owner.clock.after(resetMs, () => {
      this.#replace('half-open')
      this.#enter('half-open', `${resetMs} ms have passed`)
    })
    this.#enter('open', cause)
  }

  #enter(to: BreakerState, cause: string): void {
    const from = this.#state
    this.#state = to
    this.#cause = cause
    this.#owner.onChange()
    this.#owner.onTransition({
      service: this.#owner.service,
      endpoint: this.#owner.endpoint,
      from,
      to,
      cause,
      at: this.#owner.clock.wall(),
      shadow: this.#policy.shadow,
    })
  }

  #rotate(now: number): void {
    const due = Math.min(buckets, Math.floor((now - this.#rotateAt) / this.#bucketMs) + 1)
    for (let i = 0; i < due; i++) this.#rotation.emit('rotate')
    this.#rotateAt = due === buckets ? now + this.#bucketMs : this.#rotateAt + due * this.#bucketMs
  }
}

const buckets = 10

/** A failure that has happened already, or the probe that is under way. */
type Outcome = 'failed' | Promise<void>

/** opossum looks at the fact only; one error for all spares a stack trace per failure. */
const requestFailed = new Error('request failed')

/** opossum's action. */
function outcome(of: Outcome): Promise<void> {
  if (of === 'failed') throw requestFailed
  return of
}

/** opossum's defaults stand in for 0. */
function windowOf(policy: BreakerPolicy): number {
  return policy.rollingWindowMs || 10_000
}

function resetOf(policy: BreakerPolicy): number {
  return policy.resetTimeoutMs || 30_000
}

/** opossum opens when the rate is above the threshold; 100 % could never be above 100. */
function thresholdOf(policy: BreakerPolicy): number {
  return Math.min(policy.errorThresholdPercent || 50, 99.99)
}

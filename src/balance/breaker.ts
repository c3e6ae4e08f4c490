import { EventEmitter } from 'node:events'
import CircuitBreaker, { type Status, type StatusOptions } from 'opossum'
import type { CircuitBreaker as BreakerPolicy } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { SharedBreakerState, windowSlots } from './shared-health.ts'

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
  /** Where state, window and probe are those of all threads of this sidecar. */
  readonly shared?: SharedBreakerState | undefined
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
 *
 * Between threads the window is one (opossum is given its sums), and a change of state holds in all of them: the thread
 * whose decision it was reports it, the others take it over before their next decision.
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
  /** Of the shared state, as far as it was followed. */
  #version = 0

  constructor(policy: BreakerPolicy, owner: BreakerOwner) {
    this.#policy = policy
    this.#owner = owner
    this.#bucketMs = windowOf(policy) / buckets
    // A shared window knows of itself how old it is.
    this.#rotateAt = owner.shared === undefined ? owner.clock.now() + this.#bucketMs : Number.POSITIVE_INFINITY
    this.#circuit = this.#make('closed')
    this.follow()
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Takes over what another thread has decided. */
  follow(): void {
    const version = this.#owner.shared?.version ?? 0
    if (version === this.#version) return
    this.#version = version
    this.#resetTimer?.cancel()
    this.#state = SharedBreakerState.stateOf(version)
    this.#cause = followed
    this.#probe = undefined
    this.#replace(this.#state)
    if (this.#state === 'open') {
      const { clock, shared } = this.#owner
      const openForMs = Math.max(0, clock.now() - shared!.openedAt)
      this.#openedAt = clock.wall() - openForMs
      // The thread that opened it comes first, unless it is gone.
      this.#resetAfter(Math.max(0, resetOf(this.#policy) - openForMs) + followMs)
    }
    this.#owner.onChange()
  }

  get shadow(): boolean {
    return this.#policy.shadow
  }

  /** It would reject a request now (never true in Shadow). */
  get rejecting(): boolean {
    this.follow()
    if (this.#state === 'closed' || this.#policy.shadow) return false
    return !this.#circuit.pendingClose || this.#owner.shared?.probeTaken(this.#version) === true
  }

  /** Asks for one request. Its outcome must follow by `succeeded`, `failed` or `ended`, unless rejected. */
  admit(): Admission {
    this.follow()
    if (this.#state === 'closed') return 'counted'
    if (this.#circuit.pendingClose && this.#owner.shared?.takeProbe(this.#version) !== false) {
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
    this.#owner.shared?.freeProbe(this.#version)
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
    this.#owner.shared?.close()
  }

  snapshot(): BreakerSnapshot {
    this.follow()
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
      status: this.#status(stats === undefined ? window : { ...window, stats }),
      ...(state === 'closed' ? {} : { state: { enabled: true, closed: false, halfOpen: state === 'half-open' } }),
    })
    circuit.on('open', () => this.#opened())
    circuit.on('close', () => this.#closed())
    return circuit
  }

  /** opossum asks its status for sums and tells it what happened: a shared window answers and takes it in its place. */
  #status(options: StatusOptions): Status {
    const status = CircuitBreaker.newStatus(options)
    const { shared, clock } = this.#owner
    if (shared === undefined) return status
    const sum = (which: 0 | 1): number => shared.window.sum(which, clock.now(), this.#bucketMs)
    Object.defineProperty(status, 'stats', {
      get: () => ({ fires: sum(0), failures: sum(1), successes: 0, rejects: 0 }),
    })
    status.increment = (property) => {
      if (property === 'fires' || property === 'failures')
        shared.window.add(property === 'fires' ? 0 : 1, clock.now(), this.#bucketMs)
    }
    return status
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
    if (this.#owner.shared === undefined) this.#rotateAt = this.#owner.clock.now() + this.#bucketMs
    this.#circuit = this.#make(state, state === 'half-open' ? undefined : { fires, failures })
  }

  #opened(): void {
    const { fires, failures } = this.#circuit.stats
    const cause =
      this.#state === 'half-open'
        ? this.#cause
        : `${failures} of ${fires} requests failed within ${windowOf(this.#policy)} ms, the last: ${this.#cause}`
    this.#openedAt = this.#owner.clock.wall()
    this.#resetAfter(resetOf(this.#policy))
    this.#enter('open', cause)
  }

  #resetAfter(ms: number): void {
    this.#resetTimer?.cancel()
    this.#resetTimer = this.#owner.clock.after(ms, () => {
      this.#replace('half-open')
      this.#enter('half-open', `${resetOf(this.#policy)} ms have passed`)
    })
  }

  #enter(to: BreakerState, cause: string): void {
    const { shared } = this.#owner
    if (shared !== undefined) {
      // Too late: another thread has decided, and has told.
      const version = shared.move(this.#version, to, this.#owner.clock.now())
      if (version === undefined) {
        this.follow()
        return
      }
      this.#version = version
    }
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

const buckets = windowSlots

/** Cause of a change that another thread decided; that one knows more. */
export const followed = 'another thread decided'

/** How much later than the thread that opened it another one makes a breaker half-open. */
const followMs = 50

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

import { create } from '@bufbuild/protobuf'
import { type BreakerTransition, BreakerTransitionSchema } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Live } from '../base/live.ts'
import type { Log } from '../base/log.ts'
import type { Credentials } from '../identity/credentials.ts'
import { Backoff } from './backoff.ts'
import { explainFailure, waitMaxMs } from './failure.ts'
import type { PolicyStore } from './policy-store.ts'
import { WatchConnection } from './watch-connection.ts'

export interface WatchStreamOptions {
  readonly clock: Clock
  readonly log: Log
  /** host:port of the control plane's stream listener (15012). */
  readonly controlPlane: string
  readonly namespace: string
  /** The Pod's name. */
  readonly workload: string
  /** Name and version of this program, for status. */
  readonly program: string
  /** The stream runs on mTLS with these, or not at all. */
  readonly credentials: Live<Credentials | undefined>
  readonly store: PolicyStore
  /** Resolves when all policy that the store has accepted is in force; undefined: it is. */
  readonly whenInForce?: () => Promise<void> | undefined
  /** Called before a stream that ended is opened again. */
  readonly onRetry?: () => void
}

/** A change of a breaker, as `Report` tells it. */
export interface ReportedTransition {
  /** "ns/name". */
  readonly service: string
  /** ip:port; '' for the breaker of the whole service. */
  readonly endpoint: string
  readonly from: string
  readonly to: string
  readonly cause: string
  /** Unix milliseconds. */
  readonly at: number
}

// Reports of one burst travel together; what piles up during an outage is bounded.
const reportDebounceMs = 100
const transitionsMax = 200
// A stream that lived this long was good: its end is news, not one more failure of the same kind.
const goodAfterMs = 5_000
// All sidecars of a replica that ends come to the others, and within this time not in the same moment.
const spreadMs = 400
// A replica that is cut off does not say so: the next attempt, after two seconds, may reach another. Those after it are more
// patient, since a control plane that a whole fleet comes back to is slow.
const openTimeoutMs = { first: 2_000, max: 5_000 } as const

/**
 * Keeps the store in step with the control plane: one stream, opened again with jitter when it ends, and moved to a new connection
 * without a gap when the certificate is renewed or the other end falls silent (the new stream is in sync before the old one closes).
 */
export class WatchStream implements Disposable {
  readonly #options: WatchStreamOptions
  readonly #log: Log
  readonly #backoff: Backoff
  readonly #watchingCredentials: Disposable
  /** In use, or the first attempt at one. */
  #current: WatchConnection | undefined
  /** On its way to replace `#current`. */
  #next: WatchConnection | undefined
  #nextBecause: 'certificate' | 'silence' = 'certificate'
  /** Attempts that failed since a stream was last in sync. */
  #failures = 0
  #retry: Timer | undefined
  #failure: string | undefined
  /** Certificate of the connection that was opened last. */
  #certificate = ''
  #transitions: BreakerTransition[] = []
  #reporting: Timer | undefined
  #closed = false

  /** Starts at once, or as soon as there are credentials. */
  constructor(options: WatchStreamOptions) {
    this.#options = options
    this.#log = options.log.named('control')
    this.#backoff = new Backoff(options.clock, 100, 10_000)
    this.#watchingCredentials = options.credentials.subscribe((credentials) => this.#useCredentials(credentials))
  }

  /** Why there is no connection now; undefined while there is one, and before the first failure. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** Tells the control plane of a breaker's change, a little later together with its neighbours. */
  report(transition: ReportedTransition): void {
    this.#transitions.push(create(BreakerTransitionSchema, { ...transition, at: BigInt(Math.round(transition.at)) }))
    if (this.#transitions.length > transitionsMax) this.#transitions.shift()
    this.#reporting ??= this.#options.clock.after(reportDebounceMs, () => {
      this.#reporting = undefined
      this.#flushTransitions()
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watchingCredentials[Symbol.dispose]()
    this.#retry?.cancel()
    this.#reporting?.cancel()
    this.#next?.close()
    this.#current?.close()
    this.#options.store.setConnected(false)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #useCredentials(credentials: Credentials | undefined): void {
    if (this.#closed) return
    // Only the roots are others: what a connection has proved stands, and a thousand of them need not move at once.
    if (this.#current?.synced === true && credentials?.certificateChainPem === this.#certificate) return
    this.#next?.close()
    this.#next = undefined
    // Expired: the server ends the stream when it sees it so; nothing is gained by ending it first.
    if (credentials === undefined) return
    if (this.#current?.synced === true) this.#startNext('certificate', credentials)
    else {
      this.#current?.close()
      this.#reconnect()
    }
  }

  #reconnect(): void {
    this.#retry?.cancel()
    this.#retry = undefined
    const credentials = this.#options.credentials.current
    this.#current = credentials === undefined ? undefined : this.#connect(credentials)
  }

  #startNext(because: 'certificate' | 'silence', credentials: Credentials): void {
    this.#retry?.cancel()
    this.#retry = undefined
    this.#nextBecause = because
    this.#next = this.#connect(credentials)
  }

  /** What is silent may be cut off or merely slow: another connection is tried, and the old one kept until that is in sync. */
  #pulse(connection: WatchConnection, alive: boolean): void {
    if (this.#closed || connection !== this.#current || !connection.synced) return
    if (alive) {
      if (this.#nextBecause !== 'silence') return
      this.#retry?.cancel()
      this.#retry = undefined
      this.#next?.close()
      return
    }
    if (this.#next !== undefined || this.#retry !== undefined) return
    const { clock, controlPlane } = this.#options
    this.#log.debug(`${controlPlane} does not answer: another connection is tried`)
    this.#nextBecause = 'silence'
    this.#retry = clock.after((clock.random() * spreadMs) / 2, () => this.#tryNext())
  }

  #tryNext(): void {
    this.#retry = undefined
    const credentials = this.#options.credentials.current
    if (credentials !== undefined && this.#next === undefined) this.#startNext(this.#nextBecause, credentials)
  }

  #connect(credentials: Credentials): WatchConnection {
    const { clock, controlPlane, namespace, workload, program, store, whenInForce } = this.#options
    this.#certificate = credentials.certificateChainPem
    return new WatchConnection({
      clock,
      address: controlPlane,
      credentials,
      namespace,
      workload,
      program,
      store,
      whenInForce,
      openTimeoutMs: Math.min(openTimeoutMs.max, openTimeoutMs.first * 2 ** Math.min(this.#failures, 10)),
      onPulse: (each, alive) => this.#pulse(each, alive),
      onSynced: (connection) => this.#synced(connection),
      onEnd: (connection, error) => this.#ended(connection, error),
    })
  }

  #synced(connection: WatchConnection): void {
    if (connection === this.#next) {
      const before = this.#current
      this.#current = connection
      this.#next = undefined
      before?.close()
    }
    this.#failures = 0
    this.#options.store.setConnected(true)
    if (this.#failure !== undefined) this.#log.info(`connected to ${this.#options.controlPlane}`)
    this.#failure = undefined
    this.#flushTransitions()
  }

  #ended(connection: WatchConnection, error: unknown): void {
    const { clock, store } = this.#options
    if (this.#closed || (connection !== this.#current && connection !== this.#next)) return
    const wasNext = connection === this.#next
    if (wasNext) this.#next = undefined
    else {
      this.#current = undefined
      store.setConnected(false)
      // The replacement is on its way already; it becomes the one.
      if (this.#next !== undefined) {
        this.#current = this.#next
        this.#next = undefined
        return
      }
    }
    if (error === undefined) return
    const wasGood = connection.synced && clock.now() - connection.startedAtMs >= goodAfterMs
    if (wasGood) this.#backoff.reset()
    this.#failures++
    this.#explain(error, wasNext)
    this.#retry?.cancel()
    this.#options.onRetry?.()
    const waitMs = wasGood ? clock.random() * spreadMs : this.#backoff.next(waitMaxMs(error))
    this.#retry = clock.after(waitMs, () => (wasNext ? this.#tryNext() : this.#reconnect()))
  }

  /** Once per reason: an outage of an hour is one line. */
  #explain(error: unknown, wasNext: boolean): void {
    const failure = explainFailure(error, this.#options.controlPlane, this.#options.clock)
    if (wasNext) {
      const why = this.#nextBecause === 'certificate' ? 'to the new certificate' : 'away from a silent control plane'
      this.#log.warn(`the stream could not move ${why} yet: ${failure}`)
      return
    }
    if (failure !== this.#failure)
      this.#log.warn(`no stream from the control plane, last good policy stays: ${failure}`)
    this.#failure = failure
  }

  #flushTransitions(): void {
    if (this.#current?.synced !== true || this.#transitions.length === 0) return
    const transitions = this.#transitions
    this.#transitions = []
    this.#current.report(transitions)
  }
}

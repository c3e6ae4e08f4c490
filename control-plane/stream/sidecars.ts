import type { Clock } from '../../src/base/clock.ts'
import type { Session } from './session.ts'

/** What `outrigger status` shows of one sidecar. Times are Unix milliseconds. */
export interface SidecarStatus {
  /** "ns/name" of the workload. */
  readonly workload: string
  /** SPIFFE id. */
  readonly identity: string
  readonly connected: boolean
  /** Since when `connected` is what it is. */
  readonly since: number
  /** The newest revision that it has answered; the control plane's own when nothing is left to send. */
  readonly ackedRevision: number
  readonly inSync: boolean
  /** Resources that it has asked for. */
  readonly subscribed: number
  readonly rejected: readonly { readonly resource: string; readonly version: string; readonly reason: string }[]
  readonly certificateExpiresAt: number
  readonly program: string
  readonly effectiveHash: string
  /** The newest ones, oldest first. */
  readonly breakerTransitions: readonly {
    readonly service: string
    readonly endpoint: string
    readonly from: string
    readonly to: string
    readonly cause: string
    readonly at: number
  }[]
}

// Long enough to see what went away during a rollout, short enough to forget what was replaced by it.
const rememberGoneMs = 600_000
const rememberGoneMax = 1_000

/** All sidecars: those with a stream, and for a while those that had one. */
export class Sidecars {
  readonly #clock: Clock
  readonly #sessions = new Set<Session>()
  readonly #gone = new Map<string, SidecarStatus>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** In order of their names. */
  list(): SidecarStatus[] {
    const forgetBefore = this.#clock.wall() - rememberGoneMs
    const byWorkload = new Map<string, SidecarStatus>()
    for (const [key, gone] of this.#gone) {
      if (gone.since < forgetBefore) this.#gone.delete(key)
      else byWorkload.set(key, gone)
    }
    // While a certificate is renewed a sidecar has two streams: the younger one stands, being last in the set.
    for (const session of this.#sessions) {
      const status = session.status(true)
      if (status !== undefined) byWorkload.set(status.workload, status)
    }
    return [...byWorkload.values()].sort((a, b) => (a.workload < b.workload ? -1 : 1))
  }

  sessions(): Iterable<Session> {
    return this.#sessions
  }

  add(session: Session): void {
    this.#sessions.add(session)
  }

  remove(session: Session): void {
    this.#sessions.delete(session)
    const status = session.status(false)
    if (status === undefined) return
    this.#gone.delete(status.workload)
    this.#gone.set(status.workload, { ...status, since: this.#clock.wall() })
    const oldest = this.#gone.keys().next()
    if (this.#gone.size > rememberGoneMax && oldest.done !== true) this.#gone.delete(oldest.value)
  }
}

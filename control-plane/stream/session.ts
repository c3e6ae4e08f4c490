import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import {
  type BreakerTransition,
  type ClientMessage,
  type Hello,
  PingSchema,
  type Rejection,
  type Report,
  type ServerMessage,
  SnapshotCompleteSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { schemaVersion, serverMessage } from '../../src/api/services.ts'
import type { Clock } from '../../src/base/clock.ts'
import type { Log } from '../../src/base/log.ts'
import { parseSpiffeId } from '../../src/base/spiffe.ts'
import { DeltaMessages } from './delta-messages.ts'
import { DeltaPlan } from './delta-plan.ts'
import type { Resources } from './resources.ts'
import type { SidecarStatus } from './sidecars.ts'

export interface SessionOptions {
  readonly clock: Clock
  readonly log: Log
  readonly resources: Resources
  /** The SPIFFE id that the connection has proved. */
  readonly identity: string
  /** When that proof ends, Unix milliseconds. */
  readonly identityExpiresAtMs: number
  readonly send: (message: ServerMessage) => void
  /** Hears what is sent and answered, for metrics. */
  readonly observer?: StreamObserver | undefined
  /** Those of all streams together. */
  readonly deltas?: DeltaMessages
  /** Ends the stream. */
  readonly fail: (code: status, details: string) => void
}

/** Counts what happens on all streams. */
export interface StreamObserver {
  /** A delta was sent with so many bytes of resources. */
  pushed(bytes: number): void
  /** It was answered after so many milliseconds. */
  answered(ms: number, isRejected: boolean): void
}

export const sessionLimits = {
  /** A sidecar says Hello within this time. */
  helloTimeoutMs: 10_000,
  /** A delta is answered, and a ping too, within this time; else the sidecar does not read and is dropped. */
  answerTimeoutMs: 30_000,
  /** Names one sidecar may subscribe to: 50,000 are some 10 MB here. */
  namesMax: 50_000,
  nameLengthMax: 600,
  /** One message; what is more follows after the acknowledgement. */
  deltaBytesMax: 1_048_576,
  transitionsMax: 20,
  rejectionsMax: 1_000,
} as const

interface Opened {
  readonly hello: Hello
  readonly plan: DeltaPlan
}

/** How a sidecar stands to one version of a resource that it asked for. */
export interface Holding {
  readonly name: string
  readonly isAcked: boolean
  /** Why it refused that version. */
  readonly rejected: string | undefined
}

interface InFlight {
  readonly nonce: string
  readonly revision: bigint
  readonly sentAt: number
}

/**
 * One sidecar's stream: what it asked for, what it has been sent, what it said to that. At most one delta is
 * unanswered; what changes meanwhile is coalesced to its newest, so a slow sidecar costs a set of names and delays nobody.
 */
export class Session {
  readonly #options: SessionOptions
  readonly #log: Log
  readonly #deltas: DeltaMessages
  readonly #startedAt: number
  readonly #since: number
  #opened: Opened | undefined
  #inFlight: InFlight | undefined
  #sent = { revision: -1n, times: 0 }
  #subscribedOnce = false
  #complete = false
  #ackedRevision = 0n
  #pinged: { readonly id: bigint; readonly at: number } | undefined
  #pings = 0n
  #rejected = new Map<string, Rejection>()
  #transitions: BreakerTransition[] = []
  #effectiveHash = ''
  #certificateExpiresAtMs: number
  #ended = false

  constructor(options: SessionOptions) {
    this.#options = options
    this.#log = options.log
    this.#deltas = options.deltas ?? new DeltaMessages()
    this.#startedAt = options.clock.now()
    this.#since = options.clock.wall()
    this.#certificateExpiresAtMs = options.identityExpiresAtMs
  }

  /** "ns/workload"; undefined before Hello. */
  get key(): string | undefined {
    return this.#opened && `${this.#opened.hello.namespace}/${this.#opened.hello.workload}`
  }

  take(message: ClientMessage): void {
    if (this.#ended) return
    const said = message.message
    if (this.#opened === undefined) {
      if (said.case === 'hello') this.#hello(said.value)
      else this.#fail(status.INVALID_ARGUMENT, 'the first message of a stream is Hello')
      return
    }
    switch (said.case) {
      case 'hello':
        this.#fail(status.INVALID_ARGUMENT, 'Hello came twice')
        break
      case 'subscribe':
        this.#subscribe(said.value.names, this.#opened.plan)
        break
      case 'unsubscribe':
        this.#opened.plan.unsubscribe(said.value.names)
        break
      case 'ack':
        this.#answered(said.value.nonce, [])
        break
      case 'nack':
        this.#answered(said.value.nonce, said.value.rejections)
        break
      case 'report':
        this.#report(said.value)
        break
      case 'pong':
        if (said.value.id === this.#pinged?.id) this.#pinged = undefined
        break
      case undefined:
        this.#fail(
          status.INVALID_ARGUMENT,
          'a message that this control plane does not know: upgrade the control plane first',
        )
        break
    }
  }

  /** Some resources are new, different or gone. */
  changed(names: ReadonlySet<string>): void {
    if (this.#ended || this.#opened === undefined) return
    this.#opened.plan.changed(names)
    this.#flush()
  }

  /** Called every few seconds: pings, and drops who does not answer. */
  tick(): void {
    if (this.#ended) return
    const now = this.#options.clock.now()
    const { helloTimeoutMs, answerTimeoutMs } = sessionLimits
    if (this.#opened === undefined) {
      if (now - this.#startedAt >= helloTimeoutMs) this.#fail(status.DEADLINE_EXCEEDED, 'no Hello within 10 s')
      return
    }
    if (this.#options.clock.wall() >= this.#options.identityExpiresAtMs) {
      this.#fail(status.UNAUTHENTICATED, 'the certificate of this stream has expired: renew it and open a new stream')
      return
    }
    const waitingSince = Math.min(this.#inFlight?.sentAt ?? now, this.#pinged?.at ?? now)
    if (now - waitingSince >= answerTimeoutMs) {
      this.#log.warn(`${this.key} does not answer and is dropped; it will come back`, {
        identity: this.#options.identity,
      })
      this.#fail(status.RESOURCE_EXHAUSTED, 'no answer to a delta or a ping within 30 s: the stream was dropped')
      return
    }
    if (this.#pinged !== undefined) return
    this.#pinged = { id: ++this.#pings, at: now }
    this.#options.send(serverMessage({ case: 'ping', value: create(PingSchema, { id: this.#pings }) }))
  }

  /** This control plane stops: the sidecar finds another replica. */
  leave(): void {
    this.#fail(status.UNAVAILABLE, 'this replica of the control plane is stopping: connect to another one')
  }

  /** The stream is over, whoever ended it. */
  ended(): void {
    this.#ended = true
  }

  status(connected: boolean): SidecarStatus | undefined {
    if (this.#opened === undefined) return undefined
    const { hello } = this.#opened
    return {
      workload: `${hello.namespace}/${hello.workload}`,
      identity: this.#options.identity,
      connected,
      since: this.#since,
      ackedRevision: Number(this.#isInSync ? this.#options.resources.revision : this.#ackedRevision),
      inSync: this.#isInSync,
      subscribed: this.#opened.plan.subscribed,
      rejected: [...this.#rejected.values()].map(({ resource, version, reason }) => ({ resource, version, reason })),
      certificateExpiresAt: this.#certificateExpiresAtMs,
      program: hello.program,
      effectiveHash: this.#effectiveHash,
      breakerTransitions: this.#transitions.map(({ service, endpoint, from, to, cause, at }) => ({
        service,
        endpoint,
        from,
        to,
        cause,
        at: Number(at),
      })),
    }
  }

  /** What it has of the resources that `wanted` knows: whether the version is this one, or why it was refused. */
  *holdings(wanted: (name: string) => string | undefined): Iterable<Holding> {
    const { plan } = this.#opened ?? {}
    for (const name of plan?.names ?? []) {
      const version = wanted(name)
      if (version === undefined) continue
      const rejected = this.#rejected.get(name)
      const isRejected = rejected?.version === version
      yield {
        name,
        isAcked: !isRejected && plan?.confirmed(name) === version,
        rejected: isRejected ? rejected.reason : undefined,
      }
    }
  }

  get #isInSync(): boolean {
    return this.#complete && this.#inFlight === undefined && this.#opened?.plan.isDone === true
  }

  #hello(hello: Hello): void {
    const { identity, resources } = this.#options
    if (!hello.schemas.includes(schemaVersion)) {
      this.#fail(
        status.FAILED_PRECONDITION,
        `this control plane speaks ${schemaVersion}, the sidecar ${hello.schemas.join(', ')}: upgrade the older one`,
      )
      return
    }
    const namespace = parseSpiffeId(identity)?.namespace
    if (hello.namespace !== namespace) {
      this.#log.warn(`stream refused: ${identity} says that it is of namespace '${hello.namespace}'`)
      this.#fail(
        status.PERMISSION_DENIED,
        `the certificate is of namespace '${namespace}', Hello says '${hello.namespace}'`,
      )
      return
    }
    if (hello.workload === '' || hello.workload.length > 253) {
      this.#fail(status.INVALID_ARGUMENT, 'Hello names no workload')
      return
    }
    if (Object.keys(hello.have).length > sessionLimits.namesMax) {
      this.#fail(status.RESOURCE_EXHAUSTED, `Hello names more than ${sessionLimits.namesMax} resources`)
      return
    }
    // What protects a workload is nobody else's business.
    const own = `workload/${namespace}/${hello.workload}`
    const allowed = (name: string): boolean => !name.startsWith('workload/') || name === own
    this.#opened = { hello, plan: new DeltaPlan(resources, hello.have, allowed) }
    // All a status needs of it was taken above; the map may be large.
    hello.have = {}
  }

  #subscribe(names: readonly string[], plan: DeltaPlan): void {
    const { namesMax, nameLengthMax } = sessionLimits
    if (names.some((name) => name === '' || name.length > nameLengthMax)) {
      this.#fail(status.INVALID_ARGUMENT, `a resource name is empty or longer than ${nameLengthMax} characters`)
      return
    }
    plan.subscribe(names)
    if (plan.subscribed > namesMax) {
      this.#fail(status.RESOURCE_EXHAUSTED, `more than ${namesMax} subscriptions`)
      return
    }
    this.#subscribedOnce = true
    this.#flush()
  }

  #answered(nonce: string, rejections: readonly Rejection[]): void {
    const { resources } = this.#options
    if (nonce !== this.#inFlight?.nonce) {
      this.#fail(status.INVALID_ARGUMENT, 'an answer to a delta that is not open')
      return
    }
    this.#options.observer?.answered(this.#options.clock.now() - this.#inFlight.sentAt, rejections.length > 0)
    this.#ackedRevision = this.#inFlight.revision
    this.#inFlight = undefined
    this.#opened?.plan.answered()
    for (const rejection of rejections.slice(0, sessionLimits.rejectionsMax)) {
      this.#rejected.set(rejection.resource, rejection)
      this.#log.warn(`${this.key} rejected ${rejection.resource}: ${rejection.reason}`, {
        version: rejection.version,
        revision: Number(resources.revision),
      })
    }
    this.#flush()
  }

  #report(report: Report): void {
    const { transitionsMax, rejectionsMax } = sessionLimits
    this.#effectiveHash = report.effectiveHash.slice(0, 64)
    if (report.certificateExpiresAt > 0n) this.#certificateExpiresAtMs = Number(report.certificateExpiresAt)
    this.#rejected = new Map(
      report.rejected.slice(0, rejectionsMax).map((rejection) => [rejection.resource, rejection]),
    )
    if (report.transitions.length > 0) {
      this.#transitions = [...this.#transitions, ...report.transitions].slice(-transitionsMax)
    }
  }

  #flush(): void {
    const { resources, clock, send } = this.#options
    if (this.#ended || !this.#subscribedOnce || this.#inFlight !== undefined || !resources.synced) return
    const next = this.#opened?.plan.next(sessionLimits.deltaBytesMax)
    const { revision } = resources
    if (next === undefined) {
      if (this.#complete) return
      this.#complete = true
      send(serverMessage({ case: 'snapshotComplete', value: create(SnapshotCompleteSchema, { revision }) }))
      return
    }
    // Unique in this stream, and yet the same in all streams that are told the same thing at the same time.
    this.#sent = { revision, times: revision === this.#sent.revision ? this.#sent.times + 1 : 1 }
    const nonce = `${revision}.${this.#sent.times}`
    this.#inFlight = { nonce, revision, sentAt: clock.now() }
    send(this.#deltas.delta({ nonce, revision, ...next }))
    this.#options.observer?.pushed(next.upserts.reduce((sum, { length }) => sum + length, 0))
  }

  #fail(code: status, details: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.fail(code, details)
  }
}

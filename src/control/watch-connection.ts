import { create } from '@bufbuild/protobuf'
import { type Client, type ClientDuplexStream, Metadata } from '@grpc/grpc-js'
import {
  AckSchema,
  type BreakerTransition,
  type ClientMessage,
  type Delta,
  HelloSchema,
  NackSchema,
  PongSchema,
  type Rejection,
  ReportSchema,
  type ServerMessage,
  SubscribeSchema,
  UnsubscribeSchema,
} from '../api/gen/outrigger_pb.ts'
import { clientMessage, schemaVersion, watchMethod } from '../api/services.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { Credentials } from '../identity/credentials.ts'
import { openChannel } from './channel.ts'
import type { PolicyStore } from './policy-store.ts'
import { Pulse, streamHeader } from './pulse.ts'

export interface WatchConnectionOptions {
  readonly clock: Clock
  readonly address: string
  readonly credentials: Credentials
  readonly namespace: string
  readonly workload: string
  readonly program: string
  readonly store: PolicyStore
  /** What is acknowledged is in force: resolves when it is; undefined: it is already. */
  readonly whenInForce?: (() => Promise<void> | undefined) | undefined
  /** The first snapshot is in force: this connection can take over. Called once at most. */
  readonly onSynced: (connection: WatchConnection) => void
  /** The other end has not answered for a second or so, or answers again. */
  readonly onPulse: (connection: WatchConnection, alive: boolean) => void
  /** How long the control plane may take to say that the stream is open. */
  readonly openTimeoutMs: number
  /** It is over; called once, whoever ended it. */
  readonly onEnd: (connection: WatchConnection, error: unknown) => void
}

// After a change a report says nothing that the acknowledgement does not: it is for status. The sidecars that see the same
// change are spread over this time, for until then the control plane is busy with telling the others.
const reportMs = { first: 250, last: 1_000 } as const

/** One stream over one connection with one certificate, from Hello to its end. `WatchStream` replaces it when it ends. */
export class WatchConnection {
  readonly startedAtMs: number
  synced = false
  readonly #options: WatchConnectionOptions
  readonly #channel: Client
  readonly #call: ClientDuplexStream<ClientMessage, ServerMessage>
  readonly #interest: Disposable
  readonly #opening: Timer
  readonly #pulse: Pulse
  #reporting: Timer | undefined
  #ended = false

  constructor(options: WatchConnectionOptions) {
    const { store, credentials } = options
    this.#options = options
    this.startedAtMs = options.clock.now()
    this.#channel = openChannel({
      address: options.address,
      trustBundlePem: credentials.trustBundlePem,
      trustDomain: credentials.trustDomain,
      own: credentials,
    })
    const { path, requestSerialize, responseDeserialize } = watchMethod
    this.#pulse = new Pulse(options.clock, (alive) => options.onPulse(this, alive))
    const metadata = new Metadata()
    metadata.set(streamHeader, this.#pulse.id)
    this.#call = this.#channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    // A control plane that waits for its own sources is silent for a while after the stream is open; that it is open it
    // says at once.
    this.#opening = options.clock.after(options.openTimeoutMs, () => {
      this.#end(new Error(`${options.address} did not answer within ${options.openTimeoutMs / 1000} s`))
    })
    this.#call.on('metadata', () => this.#opening.cancel())
    this.#call.on('data', (message: ServerMessage) => this.#take(message))
    this.#call.on('error', (error) => this.#end(error))
    this.#call.on('end', () => this.#end(new Error('the control plane ended the stream')))
    const { namespace, workload, program } = options
    const hello = create(HelloSchema, { namespace, workload, program, schemas: [schemaVersion], have: store.have() })
    this.#send({ case: 'hello', value: hello })
    // Sent even when empty: it is what the first SnapshotComplete answers.
    this.#subscribe(store.names())
    this.#interest = store.onInterest({
      subscribe: (names) => this.#subscribe(names),
      unsubscribe: (names) =>
        this.#send({ case: 'unsubscribe', value: create(UnsubscribeSchema, { names: [...names] }) }),
    })
  }

  /** Whether the other end answers, as far as is known. */
  get alive(): boolean {
    return this.#pulse.alive
  }

  /** Tells the control plane what is in force here now, and what happened to breakers. */
  report(transitions: readonly BreakerTransition[]): void {
    const { store, credentials } = this.#options
    this.#send({
      case: 'report',
      value: create(ReportSchema, {
        transitions: [...transitions],
        effectiveHash: store.effectiveHash,
        certificateExpiresAt: BigInt(credentials.expiresAtMs),
        rejected: store.rejected,
      }),
    })
  }

  /** Ends it without a word to `onEnd`'s owner about an error. */
  close(): void {
    this.#end(undefined)
  }

  #take(message: ServerMessage): void {
    if (this.#ended) return
    switch (message.message.case) {
      case 'delta':
        this.#apply(message.message.value)
        break
      case 'snapshotComplete':
        this.#options.store.complete(message.message.value.revision)
        this.report([])
        if (this.synced) break
        this.synced = true
        this.#options.onSynced(this)
        break
      case 'ping':
        this.#send({ case: 'pong', value: create(PongSchema, { id: message.message.value.id }) })
        break
      case undefined:
        // A newer control plane says something that older sidecars may skip; what they must not skip comes as a resource.
        break
    }
  }

  #apply(delta: Delta): void {
    const { nonce } = delta
    const { store, whenInForce } = this.#options
    const rejections = store.apply(delta)
    const inForce = whenInForce?.()
    if (inForce === undefined) this.#acknowledge(nonce, rejections)
    else void inForce.then(() => this.#acknowledge(nonce, rejections))
  }

  #acknowledge(nonce: Delta['nonce'], rejections: readonly Rejection[]): void {
    if (rejections.length === 0) this.#send({ case: 'ack', value: create(AckSchema, { nonce }) })
    else this.#send({ case: 'nack', value: create(NackSchema, { nonce, rejections: [...rejections] }) })
    if (this.synced) this.#reportLater()
  }

  #reportLater(): void {
    const { clock } = this.#options
    this.#reporting ??= clock.after(reportMs.first + (reportMs.last - reportMs.first) * clock.random(), () => {
      this.#reporting = undefined
      this.report([])
    })
  }

  #subscribe(names: readonly string[]): void {
    this.#send({ case: 'subscribe', value: create(SubscribeSchema, { names: [...names] }) })
  }

  #send(message: ClientMessage['message']): void {
    if (!this.#ended) this.#call.write(clientMessage(message))
  }

  #end(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#opening.cancel()
    this.#reporting?.cancel()
    this.#interest[Symbol.dispose]()
    this.#pulse[Symbol.dispose]()
    this.#call.cancel()
    this.#channel.close()
    this.#options.onEnd(this, error)
  }
}

import { createSecureContext, type SecureContext } from 'node:tls'
import { create } from '@bufbuild/protobuf'
import {
  AckSchema,
  type ClientMessage,
  type Delta,
  HelloSchema,
  PongSchema,
  ReportSchema,
  type ServerMessage,
  SubscribeSchema,
} from '../../../src/api/gen/outrigger_pb.ts'
import { clientMessage, schemaVersion, watchMethod } from '../../../src/api/services.ts'
import type { Clock, Timer } from '../../../src/base/clock.ts'
import { Backoff } from '../../../src/control/backoff.ts'
import { waitMaxMs } from '../../../src/control/failure.ts'
import type { Credentials } from '../../../src/identity/credentials.ts'
import { GrpcStream } from './grpc-stream.ts'
import type { Workload } from './mesh.ts'
import type { Received } from './resource-reader.ts'

export interface SidecarOptions {
  readonly clock: Clock
  readonly port: number
  readonly workload: Workload
  readonly credentials: Credentials
  readonly names: readonly string[]
  readonly read: (bytes: Uint8Array) => Received
  /** It has accepted these and said so. */
  readonly onAck: (sidecar: SimulatedSidecar, received: readonly Received[]) => void
  readonly onSynced: (sidecar: SimulatedSidecar) => void
  /** The stream ended; it comes back by itself. */
  readonly onEnd: (error: Error) => void
}

/** As in WatchConnection: who was not heard within this time tries again. */
const openTimeoutMs = 5_000
/** As in WatchStream: a stream that lived this long was good. */
const goodAfterMs = 5_000

/**
 * What a sidecar says to its control plane, without a sidecar: Hello with what it has, subscriptions, an answer to each
 * delta and ping, a report, and the waits of `WatchStream` before it comes back.
 */
export class SimulatedSidecar {
  readonly options: SidecarOptions
  readonly #backoff: Backoff
  readonly #secureContext: SecureContext
  readonly #have = new Map<string, string>()
  #stream: GrpcStream | undefined
  #opening: Timer | undefined
  #stalled = false
  #stopped = false
  inSync = false

  constructor(options: SidecarOptions) {
    this.options = options
    this.#backoff = new Backoff(options.clock, 100, 10_000)
    const { credentials } = options
    this.#secureContext = createSecureContext({
      ca: credentials.trustBundlePem,
      key: credentials.privateKeyPem,
      cert: credentials.certificateChainPem,
      minVersion: 'TLSv1.3',
    })
  }

  connect(): void {
    const { workload, names, port, clock } = this.options
    const openedAt = clock.now()
    this.#opening = clock.after(openTimeoutMs, () => this.cut(new Error('no answer within 5 s')))
    this.#stream = new GrpcStream({
      port,
      secureContext: this.#secureContext,
      path: watchMethod.path,
      onOpen: () => this.#opening?.cancel(),
      onMessage: (bytes) => this.#take(watchMethod.responseDeserialize(bytes)),
      onEnd: (error) => this.#ended(error, openedAt),
    })
    const have = Object.fromEntries(this.#have)
    const { namespace, name } = workload
    const hello = create(HelloSchema, {
      namespace,
      workload: name,
      program: 'outrigger bench',
      schemas: [schemaVersion],
      have,
    })
    this.#send({ case: 'hello', value: hello })
    this.#send({ case: 'subscribe', value: create(SubscribeSchema, { names: [...names] }) })
  }

  cut(error: Error): void {
    this.#stream?.cut(error)
  }

  /** From now on it neither reads nor answers, until it is dropped or connects again. */
  stall(): void {
    this.#stalled = true
    this.#stream?.stall()
  }

  /** Comes back from a stall by a new connection. */
  recover(): void {
    this.#stalled = false
    this.inSync = false
    this.#opening?.cancel()
    this.#stream?.close()
    this.connect()
  }

  stop(): void {
    this.#stopped = true
    this.#opening?.cancel()
    this.#stream?.close()
  }

  #take({ message }: ServerMessage): void {
    if (this.#stalled) return
    switch (message.case) {
      case 'delta':
        this.#apply(message.value)
        break
      case 'snapshotComplete':
        this.#report()
        this.inSync = true
        this.options.onSynced(this)
        break
      case 'ping':
        this.#send({ case: 'pong', value: create(PongSchema, { id: message.value.id }) })
        break
      case undefined:
        throw new Error('the control plane said something that this bench does not know')
    }
  }

  #apply({ nonce, upserts, removes }: Delta): void {
    const received = upserts.map(this.options.read)
    for (const { name, version } of received) this.#have.set(name, version)
    for (const name of removes) this.#have.delete(name)
    this.#send({ case: 'ack', value: create(AckSchema, { nonce }) })
    if (this.inSync) this.#report()
    this.options.onAck(this, received)
  }

  #report(): void {
    const value = create(ReportSchema, {
      effectiveHash: '0123456789abcdef',
      certificateExpiresAt: BigInt(this.options.credentials.expiresAtMs),
    })
    this.#send({ case: 'report', value })
  }

  #send(message: ClientMessage['message']): void {
    this.#stream?.send(watchMethod.requestSerialize(clientMessage(message)))
  }

  #ended(error: Error, openedAt: number): void {
    const { clock, onEnd } = this.options
    this.#opening?.cancel()
    if (this.#stopped) return
    if (this.inSync && clock.now() - openedAt >= goodAfterMs) this.#backoff.reset()
    this.inSync = false
    onEnd(error)
    if (!this.#stalled) clock.after(this.#backoff.next(waitMaxMs(error)), () => this.#stopped || this.connect())
  }
}

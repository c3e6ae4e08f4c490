import type { SecureContext } from 'node:tls'
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
import { GrpcStream } from './grpc-stream.ts'
import type { Workload } from './mesh.ts'
import type { Patience } from './patience.ts'
import { readServerMessage } from './resource-reader.ts'

export interface ConnectionOptions {
  readonly clock: Clock
  readonly patience: Patience
  readonly port: number
  readonly secureContext: SecureContext
  readonly workload: Workload
  readonly names: readonly string[]
  readonly have: Readonly<Record<string, string>>
  readonly certificateExpiresAtMs: number
  readonly openTimeoutMs: number
  /** Called before it is acknowledged. */
  readonly onDelta: (delta: Delta) => void
  readonly onAcked: (delta: Delta) => void
  readonly onSynced: (connection: Connection) => void
  readonly onPulse: (connection: Connection, alive: boolean) => void
  readonly onEnd: (connection: Connection, error: Error) => void
}

// As in src/control/: pulse.ts, watch-connection.ts.
const pulseMs = { every: 1_000, answer: 600 } as const
const reportMs = { first: 250, last: 1_000 } as const

/** What `WatchConnection` says over one stream. */
export class Connection {
  readonly startedAtMs: number
  synced = false
  alive = true
  readonly #options: ConnectionOptions
  readonly #stream: GrpcStream
  readonly #opening: Timer
  #pulse: Timer | undefined
  #reporting: Timer | undefined
  #stalled = false

  constructor(options: ConnectionOptions) {
    const { clock, patience, port, secureContext, workload, names, have, openTimeoutMs } = options
    this.#options = options
    this.startedAtMs = clock.now()
    this.#opening = patience.after(openTimeoutMs, () =>
      this.cut(new Error(`no answer within ${openTimeoutMs / 1_000} s`)),
    )
    this.#stream = new GrpcStream({
      port,
      secureContext,
      path: watchMethod.path,
      onOpen: () => {
        this.#opening.cancel()
        this.#ask()
      },
      onMessage: (bytes) => this.#take(readServerMessage(bytes)),
      onEnd: (error) => {
        this.#cancel()
        options.onEnd(this, error)
      },
    })
    const { namespace, name } = workload
    const hello = { namespace, workload: name, program: 'outrigger bench', schemas: [schemaVersion], have }
    this.#send({ case: 'hello', value: create(HelloSchema, hello) })
    this.#send({ case: 'subscribe', value: create(SubscribeSchema, { names: [...names] }) })
  }

  cut(error: Error): void {
    this.#stream.cut(error)
  }

  /** It neither reads nor answers any more. */
  stall(): void {
    this.#stalled = true
    this.#cancel()
    this.#stream.stall()
  }

  close(): void {
    this.#cancel()
    this.#stream.close()
  }

  #take({ message }: ServerMessage): void {
    if (this.#stalled) return
    switch (message.case) {
      case 'delta':
        this.#apply(message.value)
        break
      case 'snapshotComplete':
        this.#report()
        this.synced = true
        this.#options.onSynced(this)
        break
      case 'ping':
        this.#send({ case: 'pong', value: create(PongSchema, { id: message.value.id }) })
        break
      case undefined:
        throw new Error('the control plane said something that this bench does not know')
    }
  }

  #apply(delta: Delta): void {
    const { clock, onDelta, onAcked } = this.#options
    onDelta(delta)
    this.#send({ case: 'ack', value: create(AckSchema, { nonce: delta.nonce }) })
    onAcked(delta)
    if (!this.synced) return
    this.#reporting ??= clock.after(reportMs.first + (reportMs.last - reportMs.first) * clock.random(), () => {
      this.#reporting = undefined
      this.#report()
    })
  }

  #ask(): void {
    const { clock, patience, onPulse } = this.#options
    const say = (alive: boolean): void => {
      if (alive === this.alive) return
      this.alive = alive
      onPulse(this, alive)
    }
    this.#pulse = clock.after(pulseMs.every * (0.9 + clock.random() / 10), () => {
      this.#pulse = patience.after(pulseMs.answer, () => say(false))
      this.#stream.ping(() => {
        if (this.#stalled) return
        this.#pulse?.cancel()
        say(true)
        this.#ask()
      })
    })
  }

  #report(): void {
    const certificateExpiresAt = BigInt(this.#options.certificateExpiresAtMs)
    this.#send({
      case: 'report',
      value: create(ReportSchema, { effectiveHash: '0123456789abcdef', certificateExpiresAt }),
    })
  }

  #send(message: ClientMessage['message']): void {
    this.#stream.send(watchMethod.requestSerialize(clientMessage(message)))
  }

  #cancel(): void {
    this.#opening.cancel()
    this.#pulse?.cancel()
    this.#reporting?.cancel()
  }
}

import { createSecureContext, type SecureContext } from 'node:tls'
import type { Delta } from '../../../src/api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../../../src/base/clock.ts'
import { Backoff } from '../../../src/control/backoff.ts'
import { waitMaxMs } from '../../../src/control/failure.ts'
import type { Credentials } from '../../../src/identity/credentials.ts'
import { Connection } from './connection.ts'
import type { Workload } from './mesh.ts'
import type { Patience } from './patience.ts'
import type { Received } from './resource-reader.ts'

export interface SidecarOptions {
  readonly clock: Clock
  readonly patience: Patience
  readonly port: number
  readonly workload: Workload
  readonly credentials: Credentials
  readonly names: readonly string[]
  readonly read: (bytes: Uint8Array) => Received
  /** It has accepted these and said so. */
  readonly onAck: (sidecar: SimulatedSidecar, received: readonly Received[]) => void
  readonly onSynced: (sidecar: SimulatedSidecar) => void
  /** It has no stream in sync any more; it comes back by itself. */
  readonly onOut: (sidecar: SimulatedSidecar) => void
  /** Why a stream ended, or was doubted. */
  readonly onEnd: (reason: string) => void
}

// As in src/control/watch-stream.ts.
const goodAfterMs = 5_000
const spreadMs = 400
const openTimeoutMs = { first: 2_000, max: 5_000 } as const

/** What a sidecar says to its control plane, without a sidecar: the connections of `WatchStream` and its waits. */
export class SimulatedSidecar {
  readonly #options: SidecarOptions
  readonly #backoff: Backoff
  readonly #secureContext: SecureContext
  readonly #have = new Map<string, string>()
  #current: Connection | undefined
  /** On its way to replace one that is silent. */
  #next: Connection | undefined
  #retry: Timer | undefined
  #failures = 0
  #stopped = false

  constructor(options: SidecarOptions) {
    this.#options = options
    this.#backoff = new Backoff(options.clock, 100, 10_000)
    const { trustBundlePem, privateKeyPem, certificateChainPem } = options.credentials
    this.#secureContext = createSecureContext({
      ca: trustBundlePem,
      key: privateKeyPem,
      cert: certificateChainPem,
      minVersion: 'TLSv1.3',
    })
  }

  get inSync(): boolean {
    return this.#current?.synced === true
  }

  connect(): void {
    this.#current = this.#open()
  }

  /** The connection is gone, as when a network is cut. */
  cut(): void {
    this.#current?.cut(new Error('ECONNRESET: cut'))
    this.#next?.close()
    this.#next = undefined
  }

  /** From now on it neither reads nor answers. */
  stall(): void {
    this.#retry?.cancel()
    this.#next?.close()
    this.#next = undefined
    this.#current?.stall()
  }

  /** Comes back from a stall by a new connection. */
  recover(): void {
    this.#current?.close()
    this.connect()
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#next?.close()
    this.#current?.close()
  }

  #open(): Connection {
    const { clock, patience, port, workload, names, credentials } = this.#options
    let received: Received[] = []
    return new Connection({
      clock,
      patience,
      port,
      workload,
      names,
      secureContext: this.#secureContext,
      have: Object.fromEntries(this.#have),
      certificateExpiresAtMs: credentials.expiresAtMs,
      openTimeoutMs: Math.min(openTimeoutMs.max, openTimeoutMs.first * 2 ** Math.min(this.#failures, 10)),
      onDelta: (delta) => {
        received = this.#accept(delta)
      },
      onAcked: () => this.#options.onAck(this, received),
      onSynced: (connection) => this.#synced(connection),
      onPulse: (connection, alive) => this.#pulse(connection, alive),
      onEnd: (connection, error) => this.#ended(connection, error),
    })
  }

  #accept({ upserts, removes }: Delta): Received[] {
    const received = upserts.map(this.#options.read)
    for (const { name, version } of received) this.#have.set(name, version)
    for (const name of removes) this.#have.delete(name)
    return received
  }

  #synced(connection: Connection): void {
    if (connection === this.#next) {
      this.#current?.close()
      this.#current = connection
      this.#next = undefined
    }
    this.#failures = 0
    this.#options.onSynced(this)
  }

  #pulse(connection: Connection, alive: boolean): void {
    const { clock, onEnd } = this.#options
    if (connection !== this.#current || !connection.synced || this.#stopped) return
    if (alive) {
      this.#retry?.cancel()
      this.#retry = undefined
      this.#next?.close()
      this.#next = undefined
    } else if (this.#next === undefined && this.#retry === undefined) {
      onEnd('silence: a second connection')
      this.#later((clock.random() * spreadMs) / 2, () => {
        this.#next = this.#open()
      })
    }
  }

  #ended(connection: Connection, error: Error): void {
    const { clock, onEnd, onOut } = this.#options
    if (this.#stopped || (connection !== this.#current && connection !== this.#next)) return
    onEnd(error.message)
    const wasNext = connection === this.#next
    if (wasNext) this.#next = undefined
    else {
      this.#current = this.#next
      this.#next = undefined
      onOut(this)
      if (this.#current !== undefined) return
    }
    const wasGood = connection.synced && clock.now() - connection.startedAtMs >= goodAfterMs
    if (wasGood) this.#backoff.reset()
    this.#failures += 1
    this.#later(wasGood ? clock.random() * spreadMs : this.#backoff.next(waitMaxMs(error)), () => {
      if (wasNext) this.#next = this.#open()
      else this.connect()
    })
  }

  #later(ms: number, run: () => void): void {
    this.#retry?.cancel()
    this.#retry = this.#options.clock.after(ms, () => {
      this.#retry = undefined
      if (!this.#stopped) run()
    })
  }
}

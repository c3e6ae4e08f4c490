import type { Clock } from '../../../src/base/clock.ts'
import { silentLog } from '../../../src/base/log.ts'
import { WorkloadCertificate } from '../../../src/identity/certificate.ts'
import type { Credentials } from '../../../src/identity/credentials.ts'
import { BenchFailure } from '../failure.ts'
import { type Mesh, markOf, type Workload } from './mesh.ts'
import { Patience } from './patience.ts'
import { type Received, resourceReader } from './resource-reader.ts'
import { SimulatedSidecar } from './sidecar.ts'

export interface FleetOptions {
  readonly clock: Clock
  /** The control plane's stream listener on 127.0.0.1. */
  readonly port: number
  readonly rootPem: string
  readonly token: (workload: Workload) => Promise<string>
}

/** A change that is on its way: who still has to accept it. */
interface Awaited {
  readonly name: string
  readonly mark: number
  readonly missing: Set<SimulatedSidecar>
  readonly done: () => void
}

/** Sidecars that enrol at one time: each is a new connection, as it is in a rollout. */
const enrolAtOnce = 32

/** All simulated sidecars of a mesh. */
export class Fleet {
  readonly #options: FleetOptions
  readonly #sidecars: SimulatedSidecar[] = []
  readonly #subscribers = new Map<string, SimulatedSidecar[]>()
  readonly #read = resourceReader()
  readonly #patience: Patience
  readonly #awaited = new Set<Awaited>()
  readonly #stalled = new Set<SimulatedSidecar>()
  readonly #syncWaiters = new Set<() => void>()
  #in = new Set<SimulatedSidecar>()
  #out = (): void => {}
  /** Why streams ended, and how often. */
  readonly ends = new Map<string, number>()

  constructor(options: FleetOptions) {
    this.#options = options
    this.#patience = new Patience(options.clock)
  }

  get sidecars(): readonly SimulatedSidecar[] {
    return this.#sidecars
  }

  /** Gets each workload its own certificate, by the sidecar's own code. None of them connects yet. */
  async enrol(mesh: Mesh): Promise<void> {
    const waiting = [...mesh.workloads]
    const worker = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        this.#add(next, mesh.names(next), await this.#certificate(next))
      }
    }
    await Promise.all(Array.from({ length: enrolAtOnce }, worker))
  }

  /** All connect at once. */
  connect(): void {
    for (const sidecar of this.#sidecars) sidecar.connect()
  }

  /** All connections break at once; each sidecar comes back after a wait of its own. */
  cut(): void {
    for (const sidecar of this.#sidecars) sidecar.cut()
  }

  stall(count: number): void {
    for (const sidecar of this.#sidecars.slice(-count)) {
      this.#stalled.add(sidecar)
      sidecar.stall()
    }
  }

  recover(): void {
    for (const sidecar of this.#stalled) sidecar.recover()
    this.#stalled.clear()
  }

  stop(): void {
    for (const sidecar of this.#sidecars) sidecar.stop()
  }

  /** Resolves when every sidecar has been told that it has all. */
  whenInSync(withinMs: number, what: string): Promise<void> {
    return this.#within(withinMs, what, (done) => {
      const check = (): void => {
        if (!this.#sidecars.every((sidecar) => sidecar.inSync)) return
        this.#syncWaiters.delete(check)
        done()
      }
      this.#syncWaiters.add(check)
      check()
    })
  }

  /** Resolves when each sidecar that is in sync now was out of it at least once: some may be back by then. */
  whenAllOut(): Promise<void> {
    this.#in = new Set(this.#sidecars)
    return new Promise((resolve) => {
      this.#out = resolve
    })
  }

  /** Resolves when all that asked for the resource have accepted this change of it; call it before the change is made. */
  whenAcked(name: string, mark: number, withinMs: number): Promise<void> {
    const missing = new Set((this.#subscribers.get(name) ?? []).filter((sidecar) => !this.#stalled.has(sidecar)))
    if (missing.size === 0) throw new BenchFailure(`nobody asked for ${name}`)
    const what = `${markOf(mark)} of ${name}`
    return this.#within(withinMs, what, (done) => void this.#awaited.add({ name, mark, missing, done }))
  }

  async #certificate({ namespace, serviceAccount, ...rest }: Workload): Promise<Credentials> {
    const { clock, port, rootPem, token } = this.#options
    const text = await token({ namespace, serviceAccount, ...rest })
    const certificate = new WorkloadCertificate({
      clock,
      log: silentLog,
      controlPlane: `127.0.0.1:${port}`,
      rootPem,
      token: () => Promise.resolve(text),
      namespace,
      serviceAccount,
      state: undefined,
    })
    try {
      await certificate.start()
      return await certificate.whenHeld()
    } finally {
      certificate.close()
    }
  }

  #add(workload: Workload, names: readonly string[], credentials: Credentials): void {
    const { clock, port } = this.#options
    const sidecar = new SimulatedSidecar({
      clock,
      patience: this.#patience,
      port,
      workload,
      credentials,
      names,
      read: this.#read,
      onAck: (from, received) => this.#acked(from, received),
      onSynced: () => {
        for (const check of this.#syncWaiters) check()
      },
      onOut: () => {
        if (this.#in.delete(sidecar) && this.#in.size === 0) this.#out()
      },
      onEnd: (reason) => {
        this.ends.set(reason, (this.ends.get(reason) ?? 0) + 1)
      },
    })
    this.#sidecars.push(sidecar)
    for (const name of names) {
      const known = this.#subscribers.get(name)
      if (known === undefined) this.#subscribers.set(name, [sidecar])
      else known.push(sidecar)
    }
  }

  #acked(sidecar: SimulatedSidecar, received: readonly Received[]): void {
    for (const awaited of this.#awaited) {
      if (!received.some(({ name, mark }) => name === awaited.name && mark >= awaited.mark)) continue
      awaited.missing.delete(sidecar)
      if (awaited.missing.size > 0) continue
      this.#awaited.delete(awaited)
      awaited.done()
    }
  }

  #within(ms: number, what: string, start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(ms, () => {
        const away = this.#sidecars.filter((sidecar) => !sidecar.inSync).length
        const ends = [...this.ends].map(([message, count]) => `${message} (${count})`).join(', ')
        reject(
          new BenchFailure(
            `${what}: not done within ${ms / 1000} s; ${away} sidecars not in sync; ends: ${ends || 'none'}`,
          ),
        )
      })
      start(() => {
        timer.cancel()
        resolve()
      })
    })
  }
}

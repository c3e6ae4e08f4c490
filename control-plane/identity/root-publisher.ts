/** The root that sidecars pin, as a ConfigMap in every namespace (Istio's istio-ca-root-cert does the same). */
import type { Clock, Timer } from '../../src/base/clock.ts'
import type { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'

/** The calls that are needed; the wiring makes them of the API server. */
export interface RootStore {
  /** Namespaces that are not ending. */
  namespaces(): Iterable<string>
  /** `root.pem` of our ConfigMaps, by namespace, as they are now. */
  list(): Promise<ReadonlyMap<string, string>>
  /** Makes it or makes it right. */
  write(namespace: string, rootPem: string): Promise<void>
}

export interface RootPublisherOptions {
  readonly store: RootStore
  /** PEM of every root to trust, as it is now; `changed` says that it is another. */
  readonly rootPem: () => string
  readonly isLeader: Live<boolean>
  readonly clock: Clock
  readonly log: Log
}

/** Somebody may have edited or deleted one: looked at so often. */
const recheckMs = 15_000

/** Writes what is missing or different, while this replica leads. A Pod of a new namespace waits for it: kubelet tries again. */
export class RootPublisher {
  readonly #options: RootPublisherOptions
  readonly #log: Log
  readonly #timer: Timer
  readonly #leading: Disposable
  #known = new Map<string, string>()
  #running: Promise<void> | undefined
  #again = false
  #stopped = false

  private constructor(options: RootPublisherOptions) {
    this.#options = options
    this.#log = options.log.named('identity')
    this.#timer = options.clock.every(recheckMs, () => this.#look(true))
    this.#leading = options.isLeader.subscribe((leads) => {
      if (leads) this.#look(true)
    })
  }

  static start(options: RootPublisherOptions): RootPublisher {
    return new RootPublisher(options)
  }

  /** There are other namespaces, or other roots. */
  changed(): void {
    this.#look(false)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer.cancel()
    this.#leading[Symbol.dispose]()
    await this.#running
  }

  #look(anew: boolean): void {
    if (this.#stopped || !this.#options.isLeader.current) return
    if (this.#running !== undefined) {
      this.#again = true
      return
    }
    this.#running = this.#write(anew).finally(() => {
      this.#running = undefined
      if (!this.#again) return
      this.#again = false
      this.#look(false)
    })
  }

  /** Never rejects. */
  async #write(anew: boolean): Promise<void> {
    const { store } = this.#options
    try {
      if (anew) this.#known = new Map(await store.list())
      const rootPem = this.#options.rootPem()
      for (const namespace of Array.from(store.namespaces())) {
        if (this.#stopped || this.#known.get(namespace) === rootPem) continue
        try {
          await store.write(namespace, rootPem)
          this.#known.set(namespace, rootPem)
        } catch (error) {
          // The others wait for theirs. One that is ending takes nothing new; the API server says so with these words.
          const text = `the root could not be written into the namespace ${namespace}: ${messageOf(error)}`
          if (/being terminated|not found/.test(text)) this.#log.debug(text)
          else this.#log.warn(text)
        }
      }
    } catch (error) {
      this.#log.warn(`the root ConfigMaps cannot be listed: ${messageOf(error)}`)
    }
  }
}

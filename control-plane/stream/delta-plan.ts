import type { Resources } from './resources.ts'

/** What one sidecar has been told, and what it must be told next. Pure bookkeeping: no clock, no stream. */
export class DeltaPlan {
  readonly #resources: Resources
  readonly #allowed: (name: string) => boolean
  readonly #subscribed = new Set<string>()
  /** Name -> version that the sidecar has been sent, or says that it has; undefined: it was told that there is none. */
  readonly #told: Map<string, string | undefined>
  /** Subscribed names that may differ from what was told. Names only: a slow reader costs no more than this. */
  readonly #due = new Set<string>()
  /** Those of the last delta, until it is answered. */
  #unanswered: ReadonlySet<string> = new Set()

  /** `have` as in Hello. A name that is not allowed does not exist, for this sidecar. */
  constructor(resources: Resources, have: Readonly<Record<string, string>>, allowed: (name: string) => boolean) {
    this.#resources = resources
    this.#allowed = allowed
    this.#told = new Map(Object.entries(have))
  }

  get subscribed(): number {
    return this.#subscribed.size
  }

  /** Nothing is left to be told. */
  get isDone(): boolean {
    return this.#due.size === 0
  }

  get names(): Iterable<string> {
    return this.#subscribed
  }

  /** The version of a subscribed name that the sidecar has confirmed, or came with. */
  confirmed(name: string): string | undefined {
    return this.#unanswered.has(name) ? undefined : this.#told.get(name)
  }

  /** The last delta was answered. */
  answered(): void {
    this.#unanswered = new Set()
  }

  subscribe(names: Iterable<string>): void {
    for (const name of names) {
      this.#subscribed.add(name)
      this.#due.add(name)
    }
  }

  unsubscribe(names: Iterable<string>): void {
    for (const name of names) {
      this.#subscribed.delete(name)
      this.#due.delete(name)
      // It forgets the resource; the next subscription starts from nothing.
      this.#told.delete(name)
    }
  }

  /** True when the change concerns this sidecar. */
  changed(names: ReadonlySet<string>): boolean {
    const before = this.#due.size
    const [few, many] = names.size < this.#subscribed.size ? [names, this.#subscribed] : [this.#subscribed, names]
    for (const name of few) if (many.has(name)) this.#due.add(name)
    return this.#due.size > before
  }

  /**
   * The next delta, at its newest: whatever changed several times meanwhile is in it once. Stops past `bytesMax`; the
   * rest comes with the next call. Undefined: nothing to tell.
   */
  next(bytesMax: number): { readonly upserts: Uint8Array[]; readonly removes: string[] } | undefined {
    const upserts: Uint8Array[] = []
    const removes: string[] = []
    const told = new Set<string>()
    let bytes = 0
    for (const name of this.#due) {
      if (bytes >= bytesMax) break
      this.#due.delete(name)
      const resource = this.#allowed(name) ? this.#resources.get(name) : undefined
      if (resource === undefined) {
        if (this.#told.has(name) && this.#told.get(name) === undefined) continue
        this.#told.set(name, undefined)
        removes.push(name)
        bytes += name.length
      } else if (this.#told.get(name) !== resource.version) {
        this.#told.set(name, resource.version)
        told.add(name)
        upserts.push(resource.bytes)
        bytes += resource.bytes.length
      }
    }
    this.#unanswered = told
    return upserts.length + removes.length === 0 ? undefined : { upserts, removes }
  }
}

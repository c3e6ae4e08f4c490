import { createHash } from 'node:crypto'
import { create, type JsonValue, toJson } from '@bufbuild/protobuf'
import { type Delta, type Rejection, RejectionSchema, type Resource, ResourceSchema } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { type Log, messageOf } from '../base/log.ts'
import type { StateFolder } from '../base/state-folder.ts'
import { LastGood } from './last-good.ts'
import type { PolicySource } from './policy-source.ts'
import { decodeResource, nameOf } from './strict-decode.ts'

export interface PolicyStoreOptions {
  readonly clock: Clock
  readonly log: Log
  /** Throws when this sidecar cannot put the resource in force (a regex that does not compile, say). */
  readonly check?: ((resource: Resource) => void) | undefined
  /** Where the last good policy lies; undefined: in memory only. */
  readonly state: StateFolder | undefined
}

export interface PolicyStatus {
  readonly connected: boolean
  /** Unix milliseconds of the last change of `connected`. */
  readonly since: number
  /** Where what is in force came from. `none`: nothing is known yet. */
  readonly source: 'stream' | 'disk' | 'none'
  readonly revision: number
  readonly effectiveHash: string
  readonly resources: readonly { readonly name: string; readonly version: string }[]
  readonly rejected: readonly { readonly resource: string; readonly version: string; readonly reason: string }[]
}

/** Who carries the store's wishes to the control plane. */
export interface InterestListener {
  subscribe(names: readonly string[]): void
  unsubscribe(names: readonly string[]): void
}

type Known =
  | { readonly is: 'held'; readonly resource: Resource; readonly bytes: Uint8Array }
  | { readonly is: 'absent' }

interface Want {
  readonly listeners: Set<(resource: Resource | undefined) => void>
  /** Runs while nobody listens. */
  linger: Timer | undefined
}

// A caller that pauses for a minute finds its policy still there.
const lingerMs = 60_000
// What an earlier run used is likely to be used again, and is worth keeping fresh on disk until then.
const restoredLingerMs = 600_000

/**
 * All policy that is in force in this sidecar. Takes deltas, accepts or rejects each resource by itself, keeps the last
 * good version of what it rejects, in memory and on disk.
 */
export class PolicyStore implements PolicySource {
  readonly #clock: Clock
  readonly #log: Log
  readonly #check: (resource: Resource) => void
  readonly #lastGood: LastGood | undefined
  readonly #known = new Map<string, Known>()
  readonly #wants = new Map<string, Want>()
  readonly #rejected = new Map<string, Rejection>()
  readonly #interest = new Set<InterestListener>()
  readonly #syncWaiters = new Set<() => void>()
  #source: PolicyStatus['source'] = 'none'
  #revision = 0n
  #connected = false
  #since: number
  #hash: string | undefined
  #wished = new Set<string>()
  #wishing = false

  constructor(options: PolicyStoreOptions) {
    this.#clock = options.clock
    this.#log = options.log.named('policy')
    this.#check = options.check ?? (() => {})
    this.#since = options.clock.wall()
    if (options.state === undefined) return
    this.#lastGood = new LastGood({ clock: options.clock, log: this.#log, state: options.state })
    this.#restore(this.#lastGood)
  }

  get synced(): boolean {
    return this.#source !== 'none'
  }

  /**
   * Waits for the first snapshot of the stream, at most `waitMs`: until then what lies on disk may be old. Returns
   * `synced`, so true as well when only the disk has answered.
   */
  async whenSynced(waitMs: number): Promise<boolean> {
    if (this.#source === 'stream') return true
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel()
        this.#syncWaiters.delete(done)
        resolve()
      }
      const timer = this.#clock.after(waitMs, done)
      this.#syncWaiters.add(done)
    })
    return this.synced
  }

  watch(name: string, listener: (resource: Resource | undefined) => void): Disposable {
    let want = this.#wants.get(name)
    if (want === undefined) {
      want = { listeners: new Set(), linger: undefined }
      this.#wants.set(name, want)
      this.#wish(name)
    }
    want.linger?.cancel()
    want.linger = undefined
    // Each call is one interest, even if two share a function.
    const own = (resource: Resource | undefined): void => listener(resource)
    want.listeners.add(own)
    const known = this.#known.get(name)
    if (known !== undefined) listener(known.is === 'held' ? known.resource : undefined)
    const held = want
    return {
      [Symbol.dispose]: () => {
        if (held.listeners.delete(own) && held.listeners.size === 0) this.#linger(name, held, lingerMs)
      },
    }
  }

  // ---------------------------------------------------------------- for the stream

  /** Names that are wanted, with those that linger. */
  names(): string[] {
    return [...this.#wants.keys()]
  }

  /** Name and version of what is in force, for `Hello.have`. */
  have(): Record<string, string> {
    const versions: Record<string, string> = {}
    for (const [name, known] of this.#known) {
      if (known.is === 'held' && this.#wants.has(name)) versions[name] = known.resource.version
    }
    return versions
  }

  /** Hears what is wanted and no longer wanted from now on, until disposed. */
  onInterest(listener: InterestListener): Disposable {
    this.#interest.add(listener)
    return { [Symbol.dispose]: () => void this.#interest.delete(listener) }
  }

  /**
   * Puts a delta in force and returns what it refused; the others are in force then. Listeners run after all of it
   * is known, so that they see one revision.
   */
  apply(delta: Delta): Rejection[] {
    const rejections: Rejection[] = []
    const changed: string[] = []
    // What could not even be named cannot be replaced by a better version either.
    this.#rejected.delete('')
    for (const bytes of delta.upserts) {
      const rejection = this.#accept(bytes, changed)
      if (rejection !== undefined) rejections.push(rejection)
    }
    for (const name of delta.removes) {
      if (!this.#wants.has(name)) continue
      this.#rejected.delete(name)
      if (this.#known.get(name)?.is === 'absent') continue
      this.#known.set(name, { is: 'absent' })
      changed.push(name)
    }
    this.#revision = delta.revision
    if (changed.length > 0) this.#changed(changed)
    return rejections
  }

  /** All that was wanted when the stream began has come. */
  complete(revision: bigint): void {
    this.#revision = revision
    this.#source = 'stream'
    for (const done of this.#syncWaiters) done()
  }

  setConnected(connected: boolean): void {
    if (connected === this.#connected) return
    this.#connected = connected
    this.#since = this.#clock.wall()
  }

  // ---------------------------------------------------------------- for status

  status(): PolicyStatus {
    return {
      connected: this.#connected,
      since: this.#since,
      source: this.#source,
      revision: Number(this.#revision),
      effectiveHash: this.effectiveHash,
      resources: this.#inForce().map(({ name, version }) => ({ name, version })),
      rejected: this.rejected.map(({ resource, version, reason }) => ({ resource, version, reason })),
    }
  }

  /** What is in force, whole: for people who ask. */
  contents(): { name: string; version: string; content: JsonValue }[] {
    return this.#inForce().map(({ name, version }) => {
      const known = this.#known.get(name)
      return { name, version, content: known?.is === 'held' ? toJson(ResourceSchema, known.resource) : null }
    })
  }

  /** What is refused, and for which an older version, or none, is in force. */
  get rejected(): Rejection[] {
    return [...this.#rejected.values()]
  }

  /** Equal in two sidecars, or at two times, when the same resources are in force at the same versions. 16 hex digits. */
  get effectiveHash(): string {
    if (this.#hash === undefined) {
      const hash = createHash('sha256')
      for (const { name, version } of this.#inForce()) hash.update(`${name} ${version}\n`)
      this.#hash = hash.digest('hex').slice(0, 16)
    }
    return this.#hash
  }

  /** Writes what is not on disk yet. */
  async close(): Promise<void> {
    for (const want of this.#wants.values()) want.linger?.cancel()
    await this.#lastGood?.close()
  }

  // ---------------------------------------------------------------- inside

  #accept(bytes: Uint8Array, changed: string[]): Rejection | undefined {
    let resource: Resource
    try {
      resource = decodeResource(bytes)
      // Came while the wish to stop it was on its way.
      if (!this.#wants.has(resource.name)) return undefined
      this.#check(resource)
    } catch (error) {
      const { name, version } = nameOf(bytes)
      if (name !== '' && !this.#wants.has(name)) return undefined
      const rejection = create(RejectionSchema, { resource: name, version, reason: messageOf(error) })
      this.#rejected.set(name, rejection)
      const lastGood =
        this.#known.get(name)?.is === 'held' ? 'its last good version stays in force' : 'nothing is in force for it'
      this.#log.warn(`${name === '' ? 'a resource' : name} rejected: ${rejection.reason} (${lastGood})`, { version })
      return rejection
    }
    const { name } = resource
    this.#rejected.delete(name)
    const before = this.#known.get(name)
    if (before?.is === 'held' && before.resource.version === resource.version) return undefined
    this.#known.set(name, { is: 'held', resource, bytes })
    changed.push(name)
    return undefined
  }

  #changed(names: readonly string[]): void {
    this.#hash = undefined
    this.#lastGood?.save(() => this.#snapshot())
    for (const name of names) {
      const known = this.#known.get(name)
      if (known === undefined) continue
      const resource = known.is === 'held' ? known.resource : undefined
      for (const listener of this.#wants.get(name)?.listeners ?? []) {
        try {
          listener(resource)
        } catch (error) {
          // One reader's mistake must not keep the others from their policy.
          this.#log.error(`a reader of ${name} failed`, { error })
        }
      }
    }
  }

  #snapshot(): { revision: bigint; resources: Uint8Array[] } {
    const resources: Uint8Array[] = []
    for (const known of this.#known.values()) if (known.is === 'held') resources.push(known.bytes)
    return { revision: this.#revision, resources }
  }

  #restore(lastGood: LastGood): void {
    const saved = lastGood.load()
    if (saved === undefined) return
    for (const bytes of saved.resources) {
      try {
        const resource = decodeResource(bytes)
        this.#check(resource)
        this.#known.set(resource.name, { is: 'held', resource, bytes })
        const want: Want = { listeners: new Set(), linger: undefined }
        this.#wants.set(resource.name, want)
        this.#linger(resource.name, want, restoredLingerMs)
      } catch (error) {
        this.#log.warn(`${nameOf(bytes).name || 'a resource'} on disk is not used: ${messageOf(error)}`)
      }
    }
    if (this.#known.size === 0) return
    this.#source = 'disk'
    this.#revision = saved.revision
    this.#log.info(`last good policy loaded: ${this.#known.size} resources`)
  }

  #linger(name: string, want: Want, forMs: number): void {
    want.linger = this.#clock.after(forMs, () => {
      // While the control plane is away, what is forgotten cannot be asked for again.
      if (!this.#connected) {
        this.#linger(name, want, forMs)
        return
      }
      this.#wants.delete(name)
      this.#rejected.delete(name)
      if (this.#known.delete(name)) this.#changed([name])
      this.#wish(name)
    })
  }

  /** Gathers the names of one turn of the event loop into one message. */
  #wish(name: string): void {
    this.#wished.add(name)
    if (this.#wishing) return
    this.#wishing = true
    queueMicrotask(() => {
      this.#wishing = false
      const wished = this.#wished
      this.#wished = new Set()
      const wanted: string[] = []
      const unwanted: string[] = []
      for (const each of wished) (this.#wants.has(each) ? wanted : unwanted).push(each)
      for (const listener of this.#interest) {
        if (unwanted.length > 0) listener.unsubscribe(unwanted)
        if (wanted.length > 0) listener.subscribe(wanted)
      }
    })
  }

  #inForce(): { name: string; version: string }[] {
    const held: { name: string; version: string }[] = []
    for (const [name, known] of this.#known)
      if (known.is === 'held') held.push({ name, version: known.resource.version })
    return held.sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

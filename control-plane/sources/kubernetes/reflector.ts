/** Keeps what the API server has of one kind: list, then watch (the algorithm of client-go's Reflector). */
import type { Clock, Timer } from '../../../src/base/clock.ts'
import { messageOf } from '../../../src/base/log.ts'
import { type Api, ApiError, type ApiList, type ApiObject, type WatchEvent } from '../../kubernetes/cluster.ts'

export interface ReflectorOptions<T> {
  readonly api: Api
  /** Of the collection. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly clock: Clock
  /**
   * What is kept of an object; undefined: nothing. Called once for each version of it, with what was kept of the version
   * before; who returns that again says that nothing has changed.
   */
  readonly keep: (object: ApiObject, before: T | undefined) => T | undefined
  /** Something changed: what is held, or `failure`. */
  readonly onChange: () => void
}

/** For metrics. `absent`: the API server has no such kind. */
export type ReflectorState = 'listing' | 'watching' | 'failing' | 'absent'

const pageMax = 500
/** A server that comes back is found within 5 s; eleven kinds that ask so often are no load. */
const backoffMs = { first: 250, longest: 3_000 }
/** The kind is not there: its CRD may come any moment. */
const absentRetryMs = 5_000
/** A server that ends each watch at once is not asked in a tight loop. */
const againMs = 100
/** Servers end a watch after 5 to 10 minutes themselves; asking keeps the load spread. */
const watchSeconds = 300
/** Once is a blip: the next try is 250 ms away. */
const failuresToTell = 2

/** An object's key: `NS/NAME`, `/NAME` without a namespace. */
export function objectKeyOf({ metadata }: ApiObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
}

interface Held<T> {
  readonly version: string
  readonly value: T | undefined
}

/**
 * What is held is replaced as a whole by a list, and by single events in between: a relist (after 410 Gone, or when the
 * watch cannot go on) never clears anything that is still there.
 *
 * Why not the informer of @kubernetes/client-node (2.0.1, dist/cache.js and dist/watch.js): it stops for good at the first
 * error that is not 410; it asks for no bookmarks and drops each watch after 30 s of silence, so that a quiet kind is watched
 * from an ever older version; it lists in one answer without pages; it holds whole objects, 10 to 50 KB for each Pod; what a
 * listener throws is an unhandled rejection. Credentials, kubeconfig and TLS are the library's here, too.
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>
  #held = new Map<string, Held<T>>()
  /** The version to watch from; undefined: list first. */
  #version: string | undefined
  #synced = false
  #state: ReflectorState = 'listing'
  #failure: string | undefined
  /** Since the last watch that began. */
  #failures = 0
  /** The pages of a list outlived their version: the next one is of one page. */
  #whole = false
  #relists = 0
  #timer: Timer | undefined
  #abort = new AbortController()
  #stopped = false

  constructor(options: ReflectorOptions<T>) {
    this.#options = options
  }

  /** True once it was listed, or the API server said that it has no such kind. */
  get synced(): boolean {
    return this.#synced
  }

  get state(): ReflectorState {
    return this.#state
  }

  /** True while the API server has no such kind. */
  get absent(): boolean {
    return this.#state === 'absent'
  }

  /** Why it is not up to date, for people; undefined when it is. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** Lists since the start, the first one included. */
  get relists(): number {
    return this.#relists
  }

  *values(): Iterable<T> {
    for (const { value } of this.#held.values()) if (value !== undefined) yield value
  }

  get(key: string): T | undefined {
    return this.#held.get(key)?.value
  }

  start(): void {
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#abort.abort()
  }

  /** One round: list when needed, watch until it ends; then again. Never rejects. */
  async #run(): Promise<void> {
    if (this.#stopped) return
    this.#abort = new AbortController()
    try {
      if (this.#version === undefined) await this.#list()
      await this.#watch()
      // The server ended it, as it does now and then.
      this.#again(againMs)
    } catch (error) {
      this.#failed(error)
    }
  }

  async #list(): Promise<void> {
    const { api, path, query } = this.#options
    const found = new Map<string, Held<T>>()
    let next: string | undefined
    let version: string | undefined
    do {
      const page: ApiList = await api.ask('GET', path, {
        query: { ...query, ...(this.#whole ? {} : { limit: pageMax, continue: next }) },
        signal: this.#abort.signal,
      })
      for (const object of page.items ?? []) found.set(objectKeyOf(object), this.#hold(object))
      version = page.metadata?.resourceVersion
      next = page.metadata?.continue
    } while (next !== undefined && next !== '')
    if (this.#stopped) return
    const changed = !this.#synced || this.#state === 'absent' || differ(this.#held, found)
    this.#relists++
    this.#held = found
    this.#version = version
    this.#whole = false
    this.#synced = true
    this.#state = 'listing'
    if (changed) this.#options.onChange()
  }

  /** What has not changed keeps its value: whoever compares by identity sees no change. */
  #hold(object: ApiObject): Held<T> {
    const version = object.metadata?.resourceVersion ?? ''
    const before = this.#held.get(objectKeyOf(object))
    return before !== undefined && before.version === version && version !== ''
      ? before
      : { version, value: this.#options.keep(object, before?.value) }
  }

  async #watch(): Promise<void> {
    const { api, path, query, clock } = this.#options
    const timeoutSeconds = Math.round(watchSeconds * (1 + clock.random()))
    await api.watch(
      path,
      { query: { ...query, resourceVersion: this.#version, timeoutSeconds }, signal: this.#abort.signal },
      {
        opened: () => {
          this.#failures = 0
          this.#state = 'watching'
          this.#tell(undefined)
        },
        event: (event) => this.#take(event),
      },
    )
  }

  #take({ type, object }: WatchEvent): void {
    if (this.#stopped) return
    if (type === 'ERROR') {
      const { code, reason, message } = object as { code?: number; reason?: string; message?: string }
      throw new ApiError(code ?? 500, reason ?? '', message ?? 'the watch failed')
    }
    this.#version = object.metadata?.resourceVersion ?? this.#version
    if (type === 'BOOKMARK') return
    const key = objectKeyOf(object)
    const before = this.#held.get(key)
    const now = type === 'DELETED' ? undefined : this.#hold(object)
    if (now === undefined) this.#held.delete(key)
    else this.#held.set(key, now)
    if (now?.value !== before?.value) this.#options.onChange()
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    const status = error instanceof ApiError ? error.status : 0
    this.#failures++
    const waitMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(this.#failures - 1, 8))
    if (status === 410) {
      // Gone: too old to go on from. What is held stays until the new list is here; pages that outlive their own version
      // again and again would never end.
      this.#whole = this.#version === undefined
      this.#version = undefined
      this.#again(this.#failures === 1 ? 0 : waitMs)
    } else if (status === 404) {
      this.#gone()
    } else {
      this.#state = 'failing'
      if (!this.#synced || this.#failures >= failuresToTell) this.#tell(messageOf(error))
      // A watch that cannot be had may be one of a version that the server does not know; a list always tells.
      if (this.#failures > failuresToTell && status !== 0) this.#version = undefined
      this.#again(waitMs)
    }
  }

  /** No such kind. What was held is believed to be gone when that is said a second time, some seconds later. */
  #gone(): void {
    const isSure = this.#state === 'absent' || this.#held.size === 0
    const changed = !this.#synced || this.#failure !== undefined || (isSure && this.#held.size > 0)
    this.#version = undefined
    if (isSure) this.#held = new Map()
    this.#failure = undefined
    this.#synced = true
    this.#state = 'absent'
    if (changed) this.#options.onChange()
    this.#again(absentRetryMs)
  }

  #tell(failure: string | undefined): void {
    if (failure === this.#failure) return
    this.#failure = failure
    this.#options.onChange()
  }

  #again(ms: number): void {
    if (this.#stopped) return
    const { clock } = this.#options
    this.#timer = clock.after(ms * (0.5 + clock.random()), () => void this.#run())
  }
}

function differ<T>(before: ReadonlyMap<string, Held<T>>, now: ReadonlyMap<string, Held<T>>): boolean {
  if (before.size !== now.size) return true
  for (const [key, { value }] of now) if (before.get(key)?.value !== value) return true
  return false
}

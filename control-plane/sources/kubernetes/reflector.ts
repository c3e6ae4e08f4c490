/** Keeps what the API server has of one kind: list, then watch (the algorithm of client-go's Reflector). */
import type { Clock, Timer } from '../../../src/base/clock.ts'
import { messageOf } from '../../../src/base/log.ts'
import { type Api, ApiError, type ApiList, type ApiObject } from '../../kubernetes/cluster.ts'

export interface ReflectorOptions<T> {
  readonly api: Api
  /** Of the collection, all namespaces. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly clock: Clock
  /** What is kept of an object; undefined: nothing. Called once for each version of it. */
  readonly keep: (object: ApiObject) => T | undefined
  /** Something changed: what is held, or `failure`. */
  readonly onChange: () => void
}

const pageMax = 500
const backoffMs = { first: 250, longest: 15_000 }
/** The kind is not there: its CRD may come any moment. */
const absentRetryMs = 5_000
/** Servers end a watch after 5 to 10 minutes themselves; asking keeps the load spread. */
const watchSeconds = 300

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
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>
  #held = new Map<string, Held<T>>()
  /** The version to watch from; undefined: list first. */
  #version: string | undefined
  #synced = false
  #absent = false
  #failure: string | undefined
  #failures = 0
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

  /** True while the API server has no such kind. */
  get absent(): boolean {
    return this.#absent
  }

  /** Why it is not up to date, for people; undefined when it is. */
  get failure(): string | undefined {
    return this.#failure
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
      this.#failures = 0
      await this.#watch()
      // The server ended it, as it does now and then. A server that ends each at once is not asked in a tight loop.
      this.#again(100)
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
        query: { ...query, limit: pageMax, continue: next },
        signal: this.#abort.signal,
      })
      for (const object of page.items ?? []) found.set(objectKeyOf(object), this.#hold(object))
      version = page.metadata?.resourceVersion
      next = page.metadata?.continue
    } while (next !== undefined && next !== '')
    if (this.#stopped) return
    this.#held = found
    this.#version = version
    this.#synced = true
    this.#absent = false
    this.#failure = undefined
    this.#options.onChange()
  }

  /** What has not changed keeps its value: whoever compares by identity sees no change. */
  #hold(object: ApiObject): Held<T> {
    const version = object.metadata?.resourceVersion ?? ''
    const before = this.#held.get(objectKeyOf(object))
    return before !== undefined && before.version === version && version !== ''
      ? before
      : { version, value: this.#options.keep(object) }
  }

  async #watch(): Promise<void> {
    const { api, path, query, clock } = this.#options
    const timeoutSeconds = Math.round(watchSeconds * (1 + clock.random()))
    await api.watch(
      path,
      { query: { ...query, resourceVersion: this.#version, timeoutSeconds }, signal: this.#abort.signal },
      ({ type, object }) => {
        if (this.#stopped) return
        if (type === 'ERROR') {
          const { code, reason, message } = object as { code?: number; reason?: string; message?: string }
          throw new ApiError(code ?? 500, reason ?? '', message ?? 'the watch failed')
        }
        this.#version = object.metadata?.resourceVersion ?? this.#version
        if (type === 'BOOKMARK') return
        if (type === 'DELETED') this.#held.delete(objectKeyOf(object))
        else this.#held.set(objectKeyOf(object), this.#hold(object))
        this.#options.onChange()
      },
    )
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    const status = error instanceof ApiError ? error.status : 0
    // Gone: too old to go on from. Listed again at once; what is held stays until the list is here.
    if (status === 410) {
      this.#version = undefined
      this.#again(0)
      return
    }
    if (status === 404) {
      const had = this.#held.size > 0
      this.#version = undefined
      this.#held = new Map()
      const told = this.#absent && this.#synced && !had
      this.#synced = true
      this.#absent = true
      this.#failure = undefined
      if (!told) this.#options.onChange()
      this.#again(absentRetryMs)
      return
    }
    const told = this.#failure
    this.#failure = messageOf(error)
    // A watch that cannot be had may be one of a version that the server does not know; a list always tells.
    if (++this.#failures > 2 && status !== 0) this.#version = undefined
    if (told !== this.#failure) this.#options.onChange()
    this.#again(Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(this.#failures, 8)))
  }

  #again(ms: number): void {
    if (this.#stopped) return
    const { clock } = this.#options
    this.#timer = clock.after(ms * (0.5 + clock.random()), () => void this.#run())
  }
}

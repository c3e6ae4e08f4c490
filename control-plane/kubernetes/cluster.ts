/** The Kubernetes API, as much of it as the mesh asks for. */
import type { KubeConfig } from '@kubernetes/client-node'
import { fetch, type RequestInit, type Response } from 'undici'
import { type Clock, systemClock, type Timer } from '../../src/base/clock.ts'
import { messageOf } from '../../src/base/log.ts'
import { Connections } from './connection.ts'

/** The API server refused; `reason` is its own word: NotFound, Conflict, Forbidden, Expired, Invalid ... */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly reason: string

  constructor(status: number, reason: string, message: string) {
    super(message)
    this.status = status
    this.reason = reason
  }
}

/** Metadata of any object. */
export interface ObjectMeta {
  readonly name?: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ownerReferences?: readonly {
    readonly apiVersion: string
    readonly kind: string
    readonly name: string
    readonly uid: string
  }[]
}

/** Any object of the API. */
export interface ApiObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: ObjectMeta
  readonly [field: string]: unknown
}

/** One page of a list. */
export interface ApiList {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string }
  readonly items?: readonly ApiObject[]
}

/** What a watch says. `ERROR` carries a Status object: 410 when the version is too old. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: ApiObject
}

export interface Ask {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  /** Default application/json; a PATCH names its kind: application/merge-patch+json, application/apply-patch+yaml. */
  readonly contentType?: string
  readonly signal?: AbortSignal
  /** Until the answer is here, whole. Default 30 s. */
  readonly timeoutMs?: number
}

/** What a watch tells. */
export interface WatchListener {
  /** The server has accepted it. */
  opened?(): void
  /** May throw: that ends the watch with what it throws. */
  event(event: WatchEvent): void
}

/** Something of the API server that answers by JSON: what most of the control plane needs of a cluster. */
export interface Api {
  /** Resolves with the answer; rejects with ApiError, or with an Error when the server cannot be reached. */
  ask<T = ApiObject>(method: string, path: string, ask?: Ask): Promise<T>
  /** Watches until the server ends it. Rejects with ApiError when it does not begin, with an Error when it is cut off. */
  watch(path: string, ask: Ask, listener: WatchListener): Promise<void>
}

export interface OpenOptions {
  /** Path of a kubeconfig; default: the usual ones, else the service account of the Pod. */
  readonly kubeconfig?: string | undefined
  readonly context?: string | undefined
}

const answerTimeoutMs = 30_000
/** API servers send a bookmark about once a minute, so a watch that is silent for longer is dead. */
const watchSilenceMs = 150_000

/** A cluster by kubeconfig or, inside a Pod, by its service account. */
export class Cluster implements Api {
  readonly config: KubeConfig
  readonly #server: string
  readonly #connections: Connections
  readonly #clock: Clock

  constructor(config: KubeConfig, clock: Clock = systemClock) {
    const cluster = config.getCurrentCluster()
    if (cluster === null) {
      throw new Error(
        'no cluster: set KUBECONFIG or --kubeconfig, choose a context with --context, or run inside a Pod',
      )
    }
    this.config = config
    this.#clock = clock
    this.#connections = new Connections(config)
    this.#server = cluster.server.replace(/\/$/, '')
  }

  /** URL of the API server. */
  get server(): string {
    return this.#server
  }

  async ask<T = ApiObject>(method: string, path: string, ask: Ask = {}): Promise<T> {
    using limit = new Limit(this.#clock, ask.timeoutMs ?? answerTimeoutMs, 'did not answer within', ask.signal)
    const { status, text } = await this.#reach(limit, async () => {
      const response = await this.#fetch(method, path, ask, limit.signal)
      return { status: response.status, text: await response.text() }
    })
    if (status >= 300) throw apiError(status, text, `${method} ${path}`)
    try {
      return (text === '' ? {} : JSON.parse(text)) as T
    } catch (cause) {
      throw new Error(`${this.#server}${path} answered no JSON: is it a Kubernetes API server?`, { cause })
    }
  }

  async watch(path: string, ask: Ask, listener: WatchListener): Promise<void> {
    using limit = new Limit(this.#clock, watchSilenceMs, 'was silent on a watch for', ask.signal)
    const query = { ...ask.query, watch: true, allowWatchBookmarks: true }
    const response = await this.#reach(limit, () => this.#fetch('GET', path, { ...ask, query }, limit.signal))
    if (response.status !== 200) throw apiError(response.status, await response.text(), `WATCH ${path}`)
    listener.opened?.()
    const decoder = new TextDecoder()
    const chunks = (response.body ?? new ReadableStream()).values() as AsyncIterableIterator<Uint8Array>
    let rest = ''
    try {
      for (;;) {
        const { done, value } = await this.#reach(limit, () => chunks.next())
        if (done === true) return
        limit.renew()
        rest += decoder.decode(value, { stream: true })
        let start = 0
        for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n', start)) {
          const line = rest.slice(start, end)
          start = end + 1
          // A line that is cut off by the end of the connection never gets here: it has no line feed.
          if (line !== '') listener.event(JSON.parse(line) as WatchEvent)
        }
        if (start > 0) rest = rest.slice(start)
      }
    } finally {
      // Closes the connection when a listener threw.
      void chunks.return?.().catch(() => {})
    }
  }

  /** Closes the connections; whatever is under way is cut off. */
  async close(): Promise<void> {
    await this.#connections.close()
  }

  async #fetch(method: string, path: string, ask: Ask, signal: AbortSignal): Promise<Response> {
    const url = new URL(this.#server + path)
    for (const [name, value] of Object.entries(ask.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value))
    const { dispatcher, headers } = await this.#connections.get()
    const init: RequestInit = {
      method,
      headers: {
        ...headers,
        accept: 'application/json',
        ...(ask.body === undefined ? {} : { 'content-type': ask.contentType ?? 'application/json' }),
      },
      dispatcher,
      signal,
      // An API server redirects nobody; who does must not be given the token.
      redirect: 'manual',
      ...(ask.body === undefined ? {} : { body: JSON.stringify(ask.body) }),
    }
    return await fetch(url, init)
  }

  /** What goes wrong on the way says so in one line. */
  async #reach<T>(limit: Limit, step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (cause) {
      if (limit.isOver) throw new Error(`the API server ${this.#server} ${limit.what}`, { cause })
      const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
      throw new Error(`the API server ${this.#server} cannot be reached: ${messageOf(inner)}`, { cause })
    }
  }
}

/** Gives up after a time without news, by the clock of the caller. */
class Limit implements Disposable {
  readonly signal: AbortSignal
  readonly what: string
  isOver = false
  readonly #clock: Clock
  readonly #ms: number
  readonly #abort = new AbortController()
  #timer: Timer

  constructor(clock: Clock, ms: number, what: string, outer: AbortSignal | undefined) {
    this.#clock = clock
    this.#ms = ms
    this.what = `${what} ${ms / 1_000} s`
    this.signal = outer === undefined ? this.#abort.signal : AbortSignal.any([outer, this.#abort.signal])
    this.#timer = this.#start()
  }

  renew(): void {
    this.#timer.cancel()
    this.#timer = this.#start()
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
  }

  #start(): Timer {
    return this.#clock.after(this.#ms, () => {
      this.isOver = true
      this.#abort.abort(new Error(this.what))
    })
  }
}

/** Opens the cluster that a kubeconfig, or the Pod that this runs in, names. Throws an Error that names the remedy. */
export async function openCluster(options: OpenOptions = {}): Promise<Cluster> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  if (options.kubeconfig === undefined) {
    config.loadFromDefault()
    // What the library says when it found nothing at all.
    if (config.getCurrentCluster()?.server === 'http://localhost:8080') {
      throw new Error('no cluster: set KUBECONFIG or --kubeconfig, or run inside a Pod')
    }
  } else {
    try {
      config.loadFromFile(options.kubeconfig)
    } catch (cause) {
      throw new Error(`cannot read the kubeconfig ${options.kubeconfig}: ${messageOf(cause)}`, { cause })
    }
  }
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      const names = config.getContexts().map(({ name }) => name)
      throw new Error(`no context '${options.context}' in the kubeconfig; there are: ${names.join(', ') || 'none'}`)
    }
    config.setCurrentContext(options.context)
  }
  return new Cluster(config)
}

function apiError(status: number, text: string, what: string): ApiError {
  let reason = ''
  let message = text.slice(0, 500)
  try {
    const body = JSON.parse(text) as { reason?: string; message?: string }
    reason = body.reason ?? ''
    message = body.message ?? message
  } catch {
    // Proxies answer with pages.
  }
  return new ApiError(status, reason, `${what}: ${message || `answered ${status}`}`)
}

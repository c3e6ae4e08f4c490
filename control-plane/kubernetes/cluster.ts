/** The Kubernetes API, as much of it as the mesh asks for. */
import type { KubeConfig } from '@kubernetes/client-node'
import { fetch, type RequestInit } from 'undici'
import { messageOf } from '../../src/base/log.ts'

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
}

/** Something of the API server that answers by JSON: what most of the control plane needs of a cluster. */
export interface Api {
  /** Resolves with the answer; rejects with ApiError, or with an Error when the server cannot be reached. */
  ask<T = ApiObject>(method: string, path: string, ask?: Ask): Promise<T>
  /** Watches until the server ends it or `signal` is aborted. Rejects with ApiError when it does not begin. */
  watch(path: string, ask: Ask, onEvent: (event: WatchEvent) => void): Promise<void>
}

export interface OpenOptions {
  /** Path of a kubeconfig; default: the usual ones, else the service account of the Pod. */
  readonly kubeconfig?: string | undefined
  readonly context?: string | undefined
}

/** A cluster by kubeconfig or, inside a Pod, by its service account. */
export class Cluster implements Api {
  readonly config: KubeConfig
  readonly #server: string

  constructor(config: KubeConfig) {
    const cluster = config.getCurrentCluster()
    if (cluster === null) {
      throw new Error(
        'no cluster: set KUBECONFIG or --kubeconfig, choose a context with --context, or run inside a Pod',
      )
    }
    this.config = config
    this.#server = cluster.server.replace(/\/$/, '')
  }

  /** URL of the API server. */
  get server(): string {
    return this.#server
  }

  async ask<T = ApiObject>(method: string, path: string, ask: Ask = {}): Promise<T> {
    const response = await this.#fetch(method, path, ask)
    const text = await response.text()
    if (response.status >= 400) throw apiError(response.status, text, `${method} ${path}`)
    try {
      return (text === '' ? {} : JSON.parse(text)) as T
    } catch (cause) {
      throw new Error(`${this.#server}${path} answered no JSON: is it a Kubernetes API server?`, { cause })
    }
  }

  async watch(path: string, ask: Ask, onEvent: (event: WatchEvent) => void): Promise<void> {
    const query = { ...ask.query, watch: true, allowWatchBookmarks: true }
    const response = await this.#fetch('GET', path, { ...ask, query })
    if (response.status !== 200) throw apiError(response.status, await response.text(), `WATCH ${path}`)
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of response.body ?? []) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true })
      let end = rest.indexOf('\n')
      if (end === -1) continue
      let start = 0
      for (; end !== -1; end = rest.indexOf('\n', start)) {
        const line = rest.slice(start, end)
        start = end + 1
        // A line that is cut off by the end of the connection never gets here: it has no line feed.
        if (line !== '') onEvent(JSON.parse(line) as WatchEvent)
      }
      rest = rest.slice(start)
    }
  }

  async #fetch(method: string, path: string, ask: Ask) {
    const { HttpMethod, RequestContext } = await import('@kubernetes/client-node')
    const url = new URL(this.#server + path)
    for (const [name, value] of Object.entries(ask.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value))
    // Credentials, certificates and proxies are the library's: tokens are read anew when they are replaced.
    const context = new RequestContext(url.href, HttpMethod.GET)
    await this.config.applySecurityAuthentication(context)
    const headers: Record<string, string> = { ...context.getHeaders(), accept: 'application/json' }
    if (ask.body !== undefined) headers['content-type'] = ask.contentType ?? 'application/json'
    const dispatcher = context.getDispatcher()
    const init: RequestInit = {
      method,
      headers,
      ...(dispatcher === undefined ? {} : { dispatcher: dispatcher as NonNullable<RequestInit['dispatcher']> }),
      ...(ask.body === undefined ? {} : { body: JSON.stringify(ask.body) }),
      ...(ask.signal === undefined ? {} : { signal: ask.signal }),
    }
    try {
      return await fetch(url, init)
    } catch (cause) {
      const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
      throw new Error(`the API server ${this.#server} cannot be reached: ${messageOf(inner)}`, { cause })
    }
  }
}

/** Opens the cluster that a kubeconfig, or the Pod that this runs in, names. Throws an Error that names the remedy. */
export async function openCluster(options: OpenOptions = {}): Promise<Cluster> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  if (options.kubeconfig === undefined) config.loadFromDefault()
  else {
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

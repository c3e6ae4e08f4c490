/** A small API server over real HTTP: list with pages, watch, bookmarks, 410, conflicts, whatever a test wants to go wrong. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { type ApiObject, Cluster, type ObjectMeta } from '../../control-plane/kubernetes/cluster.ts'
import { kinds } from '../../src/api/policy/kinds.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'

interface Traits {
  readonly apiVersion: string
  readonly plural: string
  readonly scope: 'Namespaced' | 'Cluster'
}

const others = {
  Secret: { apiVersion: 'v1', plural: 'secrets', scope: 'Namespaced' },
  ConfigMap: { apiVersion: 'v1', plural: 'configmaps', scope: 'Namespaced' },
  Event: { apiVersion: 'events.k8s.io/v1', plural: 'events', scope: 'Namespaced' },
  Lease: { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', scope: 'Namespaced' },
  Deployment: { apiVersion: 'apps/v1', plural: 'deployments', scope: 'Namespaced' },
  CustomResourceDefinition: {
    apiVersion: 'apiextensions.k8s.io/v1',
    plural: 'customresourcedefinitions',
    scope: 'Cluster',
  },
  MutatingWebhookConfiguration: {
    apiVersion: 'admissionregistration.k8s.io/v1',
    plural: 'mutatingwebhookconfigurations',
    scope: 'Cluster',
  },
} as const satisfies Record<string, Traits>

const known: Readonly<Record<string, Traits>> = { ...kinds, ...others }

interface Watcher {
  readonly collection: string
  readonly matches: (object: ApiObject) => boolean
  readonly response: ServerResponse
}

interface Change {
  readonly version: number
  readonly type: string
  readonly collection: string
  readonly object: ApiObject
}

/** A request as it came in. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: string
  readonly headers: IncomingMessage['headers']
}

/** What a test answers instead; undefined: as usual. `cut`: the connection is lost. */
export type Intercept = (asked: Asked) => Answer | 'cut' | 'hang' | undefined

interface Answer {
  readonly status: number
  readonly body?: unknown
}

export class FakeApi implements AsyncDisposable {
  readonly asked: Asked[] = []
  /** Tried in order; the first that answers wins. */
  readonly intercepts: Intercept[] = []
  /** Of whole kinds: answered 404, as before their CRD is there. */
  readonly absent = new Set<string>()
  /** Lists come the other way round: their order says nothing. */
  reversed = false
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #objects = new Map<string, Map<string, ApiObject>>()
  readonly #watchers = new Set<Watcher>()
  readonly #clusters: Cluster[] = []
  #changes: Change[] = []
  #version = 100
  /** Versions below it are gone; a watch from one is told so as a status or in its stream. */
  #oldest = 0
  #goneAs: 'event' | 'status' = 'status'

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(): Promise<FakeApi> {
    const api = new FakeApi()
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve))
    return api
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** For connections that are upgraded, as a port-forward is. */
  onUpgrade(listener: (request: IncomingMessage, socket: Socket) => void): void {
    this.#server.on('upgrade', listener)
  }

  get watches(): number {
    return this.#watchers.size
  }

  /** A client of its own, with connections of its own. */
  cluster(clock: Clock = systemClock): Cluster {
    const config = new KubeConfig()
    config.loadFromClusterAndUser(
      { name: 'fake', server: this.url, skipTLSVerify: true },
      { name: 'test', token: 'the-token-of-the-test' },
    )
    const cluster = new Cluster(config, clock)
    this.#clusters.push(cluster)
    return cluster
  }

  /** Creates it, or replaces it as it is. Answers what is held now. */
  put(object: ApiObject): ApiObject {
    const { collection, key } = this.#placeOf(object)
    const named = this.#collection(collection)
    const before = named.get(key)
    const metadata: ObjectMeta = {
      uid: before?.metadata?.uid ?? `uid-${this.#version}`,
      creationTimestamp: before?.metadata?.creationTimestamp ?? '2026-01-01T00:00:00Z',
      ...object.metadata,
      resourceVersion: String(++this.#version),
    }
    const held = { ...object, metadata }
    named.set(key, held)
    this.#tell(before === undefined ? 'ADDED' : 'MODIFIED', collection, held)
    return held
  }

  delete(kind: string, namespace: string, name: string): void {
    const { collection, key } = this.#placeOf({ kind, metadata: { namespace, name } })
    const named = this.#collection(collection)
    const before = named.get(key)
    if (before === undefined) return
    named.delete(key)
    const metadata = { ...before.metadata, resourceVersion: String(++this.#version) }
    this.#tell('DELETED', collection, { ...before, metadata })
  }

  get(kind: string, namespace: string, name: string): ApiObject | undefined {
    const { collection, key } = this.#placeOf({ kind, metadata: { namespace, name } })
    return this.#collection(collection).get(key)
  }

  all(kind: string): ApiObject[] {
    return [...this.#collection(collectionOf(known[kind]!)).values()]
  }

  /** Every version so far is forgotten, and every watch ends: who goes on from one is told 410. */
  expire(as: 'event' | 'status'): void {
    this.#oldest = ++this.#version
    this.#goneAs = as
    this.#changes = []
    const watchers = [...this.#watchers]
    this.#watchers.clear()
    for (const watcher of watchers) {
      if (as === 'event') watcher.response.end(goneEvent)
      else watcher.response.end()
    }
  }

  /** Tells every watch the newest version, as servers do now and then. */
  bookmark(): void {
    for (const { response } of this.#watchers) {
      const object = { metadata: { resourceVersion: String(this.#version) } }
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`)
    }
  }

  /** Every connection is lost. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cluster of this.#clusters) await cluster.close()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.cut()
    await closed
  }

  #placeOf({ kind = '', metadata }: ApiObject): { collection: string; key: string } {
    const traits = known[kind]
    if (traits === undefined) throw new Error(`the fake API has no kind ${kind}`)
    const namespace = traits.scope === 'Cluster' ? '' : (metadata?.namespace ?? '')
    return { collection: collectionOf(traits), key: `${namespace}/${metadata?.name ?? ''}` }
  }

  #collection(name: string): Map<string, ApiObject> {
    let named = this.#objects.get(name)
    if (named === undefined) this.#objects.set(name, (named = new Map<string, ApiObject>()))
    return named
  }

  #tell(type: string, collection: string, object: ApiObject): void {
    this.#changes.push({ version: this.#version, type, collection, object })
    for (const watcher of this.#watchers)
      if (watcher.collection === collection && watcher.matches(object))
        watcher.response.write(`${JSON.stringify({ type, object })}\n`)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const asked: Asked = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      body: Buffer.concat(chunks).toString('utf8'),
      headers: request.headers,
    }
    this.asked.push(asked)
    for (const intercept of this.intercepts) {
      const outcome = intercept(asked)
      if (outcome === 'hang') return
      if (outcome === 'cut') return void request.socket.destroy()
      if (outcome !== undefined) return send(response, outcome)
    }
    const match =
      /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([a-z]+)(?:\/([^/]+))?(?:\/status)?$/.exec(
        asked.path,
      )
    const [, root = '', namespace, plural = '', name] = match ?? []
    const collection = `${root}/${plural}`
    const kind = Object.entries(known).find(([, traits]) => collectionOf(traits) === collection)?.[0]
    if (kind === undefined || this.absent.has(kind)) return send(response, refusal(404, 'NotFound', 'no such resource'))
    const answer =
      asked.method === 'GET' && name === undefined
        ? this.#list(asked, collection, namespace, response)
        : this.#change(asked, { kind, collection, namespace, name })
    if (answer !== undefined) send(response, answer)
  }

  /** Undefined: a watch, which goes on. */
  #list(
    { query }: Asked,
    collection: string,
    namespace: string | undefined,
    response: ServerResponse,
  ): Answer | undefined {
    const matches = selection(namespace, query)
    const version = Number(query.get('resourceVersion') ?? 0)
    if (query.get('watch') === 'true') {
      const isGone = version < this.#oldest
      if (isGone && this.#goneAs === 'status') return refusal(410, 'Expired', 'too old resource version')
      response.writeHead(200, { 'content-type': 'application/json' })
      if (isGone) {
        response.end(goneEvent)
        return undefined
      }
      response.flushHeaders()
      for (const { type, object } of this.#changes.filter(
        (one) => one.collection === collection && one.version > version,
      ))
        if (matches(object)) response.write(`${JSON.stringify({ type, object })}\n`)
      const watcher = { collection, matches, response }
      this.#watchers.add(watcher)
      response.once('close', () => this.#watchers.delete(watcher))
      return undefined
    }
    const [from = 0, at = this.#version] = (query.get('continue') ?? '').split('@').filter(Boolean).map(Number)
    if (at < this.#oldest) return refusal(410, 'Expired', 'the continue token is too old')
    const all = [...this.#collection(collection).values()].filter(matches)
    if (this.reversed) all.reverse()
    const limit = Number(query.get('limit') ?? 0) || all.length
    const items = all.slice(from, from + limit).map(({ apiVersion: _a, kind: _k, ...item }) => item)
    const rest = all.length - from - items.length
    return {
      status: 200,
      body: {
        metadata: { resourceVersion: String(at), ...(rest > 0 ? { continue: `${from + limit}@${at}` } : {}) },
        items,
      },
    }
  }

  #change(
    { method, body, query, headers }: Asked,
    at: { kind: string; collection: string; namespace: string | undefined; name: string | undefined },
  ): Answer {
    const { kind, collection, namespace = '', name = '' } = at
    const given = (body === '' ? {} : JSON.parse(body)) as ApiObject
    const held = this.#collection(collection).get(`${namespace}/${name}`)
    const place = { ...(namespace === '' ? {} : { namespace }), name: name || (given.metadata?.name ?? '') }
    const made = (object: ApiObject) => this.put({ ...object, kind, metadata: { ...object.metadata, ...place } })
    if (method === 'POST') {
      if (this.get(kind, namespace, place.name) !== undefined)
        return refusal(409, 'AlreadyExists', `${place.name} already exists`)
      return { status: 201, body: made(given) }
    }
    if (method === 'PATCH' && headers['content-type'] === 'application/apply-patch+yaml' && query.has('fieldManager'))
      return { status: 200, body: made({ ...held, ...given, metadata: { ...held?.metadata, ...given.metadata } }) }
    if (held === undefined) return refusal(404, 'NotFound', `${place.name} not found`)
    if (method === 'GET') return { status: 200, body: held }
    const version = given.metadata?.resourceVersion
    if (method !== 'DELETE' && version !== undefined && version !== held.metadata?.resourceVersion)
      return refusal(409, 'Conflict', 'the object has been modified')
    if (method === 'PUT') return { status: 200, body: made(given) }
    if (method === 'PATCH' && headers['content-type'] === 'application/json-patch+json') {
      const copy = structuredClone(held) as Record<string, unknown>
      const outcome = applyPatch(copy, given as unknown as readonly PatchStep[])
      return outcome === undefined
        ? { status: 200, body: made(copy) }
        : refusal(422, 'Invalid', `the patch does not fit: ${outcome}`)
    }
    if (method === 'PATCH') return { status: 200, body: made(merged(held, given) as ApiObject) }
    if (method === 'DELETE') {
      this.delete(kind, namespace, name)
      return { status: 200, body: {} }
    }
    return refusal(405, 'MethodNotAllowed', method)
  }
}

const goneEvent = `${JSON.stringify({
  type: 'ERROR',
  object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' },
})}\n`

function collectionOf({ apiVersion, plural }: Traits): string {
  return `${apiVersion.includes('/') ? '/apis' : '/api'}/${apiVersion}/${plural}`
}

function selection(namespace: string | undefined, query: URLSearchParams): (object: ApiObject) => boolean {
  const name = /(?:^|,)metadata\.name=([^,]+)/.exec(query.get('fieldSelector') ?? '')?.[1]
  const [label, value] = (query.get('labelSelector') ?? '').split('=')
  return ({ metadata }) =>
    (namespace === undefined || metadata?.namespace === namespace) &&
    (name === undefined || metadata?.name === name) &&
    (label === undefined || label === '' || metadata?.labels?.[label] === value)
}

function merged(into: unknown, from: unknown): unknown {
  if (typeof from !== 'object' || from === null || Array.isArray(from)) return from
  const result: Record<string, unknown> = { ...(into as object) }
  for (const [key, value] of Object.entries(from)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}

/** One step of a JSON Patch (RFC 6902): the operations that ours have. */
export interface PatchStep {
  readonly op: string
  readonly path: string
  readonly value?: unknown
}

/** Applies a JSON Patch in place; answers the first step that does not fit. */
export function applyPatch(document: unknown, patch: readonly PatchStep[]): string | undefined {
  for (const step of patch) {
    const parts = step.path
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    const last = parts.pop() ?? ''
    let at = document as Record<string, unknown> | unknown[] | undefined
    for (const part of parts) at = (at as Record<string, unknown> | undefined)?.[part] as typeof at
    if (typeof at !== 'object' || at === null) return JSON.stringify(step)
    const isThere = Object.hasOwn(at, last)
    if (step.op === 'add' && Array.isArray(at)) {
      const index = last === '-' ? at.length : Number(last)
      if (!(index >= 0 && index <= at.length)) return JSON.stringify(step)
      at.splice(index, 0, step.value)
    } else if (step.op === 'add') (at as Record<string, unknown>)[last] = step.value
    else if (!isThere) return JSON.stringify(step)
    else if (step.op === 'replace') (at as Record<string, unknown>)[last] = step.value
    else if (step.op === 'test') {
      if (JSON.stringify((at as Record<string, unknown>)[last]) !== JSON.stringify(step.value))
        return JSON.stringify(step)
    } else if (step.op === 'remove' && Array.isArray(at)) at.splice(Number(last), 1)
    else if (step.op === 'remove') delete (at as Record<string, unknown>)[last]
    else return JSON.stringify(step)
  }
  return undefined
}

function refusal(code: number, reason: string, message: string): Answer {
  return { status: code, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message } }
}

function send(response: ServerResponse, { status, body = {} }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

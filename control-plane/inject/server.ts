/** The mutating admission webhook (admission.k8s.io/v1). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { marks } from '../../src/base/kubernetes-names.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import type { ServerCertificate } from '../identity/server-certificate.ts'
import type { Events } from '../kubernetes/events.ts'
import { listen } from '../stream/listen.ts'
import { type Injection, injectPod } from './inject-pod.ts'
import { jsonPatch } from './json-patch.ts'
import type { Pod } from './pod.ts'
import type { InjectionTemplate } from './template.ts'

export interface InjectorOptions {
  readonly log: Log
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  readonly certificate: ServerCertificate
  readonly template: InjectionTemplate
  /** Labels of a Namespace as far as they are known here; undefined: not known (yet). */
  readonly namespaceLabels: (namespace: string) => Labels | undefined
  /** The same, by the API server, now. */
  readonly readNamespaceLabels: (namespace: string) => Promise<Labels | undefined>
  readonly events: Events
}

type Labels = Readonly<Record<string, string>>

interface AdmissionReview {
  readonly apiVersion?: string
  readonly kind?: string
  readonly request?: {
    readonly uid?: string
    readonly namespace?: string
    readonly object?: Pod
    readonly dryRun?: boolean
  }
}

interface AdmissionAnswer {
  readonly allowed: boolean
  readonly patch?: unknown
  readonly message?: string
  readonly warnings?: readonly string[]
}

// A Pod may have 1.5 MiB in etcd, and an update carries the old one too.
const bodyBytesMax = 4 * 1_048_576

/** Serves `POST /inject` and `GET /healthz` over TLS. */
export class Injector {
  /** Pods by what became of them, since the start: injected, skip/CODE, refuse/CODE. */
  readonly outcomes = new Map<string, number>()
  readonly #options: InjectorOptions
  readonly #log: Log
  readonly #server: Server
  readonly #watching: Disposable

  private constructor(options: InjectorOptions) {
    this.#options = options
    this.#log = options.log.named('inject')
    this.#server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, minVersion: 'TLSv1.2' })
    this.#server.on('request', (request, response) => void this.#answer(request, response))
    this.#server.on('tlsClientError', (error) => this.#log.debug(`a TLS handshake failed: ${messageOf(error)}`))
    this.#watching = options.certificate.current.subscribe(({ key, cert }) =>
      this.#server.setSecureContext({ key, cert }),
    )
  }

  /** Listens. Throws an Error that names the remedy when it cannot. */
  static async start(options: InjectorOptions): Promise<Injector> {
    const injector = new Injector(options)
    const { host, port } = options
    try {
      await listen(injector.#server, { host, port, what: 'the injection webhook', option: '--webhook-port' })
      return injector
    } catch (error) {
      await injector.stop()
      throw error
    }
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async stop(): Promise<void> {
    this.#watching[Symbol.dispose]()
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    await closed
  }

  /** Never rejects. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const path = (request.url ?? '/').split('?', 1)[0]
      if (path === '/healthz') return send(response, 200, { ready: true })
      if (path !== '/inject') return send(response, 404, { message: `nothing at ${path}; there is: /inject /healthz` })
      if (request.method !== 'POST') return send(response, 405, { message: '/inject takes POST only' })
      const body = await readBody(request)
      if (body === undefined) return send(response, 413, { message: `more than ${bodyBytesMax} bytes` })
      let review: AdmissionReview
      try {
        review = JSON.parse(body) as AdmissionReview
      } catch {
        return send(response, 400, { message: 'not JSON: expected an AdmissionReview of admission.k8s.io/v1' })
      }
      const uid = review?.request?.uid
      if (review?.apiVersion !== 'admission.k8s.io/v1' || review.kind !== 'AdmissionReview' || uid === undefined) {
        return send(response, 400, { message: 'expected an AdmissionReview of admission.k8s.io/v1 with request.uid' })
      }
      const { allowed, patch, message, warnings = [] } = await this.#decide(review)
      send(response, 200, {
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        response: {
          uid,
          allowed,
          ...(message === undefined ? {} : { status: { code: 403, message } }),
          ...(patch === undefined
            ? {}
            : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
          // The API server cuts them at 256 bytes; each of ours is shorter.
          ...(warnings.length === 0 ? {} : { warnings: warnings.map((text) => `outrigger: ${text}`.slice(0, 250)) }),
        },
      })
    } catch (error) {
      this.#log.error(`${request.method} ${request.url} failed`, { error })
      if (response.headersSent) response.destroy()
      else send(response, 500, { message: messageOf(error) })
    }
  }

  async #decide({ request }: AdmissionReview): Promise<AdmissionAnswer> {
    const pod = request?.object
    const namespace = request?.namespace ?? pod?.metadata?.namespace ?? 'default'
    if (pod?.spec?.containers === undefined) return { allowed: true, warnings: ['not a Pod: nothing was injected'] }
    const result = await this.#inject(pod, namespace)
    const outcome = result.is === 'injected' ? 'injected' : `${result.is}/${result.code}`
    const isReal = request?.dryRun !== true
    if (isReal) this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
    const who = `${namespace}/${pod.metadata?.name ?? pod.metadata?.generateName ?? '?'}`
    if (result.is === 'injected') {
      this.#log.info(`sidecar injected into ${who}`)
      return { allowed: true, patch: jsonPatch(pod, result.pod), warnings: result.warnings }
    }
    const isRefused = result.is === 'refuse'
    this.#log.info(`${who}: ${isRefused ? 'refused' : 'not injected'}: ${result.reason}`, { code: result.code })
    if (isReal && (isRefused || unexpected.has(result.code))) this.#tell(pod, namespace, isRefused, result.reason)
    return isRefused
      ? { allowed: false, message: `outrigger: ${result.reason}`, warnings: result.warnings }
      : {
          allowed: true,
          warnings: [...(unexpected.has(result.code) ? [`not injected: ${result.reason}`] : []), ...result.warnings],
        }
  }

  async #inject(pod: Pod, namespace: string): Promise<Injection> {
    const { template, namespaceLabels, readNamespaceLabels } = this.#options
    // The webhook's own selectors have looked at the Namespace already: one that we have not seen yet is an enabled one.
    const enabled = { [marks.inject]: 'enabled' }
    const first = injectPod(pod, { namespace, namespaceLabels: namespaceLabels(namespace) ?? enabled }, template)
    if (first.is !== 'skip' || !byNamespace.has(first.code)) return first
    // We are asked about Pods of namespaces that are enabled: what is known here may be a moment old.
    const fresh = await readNamespaceLabels(namespace)
    return fresh === undefined ? first : injectPod(pod, { namespace, namespaceLabels: fresh }, template)
  }

  /** On the Pod's owner, which people can see; a Pod that is refused never was. */
  #tell(pod: Pod, namespace: string, isRefused: boolean, reason: string): void {
    const { name, generateName = '', ownerReferences = [] } = pod.metadata ?? {}
    const owner = ownerReferences.find(({ controller }) => controller === true) ?? ownerReferences[0]
    const regarding =
      owner === undefined
        ? { apiVersion: 'v1', kind: 'Pod', namespace, name: name ?? generateName.replace(/-$/, '') }
        : { apiVersion: owner.apiVersion ?? '', kind: owner.kind, namespace, name: owner.name, uid: owner.uid }
    this.#options.events.tell(regarding, {
      type: 'Warning',
      reason: isRefused ? 'InjectionRefused' : 'NotInjected',
      action: 'Inject',
      note: `${isRefused ? 'the Pod was refused' : 'the Pod gets no sidecar'}: ${reason}`,
    })
  }
}

/** Nobody asked for these Pods to be left alone. */
const unexpected: ReadonlySet<string> = new Set(['host-network', 'windows'])
const byNamespace: ReadonlySet<string> = new Set(['no-label', 'namespace-label'])

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > bodyBytesMax) return undefined
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const body = `${JSON.stringify(value)}\n`
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

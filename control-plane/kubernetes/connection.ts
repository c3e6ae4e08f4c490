/** How the API server is called: credentials by the Kubernetes library, connections by undici. */
import { createHash } from 'node:crypto'
import type { RequestOptions } from 'node:https'
import type { KubeConfig } from '@kubernetes/client-node'
import { Agent, type Dispatcher } from 'undici'

/** What one request needs. */
export interface Connection {
  readonly dispatcher: Dispatcher
  /** Authorization, and whom to impersonate. */
  readonly headers: Readonly<Record<string, string>>
}

type TlsOptions = Pick<
  RequestOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'rejectUnauthorized' | 'servername'
>

const connectTimeoutMs = 10_000
/** A dead connection is found by the kernel although nothing is written: on a watch nothing ever is. */
const keepAliveProbeMs = 15_000

/**
 * The library's own dispatcher is made anew for each request (KubeConfig.applySecurityAuthentication, client-node 2.0.1): a TLS
 * handshake each, and undici's limit of 300 s for a body that is silent. This one keeps its connections for as long as the
 * credentials of TLS stay the same; files (the CA, the token of a Pod) are read again by the library.
 */
export class Connections {
  readonly #config: KubeConfig
  #held: { readonly key: string; readonly dispatcher: Dispatcher } | undefined

  constructor(config: KubeConfig) {
    this.#config = config
  }

  async get(): Promise<Connection> {
    const options: RequestOptions = {}
    await this.#config.applyToHTTPSOptions(options)
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(options.headers ?? {}))
      if (value !== undefined) headers[name.toLowerCase()] = String(value)
    if (typeof options.auth === 'string')
      headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`
    return { dispatcher: await this.#dispatcher(options), headers }
  }

  async close(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    await held?.dispatcher.destroy()
  }

  async #dispatcher(options: RequestOptions): Promise<Dispatcher> {
    const { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername } = options
    const tls: TlsOptions = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername }
    const proxy = this.#config.getCurrentCluster()?.proxyUrl
    const print = createHash('sha256')
    for (const part of [...Object.values(tls), proxy]) print.update(`${String(part)}\0`)
    const id = print.digest('hex')
    if (this.#held?.key === id) return this.#held.dispatcher
    // Requests that are under way end on the connections they have.
    const before = this.#held?.dispatcher
    this.#held = { key: id, dispatcher: proxy === undefined ? agent(tls) : await this.#proxyDispatcher() }
    void before?.close()
    return this.#held.dispatcher
  }

  async #proxyDispatcher(): Promise<Dispatcher> {
    const { HttpMethod, RequestContext } = await import('@kubernetes/client-node')
    const context = new RequestContext(this.#config.getCurrentCluster()?.server ?? '', HttpMethod.GET)
    await this.#config.applySecurityAuthentication(context)
    return context.getDispatcher() as unknown as Dispatcher
  }
}

function agent(tls: TlsOptions): Agent {
  const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined))
  return new Agent({
    // One connection for each watch: what one of them does to a connection is nobody else's trouble.
    allowH2: false,
    // Silence has its limits in Cluster, by the clock.
    bodyTimeout: 0,
    headersTimeout: 0,
    keepAliveTimeout: 30_000,
    connect: { ...given, timeout: connectTimeoutMs, keepAlive: true, keepAliveInitialDelay: keepAliveProbeMs },
  })
}

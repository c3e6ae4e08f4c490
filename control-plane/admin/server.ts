import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { type Log, messageOf } from '../../src/base/log.ts'
import { listen } from '../stream/listen.ts'

export type AdminHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

export interface AdminServerOptions {
  readonly log: Log
  /** Loopback, unless someone means it. */
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
}

interface Route {
  readonly method: 'GET' | 'POST'
  /** One that ends in `/` takes what follows too. */
  readonly path: string
  readonly handler: AdminHandler
  /** For callers from other machines, too, under any name; everything else is for loopback (and port-forwards). */
  readonly isPublic: boolean
}

/** What people and tools ask the control plane, in plain HTTP on 15014. Parts of the control plane mount their own routes. */
export class AdminServer {
  readonly #log: Log
  readonly #options: AdminServerOptions
  readonly #server: Server
  readonly #routes: Route[] = []

  constructor(options: AdminServerOptions) {
    this.#options = options
    this.#log = options.log.named('admin')
    this.#server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 5_000 })
    this.#server.on('request', (request, response) => void this.#answer(request, response))
  }

  route(method: Route['method'], path: string, handler: AdminHandler, isPublic = false): void {
    this.#routes.push({ method, path, handler, isPublic })
  }

  /** Listens. Throws an Error that names the remedy when it cannot. */
  async start(): Promise<void> {
    const { host, port } = this.#options
    await listen(this.#server, { host, port, what: 'status and traces', option: '--admin-port' })
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  /** Never rejects. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const path = (request.url ?? '/').split('?', 1)[0]!
      const matching = this.#routes.filter(
        (route) => route.path === path || (route.path.endsWith('/') && path.startsWith(route.path)),
      )
      if (!matching.some(({ isPublic }) => isPublic)) {
        const refusal = refusalOf(request, this.#options.host)
        if (refusal !== undefined) return text(response, 403, refusal)
      }
      if (matching.length === 0) {
        return text(
          response,
          404,
          `nothing at ${path}; there is: ${[...new Set(this.#routes.map((route) => route.path))].join(' ')}`,
        )
      }
      // HEAD is GET without the body, which node:http leaves out by itself.
      const method = request.method === 'HEAD' ? 'GET' : request.method
      const allowed = matching.filter((route) => route.method === method)
      // The exact path before a prefix, the longer prefix before the shorter.
      const route = allowed.sort((a, b) => b.path.length - a.path.length)[0]
      if (route === undefined) {
        response.setHeader('allow', [...new Set(matching.map((each) => each.method))].join(', '))
        return text(response, 405, `${request.method} is not for ${path}`)
      }
      await route.handler(request, response)
    } catch (error) {
      this.#log.error(`${request.method} ${request.url} failed`, { error })
      if (response.headersSent) response.destroy()
      else text(response, 500, messageOf(error))
    }
  }
}

/** Answers with JSON. */
export function json(response: ServerResponse, value: unknown, status = 200): void {
  send(response, status, 'application/json', `${JSON.stringify(value)}\n`)
}

function text(response: ServerResponse, status: number, message: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${message}\n`)
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(body)
}

/**
 * A web page cannot read us by pointing its own name at this address (DNS rebinding): such a request names that name in Host. An address,
 * localhost, or the name we were told to listen on can only be us. A page's own request to us carries its Origin.
 */
function refusalOf(request: IncomingMessage, host: string): string | undefined {
  // Bound to an address that others can reach, policy and traces are still only for who is on this machine or in this Pod.
  if (isWildcard(host) && !isLoopbackAddress(request.socket.remoteAddress ?? '')) {
    return 'only for callers on this host: in a cluster use kubectl port-forward, or the outrigger command'
  }
  const name = hostName(request.headers.host)
  if (
    name === undefined ||
    !(isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || name === host)
  ) {
    return `Host '${request.headers.host ?? ''}' is not served here: use the address, or localhost`
  }
  const { origin } = request.headers
  if (origin !== undefined && origin !== `http://${request.headers.host}`) return `pages of ${origin} may not read this`
  return undefined
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}

function hostName(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(header ?? '')
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isIP } from 'node:net'

/** What a handler answers. */
export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** One path of an endpoint. */
export interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** One line for the index. */
  readonly help: string
  /** Longest time until the answer; without it, an answer is due at once. */
  readonly answerMs?: number
  readonly answer: (query: URLSearchParams, request: IncomingMessage) => Answer | Promise<Answer>
}

export interface EndpointOptions {
  /** Port 0 takes any free one. */
  readonly address: string
  readonly port: number
  readonly name: string
  readonly routes: readonly Route[]
}

export interface HttpEndpoint {
  readonly address: string
  readonly port: number
  close(): Promise<void>
}

/** A hung scraper or a forgotten browser tab must not hold the process's file descriptors. */
const connectionsMax = 64
const idleTimeoutMs = 10_000

/**
 * A small HTTP server for people, kubelet and Prometheus; never on the path of a request of the mesh. Rejects with a
 * line that names the remedy when the port cannot be bound.
 */
export async function serveHttp(options: EndpointOptions): Promise<HttpEndpoint> {
  const { createServer } = await import('node:http')
  const server = createServer({ maxHeaderSize: 8_192, requestTimeout: idleTimeoutMs, headersTimeout: idleTimeoutMs })
  server.maxConnections = connectionsMax
  server.setTimeout(idleTimeoutMs)
  server.on('request', (request, response) => void respond(options, request, response))
  const { address, port } = await listen(server, options)
  return {
    address,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** JSON for people: indented. */
export function json(value: unknown, status = 200): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, shown, 2)}\n` }
}

export function text(body: string, status = 200): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: body.endsWith('\n') ? body : `${body}\n` }
}

/** What JSON cannot say; and a private key never leaves, whatever a source hands us. */
function shown(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Map) return Object.fromEntries(value)
  if (value instanceof Set) return [...value]
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (typeof value === 'string' && value.includes('PRIVATE KEY')) return '[redacted]'
  return value
}

async function respond(options: EndpointOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume()
  let answer: Answer
  try {
    answer = await answerOf(options, request)
  } catch (error) {
    answer = text(`${options.name}: ${error instanceof Error ? error.message : String(error)}`, 500)
  }
  response.on('error', () => {
    // The reader went away: there is nobody to tell.
  })
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(request.method === 'HEAD' ? '' : answer.body)
}

function answerOf(options: EndpointOptions, request: IncomingMessage): Answer | Promise<Answer> {
  const host = request.headers.host
  if (!isDirectHost(host)) {
    return text(
      `${options.name}: Host '${printableHost(host)}' is not an address: a web page could be behind it (DNS rebinding). ` +
        'Use localhost or the IP address.',
      421,
    )
  }
  const target = request.url ?? '/'
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  const method = request.method === 'HEAD' ? 'GET' : request.method
  const here = options.routes.filter((route) => route.path === path)
  const route = here.find((candidate) => candidate.method === method)
  if (route === undefined) {
    if (path === '/') return text(index(options))
    if (here.length > 0) return text(`${options.name}: ${path} takes ${here[0]!.method} only`, 405)
    return text(`${options.name}: no such path. There are:\n\n${index(options)}`, 404)
  }
  // Browsers put Origin on every cross-site POST and let no page take it off.
  if (route.method === 'POST' && request.headers.origin !== undefined) {
    return text(`${options.name}: ${path} does not answer web pages`, 403)
  }
  if (route.answerMs !== undefined) request.socket.setTimeout(Math.max(idleTimeoutMs, route.answerMs + 1_000))
  return route.answer(new URLSearchParams(query === -1 ? '' : target.slice(query + 1)), request)
}

function index({ routes }: EndpointOptions): string {
  const width = Math.max(...routes.map((route) => route.path.length))
  return routes.map((route) => `${route.method.padEnd(4)}  ${route.path.padEnd(width)}  ${route.help}`).join('\n')
}

/**
 * A rebinding attack needs a DNS name that the attacker owns: `localhost` and literal addresses are safe, every other
 * name is refused. A missing Host (HTTP/1.0 probes) names nobody.
 */
export function isDirectHost(host: string | undefined): boolean {
  if (host === undefined) return true
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?$/.exec(host)
  if (match === null) return false
  if (match[1] !== undefined) return isIP(match[1]) === 6
  return match[2]!.toLowerCase() === 'localhost' || isIP(match[2]!) === 4
}

function printableHost(host: string | undefined): string {
  return (host ?? '').replace(/[^\x21-\x7e]/g, '?').slice(0, 128)
}

/** `::` is every address of both families; of IPv4 alone where the host has no IPv6. */
async function listen(server: Server, options: EndpointOptions): Promise<AddressInfo> {
  try {
    return await listenOn(server, options)
  } catch (error) {
    const { code } = (error as Error).cause as NodeJS.ErrnoException
    if (options.address !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error
    return listenOn(server, { ...options, address: '0.0.0.0' })
  }
}

function listenOn(server: Server, { address, port, name }: EndpointOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new Error(`${name} cannot listen on ${address}:${port}: ${remedy(error, port)}`, { cause: error }))
    })
    server.listen({ host: address, port, exclusive: true }, () => {
      server.removeAllListeners('error')
      server.on('error', () => {
        // Accepting failed (too many open files): the next connection is tried again.
      })
      resolve(server.address() as AddressInfo)
    })
  })
}

function remedy(error: NodeJS.ErrnoException, port: number): string {
  if (error.code === 'EADDRINUSE') return `another program has the port; end it or choose another port than ${port}`
  if (error.code === 'EACCES') return 'no permission; choose a port above 1023'
  if (error.code === 'EADDRNOTAVAIL') return 'this machine does not have that address'
  return error.message
}

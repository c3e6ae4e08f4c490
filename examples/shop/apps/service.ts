/**
 * What the services of the shop share. Nothing here knows of a mesh: it is plain node:http, it listens on
 * HOST and PORT, calls its neighbours by name, and reaches them through a proxy when http_proxy says so (Node's own
 * support, NODE_USE_ENV_PROXY=1). The one courtesy that every mesh asks of an application is `forwarded` below.
 *
 * For the scenarios each service counts what reaches it and can be told to fail. Both live under /_, on the
 * service's own port, which nothing but the person at the keyboard dials:
 *   GET  /_counts                                  requests, by path and by status, and bytes that callers sent
 *   POST /_switch?failPercent=100&failStatus=503   start failing;  failPercent=0 heals
 */
import { randomInt } from 'node:crypto'
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** What one service answers; `served` is the chain of services behind the answer, nearest first. */
export interface Answer {
  readonly status: number
  readonly served: readonly string[]
  readonly body: object
}

export interface Call {
  readonly path: string
  /** Headers to send along with every call made to answer this one. */
  readonly forwarded: Record<string, string>
}

const name = process.env['SERVICE'] ?? 'service'
const version = process.env['VERSION'] ?? 'v1'
/** How this process calls itself in `x-served-by`: `orders-v1`. */
export const self = `${name}-${version}`

// Trace context (W3C and B3), and what the shop itself passes along: who is a tester.
const forwardedHeaders = [
  'traceparent',
  'tracestate',
  'baggage',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'x-request-id',
  'x-canary',
]

const failing = {
  percent: Number(process.env['FAIL_PERCENT'] ?? 0),
  status: Number(process.env['FAIL_STATUS'] ?? 503),
}

/** Serves until SIGTERM. `answer` gets every request that is not under /_. */
export function serve(answer: (call: Call) => Promise<Answer> | Answer): void {
  const counts = new Counts()
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://service')
    if (url.pathname.startsWith('/_')) return admin(counts, url, request, response)
    request.resume()
    void reply(counts, url.pathname, request, response, answer)
  })
  server.on('connection', (socket) => counts.opened(socket))
  // Longer than any proxy in front keeps an idle connection, so that it is never this side that closes first.
  server.keepAliveTimeout = 75_000
  const port = Number(process.env['PORT'] ?? 8080)
  const host = process.env['HOST'] ?? '0.0.0.0'
  server.on('error', (error) => {
    console.error(`${self}: cannot listen on ${host}:${port}: ${error.message}`)
    process.exit(1)
  })
  server.listen(port, host, () => console.log(`${self} listens on ${host}:${port}`))
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
  })
}

/** Calls a neighbour by name, through the proxy if the environment names one. */
export function call(url: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (why: string): void => resolve({ status: 502, served: [], body: { error: `${url}: ${why}` } })
    const request = http.get(url, { headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('error', (error) => failed(error.message))
      response.on('end', () => {
        const served = response.headers['x-served-by']
        resolve({
          status: response.statusCode ?? 502,
          served: typeof served === 'string' ? served.split(', ') : [],
          body: parse(text),
        })
      })
    })
    request.on('error', (error) => failed(error.message))
  })
}

/** Of the headers of a request, what goes along with the calls that it makes necessary. */
export function forwardedOf(headers: IncomingHttpHeaders): Record<string, string> {
  const forwarded: Record<string, string> = {}
  for (const header of forwardedHeaders) {
    const value = headers[header]
    if (typeof value === 'string') forwarded[header] = value
  }
  return forwarded
}

function parse(text: string): object {
  try {
    return JSON.parse(text) as object
  } catch {
    return { text }
  }
}

async function reply(
  counts: Counts,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  answer: (call: Call) => Promise<Answer> | Answer,
): Promise<void> {
  counts.received(path)
  const forwarded = forwardedOf(request.headers)
  const result: Answer =
    failing.percent > randomInt(100)
      ? { status: failing.status, served: [], body: { error: `${self} was told to fail` } }
      : await answer({ path, forwarded })
  counts.answered(result.status)
  const body = JSON.stringify(result.body)
  response.writeHead(result.status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-served-by': [self, ...result.served].join(', '),
  })
  response.end(body)
}

function admin(counts: Counts, url: URL, request: IncomingMessage, response: ServerResponse): void {
  counts.isAdmin(request.socket)
  request.resume()
  if (url.pathname === '/_switch' && request.method === 'POST') {
    failing.percent = Number(url.searchParams.get('failPercent') ?? failing.percent)
    failing.status = Number(url.searchParams.get('failStatus') ?? failing.status)
  } else if (url.pathname !== '/_counts') {
    response.writeHead(404).end()
    return
  }
  response.writeHead(200, { 'content-type': 'application/json', connection: 'close' })
  response.end(JSON.stringify({ service: self, failing, ...counts.read() }))
}

/** What callers sent, those of /_ excluded. */
class Counts {
  #requests = 0
  readonly #byPath: Record<string, number> = {}
  readonly #byStatus: Record<string, number> = {}
  #bytesOfClosed = 0
  readonly #open = new Set<Socket>()

  opened(socket: Socket): void {
    this.#open.add(socket)
    socket.once('close', () => {
      if (this.#open.delete(socket)) this.#bytesOfClosed += socket.bytesRead
    })
  }

  isAdmin(socket: Socket): void {
    this.#open.delete(socket)
  }

  received(path: string): void {
    this.#requests++
    this.#byPath[path] = (this.#byPath[path] ?? 0) + 1
  }

  answered(status: number): void {
    this.#byStatus[status] = (this.#byStatus[status] ?? 0) + 1
  }

  read(): object {
    let bytes = this.#bytesOfClosed
    for (const socket of this.#open) bytes += socket.bytesRead
    return { requests: this.#requests, bytes, byPath: this.#byPath, byStatus: this.#byStatus }
  }
}

/**
 * gRPC as far as the shop needs it, in plain node:http2: unary calls whose messages are JSON (`application/grpc+json`), so that
 * no generated code stands between the reader and what is said. Like `service.ts` it knows nothing of a mesh, and goes through
 * the proxy of the environment: to a sidecar, HTTP/2 names whom it calls in `:authority`.
 */
import http2, { type ClientHttp2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { forwardedOf, self } from './service.ts'

/** Names of the codes that the shop uses (grpc doc/statuscodes.md). */
export const ok = 0
const notFound = 5
const unimplemented = 12
const unavailable = 14

/** An outcome other than OK. */
export class CallError extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }

  static notFound(message: string): CallError {
    return new CallError(notFound, message)
  }
}

export interface Reply {
  readonly code: number
  /** Empty unless something went wrong. */
  readonly message: string
  readonly body: object
}

type Method = (request: Record<string, unknown>, forwarded: Record<string, string>) => object

/** Serves methods by their path (`/shop.Shipping/Quote`) until SIGTERM. */
export function serveCalls(methods: Record<string, Method>): void {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    read(stream, (message) => {
      try {
        const method = methods[String(headers[':path'])]
        if (method === undefined) throw new CallError(unimplemented, `${self} has no ${String(headers[':path'])}`)
        answer(stream, method(message, forwardedOf(headers)))
      } catch (error) {
        const { code, message: said } = error instanceof CallError ? error : new CallError(2, String(error))
        // Nothing but an outcome: it stands in the head.
        const outcome = { 'grpc-status': code, 'grpc-message': encodeURIComponent(said) }
        stream.respond({ ':status': 200, 'content-type': 'application/grpc+json', ...outcome }, { endStream: true })
      }
    })
  })
  const port = Number(process.env['PORT'] ?? 8080)
  const host = process.env['HOST'] ?? '0.0.0.0'
  server.on('error', (error) => {
    console.error(`${self}: cannot listen on ${host}:${port}: ${error.message}`)
    process.exit(1)
  })
  server.listen(port, host, () => console.log(`${self} listens on ${host}:${port}`))
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0))
    // GOAWAY: what is under way ends, and callers come back elsewhere.
    for (const session of sessions) session.close()
  })
}

function answer(stream: ServerHttp2Stream, body: object): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+json' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': ok }))
  stream.end(framed(body))
}

let session: ClientHttp2Session | undefined

/** Calls a method of a service (`shipping:8080`); every outcome is a reply. */
export function callMethod(service: string, path: string, request: object, headers: object): Promise<Reply> {
  return new Promise((resolve) => {
    if (session === undefined || session.closed || session.destroyed) {
      session = http2.connect(process.env['http_proxy'] ?? `http://${service}`)
      // The stream that was under way says what came of it.
      session.on('error', () => {})
      session.unref()
    }
    const stream = session.request({
      ...headers,
      ':method': 'POST',
      ':path': path,
      ':authority': service,
      'content-type': 'application/grpc+json',
      te: 'trailers',
      'grpc-timeout': '2S',
    })
    let outcome: IncomingHttpHeaders = {}
    let body: object = {}
    stream.on('response', (head) => {
      if (head['grpc-status'] !== undefined) outcome = head
    })
    stream.on('trailers', (trailers) => {
      outcome = trailers
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      const code = outcome['grpc-status']
      const message = decodeURIComponent(String(outcome['grpc-message'] ?? ''))
      if (code === undefined) resolve({ code: unavailable, message: 'the call broke off', body: {} })
      else resolve({ code: Number(code), message, body })
    })
    read(stream, (message) => {
      body = message
    })
    stream.end(framed(request))
  })
}

/** A message as it travels: whether it is compressed (never, here), its length, and itself. */
function framed(body: object): Buffer {
  const text = Buffer.from(JSON.stringify(body))
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(text.length, 1)
  return Buffer.concat([prefix, text])
}

/** Hands on the one message of a stream when the stream is at its end. */
function read(stream: http2.Http2Stream, then: (message: Record<string, unknown>) => void): void {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('end', () => {
    const text = Buffer.concat(chunks).subarray(5).toString()
    then(text === '' ? {} : (JSON.parse(text) as Record<string, unknown>))
  })
}

/** Applications that speak HTTP/2 without TLS: one of Node's own that keeps what it got, one that says what a test tells it to. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type net from 'node:net'
import { settings } from './frames.ts'
import { RawHttp2 } from './raw.ts'

/** A request as it arrived. */
export interface Seen {
  readonly path: string
  readonly headers: http2.IncomingHttpHeaders
  /** Names and values in their order, as they came. */
  readonly raw: readonly string[]
  body: string
  trailers: http2.IncomingHttpHeaders | undefined
  /** It has arrived whole. */
  whole: boolean
}

/** Node's server (nghttp2). Each request is answered 200 `ok` when it is whole, or as `handle` says. */
export class Http2App implements AsyncDisposable {
  readonly server: http2.Http2Server
  readonly seen: Seen[] = []
  /** Streams that are under way, and the most there ever were. */
  open = 0
  mostOpen = 0
  readonly sessions = new Set<http2.ServerHttp2Session>()
  /** In place of the answer. */
  handle: ((stream: http2.ServerHttp2Stream, seen: Seen) => void) | undefined
  #port = 0

  private constructor(options: http2.ServerOptions) {
    this.server = http2.createServer(options)
    // After some resets Node forgets the handle of a socket that it has destroyed: it must keep no process alive.
    this.server.on('connection', (socket: net.Socket) => socket.unref())
    this.server.on('session', (session) => {
      this.sessions.add(session)
      session.on('error', () => {})
      session.on('close', () => this.sessions.delete(session))
    })
    this.server.on('stream', (stream: http2.ServerHttp2Stream, headers, _flags, raw: string[]) =>
      this.#take(stream, headers, raw),
    )
  }

  static async start(options: http2.ServerOptions = {}): Promise<Http2App> {
    const app = new Http2App({ settings: { maxConcurrentStreams: 10_000 }, ...options })
    app.server.listen(0, '127.0.0.1')
    await once(app.server, 'listening')
    app.#port = (app.server.address() as net.AddressInfo).port
    return app
  }

  get port(): number {
    return this.#port
  }

  /** What it has got since it was asked last. */
  take(): Seen[] {
    return this.seen.splice(0)
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.sessions) session.destroy()
    this.server.close()
    return Promise.resolve()
  }

  #take(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, raw: readonly string[]): void {
    const path = String(headers[':path'])
    const seen: Seen = { path, headers, raw, body: '', trailers: undefined, whole: false }
    this.seen.push(seen)
    this.open++
    this.mostOpen = Math.max(this.mostOpen, this.open)
    stream.on('error', () => {})
    stream.on('close', () => this.open--)
    stream.on('data', (chunk: Buffer) => (seen.body += chunk.toString('latin1')))
    stream.on('trailers', (trailers) => (seen.trailers = trailers))
    stream.on('end', () => (seen.whole = !stream.aborted))
    if (this.handle !== undefined) {
      this.handle(stream, seen)
      return
    }
    stream.on('end', () => {
      if (stream.destroyed || stream.closed) return
      stream.respond({ ':status': 200 })
      stream.end('ok')
    })
  }
}

export interface Http2Server extends Disposable {
  readonly port: number
  readonly sessions: ReadonlySet<http2.ServerHttp2Session>
}

/** Node's server with nothing of its own: each stream is for `onStream`. */
export async function startHttp2Server(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: http2.ServerOptions = {},
): Promise<Http2Server> {
  const sessions = new Set<http2.ServerHttp2Session>()
  const server = http2.createServer(options)
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    onStream(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    sessions,
    [Symbol.dispose]: () => {
      for (const session of sessions) session.destroy()
      server.close()
    },
  }
}

/** For `tcp` of a workload: each connection as frames, its SETTINGS sent; `onRequest` answers. */
export function http2Frames(
  onRequest: (peer: RawHttp2, stream: number) => void,
  onConnection: (peer: RawHttp2) => void = (peer) => peer.send(settings()),
): (socket: net.Socket) => void {
  return (socket) => {
    const peer = new RawHttp2(socket, 'server')
    // Servers for `tcp` let a socket be half open.
    socket.on('end', () => socket.end())
    peer.onRequest = (stream) => onRequest(peer, stream)
    onConnection(peer)
  }
}

/**
 * One gRPC stream over one TLS connection, by Node's own HTTP/2 client. A thousand clients share one CPU with nothing to
 * spare for the comforts of grpc-js: what is measured is the server.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls'

export interface GrpcStreamOptions {
  readonly port: number
  readonly secureContext: SecureContext
  readonly path: string
  /** The server has answered with its headers. */
  readonly onOpen: () => void
  readonly onMessage: (message: Buffer) => void
  /** It is over; called once. */
  readonly onEnd: (error: Error) => void
}

const prefixBytes = 5

export class GrpcStream {
  readonly #options: GrpcStreamOptions
  readonly #socket: TLSSocket
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  #unread: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(options: GrpcStreamOptions) {
    this.#options = options
    this.#socket = connectTls({
      host: '127.0.0.1',
      port: options.port,
      secureContext: options.secureContext,
      servername: 'control-plane.outrigger',
      ALPNProtocols: ['h2'],
      // The chain is checked against the root; the name in it is the real client's concern.
      checkServerIdentity: () => undefined,
    })
    this.#socket.setNoDelay(true)
    this.#socket.on('error', (error) => this.#end(error))
    this.#session = connectHttp2('https://control-plane.outrigger', { createConnection: () => this.#socket })
    this.#session.on('error', (error) => this.#end(error))
    this.#session.on('close', () => this.#end(new Error('the connection was closed')))
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': options.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    this.#stream.on('response', () => options.onOpen())
    this.#stream.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#stream.on('error', (error) => this.#end(error))
    this.#stream.on('trailers', (trailers) => this.#end(new Error(`grpc-status ${String(trailers['grpc-status'])}`)))
    this.#stream.on('close', () => this.#end(new Error('the stream was closed')))
  }

  send(message: Uint8Array): void {
    if (this.#ended) return
    const framed = Buffer.alloc(prefixBytes + message.length)
    framed.writeUInt32BE(message.length, 1)
    framed.set(message, prefixBytes)
    this.#stream.write(framed)
  }

  /** Calls back when the other end has answered. */
  ping(answered: () => void): void {
    if (this.#ended || this.#session.destroyed || this.#session.closed) return
    this.#session.ping((error) => {
      if (error === null) answered()
    })
  }

  /** The connection is gone, as when a network is cut. */
  cut(error: Error): void {
    this.#socket.destroy(error)
  }

  /** Reads nothing any more, and answers nothing. */
  stall(): void {
    this.#stream.pause()
    this.#socket.pause()
  }

  /** Ends it without a word. */
  close(): void {
    this.#ended = true
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    while (this.#unread.length >= prefixBytes) {
      const end = prefixBytes + this.#unread.readUInt32BE(1)
      if (this.#unread.length < end) return
      const message = this.#unread.subarray(prefixBytes, end)
      this.#unread = this.#unread.subarray(end)
      this.#options.onMessage(message)
    }
  }

  #end(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.destroy()
    this.#options.onEnd(error)
  }
}

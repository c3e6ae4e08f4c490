/**
 * One gRPC stream over one TLS connection, in HTTP/2 frames of its own making: a thousand clients share one CPU, and with a
 * whole HTTP/2 client each they, not the control plane, would be what is measured. It knows what such a stream needs (RFC
 * 9113: DATA, HEADERS, SETTINGS, PING, the windows of what it sends) and nothing else.
 */
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
const headBytes = 9
/** The least that a peer must take, and the window that each side begins with (RFC 9113 4.2, 6.9.2). */
const frameMax = 16_384
const firstWindow = 65_535
/** Of what it reads: more than all that is ever said to one sidecar, so that no update is ever due. */
const endless = 2 ** 31 - 1
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const streamId = 1

const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const
const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const
const setting = { headerTableSize: 1, enablePush: 2, initialWindowSize: 4 } as const

export class GrpcStream {
  readonly #options: GrpcStreamOptions
  readonly #socket: TLSSocket
  /** Bytes of a frame, and of a message, that are not all here yet. */
  #frames: Buffer = Buffer.alloc(0)
  #message: Buffer = Buffer.alloc(0)
  #windows = { connection: firstWindow, stream: firstWindow, initial: firstWindow }
  #waiting: Buffer[] = []
  #pinged: (() => void) | undefined
  #isOpen = false
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
    this.#socket.on('close', () => this.#end(new Error('the connection was closed')))
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.write(
      Buffer.concat([
        Buffer.from(preface, 'latin1'),
        frame(
          type.settings,
          0,
          0,
          settings([setting.headerTableSize, 0], [setting.enablePush, 0], [setting.initialWindowSize, endless]),
        ),
        frame(type.windowUpdate, 0, 0, number(endless - firstWindow)),
        frame(type.headers, flag.endHeaders, streamId, requestHeaders(options.path)),
      ]),
    )
  }

  send(message: Uint8Array): void {
    if (this.#ended) return
    const framed = Buffer.allocUnsafe(prefixBytes + message.length)
    framed[0] = 0
    framed.writeUInt32BE(message.length, 1)
    framed.set(message, prefixBytes)
    for (let at = 0; at < framed.length; at += frameMax) this.#waiting.push(framed.subarray(at, at + frameMax))
    this.#flush()
  }

  /** Calls back when the other end has answered. */
  ping(answered: () => void): void {
    if (this.#ended) return
    this.#pinged = answered
    this.#socket.write(frame(type.ping, 0, 0, Buffer.alloc(8)))
  }

  /** The connection is gone, as when a network is cut. */
  cut(error: Error): void {
    this.#socket.destroy(error)
  }

  /** Reads nothing any more, and answers nothing. */
  stall(): void {
    this.#socket.pause()
  }

  /** Ends it without a word. */
  close(): void {
    this.#ended = true
    this.#socket.destroy()
  }

  #flush(): void {
    const { connection, stream } = this.#windows
    let window = Math.min(connection, stream)
    const before = window
    while (this.#waiting[0] !== undefined && this.#waiting[0].length <= window) {
      const piece = this.#waiting.shift()!
      window -= piece.length
      this.#socket.write(frame(type.data, 0, streamId, piece))
    }
    this.#windows.connection -= before - window
    this.#windows.stream -= before - window
  }

  #read(chunk: Buffer): void {
    let rest = this.#frames.length === 0 ? chunk : Buffer.concat([this.#frames, chunk])
    while (rest.length >= headBytes && !this.#ended) {
      const end = headBytes + rest.readUIntBE(0, 3)
      if (rest.length < end) break
      this.#take(rest[3]!, rest[4]!, rest.readUInt32BE(5), rest.subarray(headBytes, end))
      rest = rest.subarray(end)
    }
    this.#frames = rest
  }

  #take(kind: number, flags: number, id: number, payload: Buffer): void {
    switch (kind) {
      case type.data:
        if ((flags & flag.padded) !== 0) this.#end(new Error('a padded frame, which this bench does not read'))
        else this.#data(payload)
        break
      case type.headers:
        if (!this.#isOpen) {
          this.#isOpen = true
          if ((flags & flag.endStream) === 0) this.#options.onOpen()
        }
        break
      case type.settings:
        if ((flags & flag.ack) === 0) this.#configure(payload)
        break
      case type.ping:
        if ((flags & flag.ack) === 0) this.#socket.write(frame(type.ping, flag.ack, 0, payload))
        else this.#pinged?.()
        break
      case type.windowUpdate:
        this.#windows[id === 0 ? 'connection' : 'stream'] += payload.readUInt32BE(0)
        this.#flush()
        break
      case type.goaway:
        this.#end(new Error(`GOAWAY with code ${payload.readUInt32BE(4)}`))
        break
      case type.reset:
        this.#end(new Error(`RST_STREAM with code ${payload.readUInt32BE(0)}`))
        break
    }
    const isLast = (kind === type.data || kind === type.headers) && (flags & flag.endStream) !== 0
    if (isLast) this.#end(new Error('the control plane ended the stream'))
  }

  #configure(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== setting.initialWindowSize) continue
      const initial = payload.readUInt32BE(at + 2)
      this.#windows.stream += initial - this.#windows.initial
      this.#windows.initial = initial
    }
    this.#socket.write(frame(type.settings, flag.ack, 0, Buffer.alloc(0)))
    this.#flush()
  }

  #data(chunk: Buffer): void {
    let rest = this.#message.length === 0 ? chunk : Buffer.concat([this.#message, chunk])
    while (rest.length >= prefixBytes) {
      const end = prefixBytes + rest.readUInt32BE(1)
      if (rest.length < end) break
      const message = rest.subarray(prefixBytes, end)
      rest = rest.subarray(end)
      this.#options.onMessage(message)
    }
    this.#message = rest
  }

  #end(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.destroy()
    this.#options.onEnd(error)
  }
}

function frame(kind: number, flags: number, id: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headBytes + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = kind
  bytes[4] = flags
  bytes.writeUInt32BE(id, 5)
  bytes.set(payload, headBytes)
  return bytes
}

function settings(...pairs: (readonly [number, number])[]): Buffer {
  const bytes = Buffer.alloc(6 * pairs.length)
  for (const [at, [name, value]] of pairs.entries()) {
    bytes.writeUInt16BE(name, 6 * at)
    bytes.writeUInt32BE(value, 6 * at + 2)
  }
  return bytes
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** HPACK (RFC 7541): `:method: POST` and `:scheme: https` by their index, the others literally and never indexed. */
function requestHeaders(path: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x83, 0x87]),
    literal(':path', path),
    literal(':authority', 'control-plane.outrigger'),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
  ])
}

function literal(name: string, value: string): Buffer {
  const text = (of: string): Buffer => {
    // One byte of length is enough for what is said here (RFC 7541 5.1: below 127).
    if (of.length >= 127) throw new Error(`'${of}' is too long for this bench`)
    return Buffer.concat([Buffer.from([of.length]), Buffer.from(of, 'latin1')])
  }
  return Buffer.concat([Buffer.from([0x10]), text(name), text(value)])
}

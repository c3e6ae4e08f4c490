/**
 * The server of gRPC's negative cases (https://github.com/grpc/grpc/blob/master/doc/negative-http2-interop-test-descriptions.md),
 * whose own one is in none of the registries: UnaryCall of grpc.testing.TestService, answered as the case says.
 */
import { once } from 'node:events'
import net from 'node:net'
import { http2Frames } from '../support/http2/app.ts'
import {
  flags,
  frame,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  types,
  windowUpdate,
} from '../support/http2/frames.ts'
import { block } from '../support/http2/hpack.ts'
import type { RawHttp2 } from '../support/http2/raw.ts'

export type BadServerCase =
  | 'goaway'
  | 'rst_after_header'
  | 'rst_during_data'
  | 'rst_after_data'
  | 'ping'
  | 'max_streams'

/** Bytes in the body of an answer that the cases ask for. */
const bodyBytes = 314_159
const pieceBytes = 16_384

/** SimpleResponse with a Payload of COMPRESSABLE, which is 0, with the prefix of a message of gRPC. */
const message = ((): Buffer => {
  const payload = Buffer.concat([Buffer.from([0x12]), varint(bodyBytes), Buffer.alloc(bodyBytes)])
  const response = Buffer.concat([Buffer.from([0x0a]), varint(payload.length), payload])
  return Buffer.concat([Buffer.from([0]), numbers(response.length), response])
})()

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

/** What the peer at the other end of one connection lets us send. */
class Windows {
  readonly #peer: RawHttp2
  readonly #streams = new Map<number, number>()
  #connection = 65_535
  #read = 0

  constructor(peer: RawHttp2) {
    this.#peer = peer
  }

  #update(): void {
    for (; this.#read < this.#peer.frames.length; this.#read++) {
      const { type, stream, payload } = this.#peer.frames[this.#read]!
      if (type !== types.window) continue
      if (stream === 0) this.#connection += payload.readUInt32BE(0)
      else this.#streams.set(stream, (this.#streams.get(stream) ?? 0) + payload.readUInt32BE(0))
    }
  }

  /** Resolves when so many bytes may be sent; false when the stream or the connection is gone. */
  async take(stream: number, bytes: number): Promise<boolean> {
    const peer = this.#peer
    const isOpen = (): boolean => {
      this.#update()
      const window = (peer.settings.initialWindowSize ?? 65_535) + (this.#streams.get(stream) ?? 0)
      return Math.min(window, this.#connection) >= bytes || peer.answer(stream).reset !== undefined
    }
    if (!(await peer.until(isOpen, 30_000)) || peer.answer(stream).reset !== undefined) return false
    this.#connection -= bytes
    this.#streams.set(stream, (this.#streams.get(stream) ?? 0) - bytes)
    return true
  }
}

export class BadServer implements AsyncDisposable {
  readonly #server: net.Server
  readonly #peers = new Map<
    RawHttp2,
    { readonly windows: Windows; readonly open: Set<number>; last: number | undefined }
  >()
  #is: BadServerCase = 'goaway'
  port = 0
  /** Since the case began. */
  connections = 0
  requests = 0
  pings = 0
  /** PINGs that were answered. */
  pongs = 0
  /** Of one connection. */
  streamsMax = 100
  problems: string[] = []

  private constructor() {
    this.#server = net.createServer(
      http2Frames(
        (peer, stream) => void this.#answer(peer, stream),
        (peer) => {
          this.connections++
          this.#peers.set(peer, { windows: new Windows(peer), open: new Set(), last: undefined })
          peer.socket.on('close', () => this.#peers.delete(peer))
          let read = 0
          peer.socket.on('frames', () => {
            for (; read < peer.frames.length; read++) {
              const { type, flags: flag } = peer.frames[read]!
              if (type === types.ping && flag & flags.ack) this.pongs++
            }
          })
          peer.send(
            settings({ initialWindowSize: 0x7fff_ffff, maxConcurrentStreams: this.streamsMax }),
            windowUpdate(0, 0x7fff_0000),
          )
        },
      ),
    )
  }

  static async start(): Promise<BadServer> {
    const bad = new BadServer()
    bad.#server.listen(0, '127.0.0.1')
    await once(bad.#server, 'listening')
    bad.port = (bad.#server.address() as net.AddressInfo).port
    return bad
  }

  /** From now on; connections of earlier cases end. */
  be(is: BadServerCase): void {
    for (const peer of this.#peers.keys()) peer.socket.destroy()
    this.#peers.clear()
    this.#is = is
    this.streamsMax = is === 'max_streams' ? 3 : 100
    this.connections = 0
    this.requests = 0
    this.pings = 0
    this.pongs = 0
    this.problems = []
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers.keys()) peer.socket.destroy()
    this.#server.close()
    return Promise.resolve()
  }

  async #answer(peer: RawHttp2, stream: number): Promise<void> {
    const is = this.#is
    const known = this.#peers.get(peer)
    if (known === undefined) return
    this.requests++
    if (known.last !== undefined) this.problems.push(`stream ${stream} behind a GOAWAY with ${known.last}`)
    known.open.add(stream)
    // Until it has acknowledged our SETTINGS it need not know of a limit (RFC 9113 section 6.5.3).
    const isTold = peer.frames.some(({ type, flags: flag }) => type === types.settings && flag & flags.ack)
    if (isTold && known.open.size > this.streamsMax)
      this.problems.push(`${known.open.size} streams where ${this.streamsMax} are allowed`)
    await peer.whole(stream, 30_000)
    if (is === 'goaway') {
      known.last = stream
      peer.send(goaway(stream, 'NO_ERROR'))
    }
    await this.#send(peer, stream, known.windows, is)
    known.open.delete(stream)
  }

  async #send(peer: RawHttp2, stream: number, windows: Windows, is: BadServerCase): Promise<void> {
    const send = (bytes: Buffer): void => {
      if (is === 'ping') {
        this.pings++
        peer.send(ping())
      }
      peer.send(bytes)
    }
    send(
      headers(
        stream,
        block([
          [':status', '200'],
          ['content-type', 'application/grpc'],
        ]),
        flags.endHeaders,
      ),
    )
    if (is === 'rst_after_header') return peer.send(reset(stream, 'NO_ERROR'))
    const to = is === 'rst_during_data' ? message.length >> 1 : message.length
    for (let at = 0; at < to; at += pieceBytes) {
      const piece = message.subarray(at, Math.min(to, at + pieceBytes))
      if (!(await windows.take(stream, piece.length))) return
      send(frame(types.data, 0, stream, piece))
    }
    if (is === 'rst_during_data' || is === 'rst_after_data') return peer.send(reset(stream, 'NO_ERROR'))
    send(headers(stream, block([['grpc-status', '0']])))
  }
}

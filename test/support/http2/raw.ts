/** One end of an HTTP/2 connection that sends the frames it is told to, and keeps all that comes back. */
import { once } from 'node:events'
import net from 'node:net'
import {
  type ErrorName,
  errorOf,
  type Frame,
  FrameReader,
  flags,
  head,
  preface,
  readSettings,
  type Settings,
  settings,
  types,
  windowUpdate,
} from './frames.ts'
import { block, type Field, HpackReader } from './hpack.ts'

/** What came on one stream. */
export class Answer {
  /** Of the last head that is no 1xx; 0 before it. */
  status = 0
  head: readonly Field[] = []
  body = ''
  trailers: readonly Field[] | undefined
  informational: number[] = []
  /** Reason of the peer's RST_STREAM. */
  reset: ErrorName | undefined
  /** No more comes: the stream has ended, was reset, or the connection is gone. */
  over = false

  /** A field of the head, or of the trailers; lower-case. */
  field(name: string): string | undefined {
    return [...this.head, ...(this.trailers ?? [])].find(([known]) => known === name)?.[1]
  }
}

export class RawHttp2 implements Disposable {
  readonly socket: net.Socket
  /** All frames in their order, but those of DATA. */
  readonly frames: Frame[] = []
  /** Of the peer, as they are now. */
  settings: Settings = {}
  /** The last one. */
  goaway: { readonly lastStream: number; readonly error: ErrorName | undefined } | undefined
  /** How the peer ended the connection. */
  ended: 'end' | 'reset' | undefined
  /** False: SETTINGS and PING are not acknowledged. */
  polite = true
  /** At the end of a server: a request has begun, its head is here. */
  onRequest: ((stream: number, fields: readonly Field[]) => void) | undefined
  #nextStream = 1
  readonly #answers = new Map<number, Answer>()
  readonly #reader = new FrameReader()
  readonly #hpack = new HpackReader()
  #fragments: Buffer[] = []
  /** Bytes of the preface that are still to come. */
  #prefaceLeft: number

  constructor(socket: net.Socket, end: 'client' | 'server' = 'client') {
    this.socket = socket
    // Each stream that is waited for has some.
    socket.setMaxListeners(0)
    this.#prefaceLeft = end === 'server' ? preface.length : 0
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(this.#prefaceLeft, chunk.length)
      this.#prefaceLeft -= skipped
      for (const frame of this.#reader.push(chunk.subarray(skipped))) this.#take(frame)
      socket.emit('frames')
    })
    const over = (how: 'end' | 'reset') => (): void => {
      this.ended ??= how
      for (const answer of this.#answers.values()) answer.over = true
      socket.emit('frames')
    }
    socket.on('end', over('end'))
    socket.on('error', over('reset'))
    socket.on('close', over('reset'))
  }

  /** Connects and sends preface, SETTINGS and, unless these say otherwise, windows that never close. */
  static async open(to: { readonly port: number; readonly host?: string }, said?: Settings): Promise<RawHttp2> {
    const socket = net.connect({ port: to.port, host: to.host ?? '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return RawHttp2.greet(socket, said)
  }

  /** The same on a connection that is open. */
  static greet(
    socket: net.Socket,
    said: Settings = { initialWindowSize: 0x7fff_ffff },
    window: number = 0x3fff_0000,
  ): RawHttp2 {
    const client = new RawHttp2(socket)
    client.send(preface, settings(said), ...(window === 0 ? [] : [windowUpdate(0, window)]))
    return client
  }

  send(...bytes: readonly Buffer[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(bytes))
  }

  /** Begins a stream; `end` when no body follows. */
  request(fields: readonly Field[], end = true): number {
    const stream = this.nextStream()
    this.send(head(stream, block(fields), end))
    return stream
  }

  nextStream(): number {
    const stream = this.#nextStream
    this.#nextStream += 2
    this.answer(stream)
    return stream
  }

  /** What has come so far on this stream. */
  answer(stream: number): Answer {
    let answer = this.#answers.get(stream)
    if (answer === undefined) this.#answers.set(stream, (answer = new Answer()))
    return answer
  }

  /** Resolves when the stream is over; at most `timeoutMs` later, then `over` is false. */
  async whole(stream: number, timeoutMs = 10_000): Promise<Answer> {
    const answer = this.answer(stream)
    await this.until(() => answer.over, timeoutMs)
    return answer
  }

  /** Whether it became so before `timeoutMs`; looked at after each chunk. */
  async until(isSo: () => boolean, timeoutMs = 10_000): Promise<boolean> {
    const signal = AbortSignal.timeout(timeoutMs)
    while (!isSo()) {
      if (this.ended !== undefined && this.socket.closed) return false
      try {
        await once(this.socket, 'frames', { signal })
      } catch {
        return isSo()
      }
    }
    return true
  }

  /** Resolves with whether the peer has ended the connection. */
  closed(timeoutMs = 10_000): Promise<boolean> {
    return this.until(() => this.ended !== undefined, timeoutMs)
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #take(frame: Frame): void {
    if (frame.type !== types.data) this.frames.push(frame)
    const isAck = (frame.flags & flags.ack) !== 0
    switch (frame.type) {
      case types.settings:
        if (isAck) return
        this.settings = { ...this.settings, ...readSettings(frame) }
        if (this.polite) this.send(Buffer.from([0, 0, 0, types.settings, flags.ack, 0, 0, 0, 0]))
        return
      case types.ping:
        if (!isAck && this.polite)
          this.send(Buffer.concat([Buffer.from([0, 0, 8, types.ping, flags.ack, 0, 0, 0, 0]), frame.payload]))
        return
      case types.goaway:
        this.goaway = { lastStream: frame.payload.readUInt32BE(0) & 0x7fff_ffff, error: errorOf(frame) }
        return
      case types.reset:
        this.answer(frame.stream).reset = errorOf(frame)
        this.answer(frame.stream).over = true
        return
      case types.data:
        this.answer(frame.stream).body += unpadded(frame).toString('latin1')
        if (frame.flags & flags.endStream) this.answer(frame.stream).over = true
        return
      case types.headers:
      case types.continuation:
        this.#fragments.push(frame.type === types.headers ? unpadded(frame) : frame.payload)
        if (frame.flags & flags.endHeaders) this.#head(frame.stream)
    }
  }

  #head(stream: number): void {
    const fields = this.#hpack.read(Buffer.concat(this.#fragments))
    this.#fragments = []
    const answer = this.answer(stream)
    const status = fields.find(([name]) => name === ':status')?.[1]
    if (fields.some(([name]) => name === ':method')) this.onRequest?.(stream, fields)
    else if (status === undefined) answer.trailers = fields
    else if (status.startsWith('1')) answer.informational.push(Number(status))
    else {
      answer.status = Number(status)
      answer.head = fields
    }
    // END_STREAM stands on HEADERS, though CONTINUATION may have followed.
    const began = this.frames.findLast(({ type, stream: of }) => type === types.headers && of === stream)
    if (began !== undefined && began.flags & flags.endStream) answer.over = true
  }
}

function unpadded({ flags: flag, payload, type }: Frame): Buffer {
  const padding = flag & flags.padded ? payload[0]! : 0
  const from = (flag & flags.padded ? 1 : 0) + (type === types.headers && flag & flags.priority ? 5 : 0)
  return payload.subarray(from, payload.length - padding)
}

/** The pseudo-fields of a request, and more fields behind them. */
export function requestFields(
  over: Readonly<Partial<Record<'method' | 'scheme' | 'path' | 'authority', string>>> = {},
  ...fields: readonly Field[]
): Field[] {
  const { method = 'GET', scheme = 'http', path = '/', authority = 'app:8080' } = over
  return [[':method', method], [':scheme', scheme], [':path', path], [':authority', authority], ...fields]
}

/** One client connection: its streams become exchanges, and their answers go back as they come. */
import type { Socket } from 'node:net'
import { MeshError } from '../base/errors.ts'
import type { Downstream, Headers } from '../base/exchange.ts'
import type { RequestRules } from '../http1/request-head.ts'
import { readBuffer, readView } from '../http1/writer.ts'
import { StaticReads } from '../tcp/static-reads.ts'
import { ConnectionError, errorCode, preface, setting, streamIdMax } from './frames.ts'
import { MalformedMessage, type ParsedRequest, parseRequestFields } from './request-head.ts'
import type { Http2Server } from './server.ts'
import { ServerStream } from './server-stream.ts'
import { type SectionProblem, Session } from './session.ts'
import type { Stream } from './stream.ts'
import { parseTrailerFields } from './trailers.ts'

export class ServerSession extends Session {
  readonly server: Http2Server
  readonly downstream: Downstream
  readonly #rules: RequestRules
  /** What has come of the preface. */
  #preface: string | undefined = ''
  /** Streams whose request is handed on when all that is here has been read: one that is reset at once goes nowhere. */
  #fresh: ServerStream[] = []
  #retired = false
  /** New streams are taken for a moment still. */
  #draining = false
  #drained = false
  /** The client has ended its side: whether it is there at all, only writing to it shows. */
  #halfOpen = false
  readonly lostCode = 'DOWNSTREAM_RESET'

  constructor(server: Http2Server, socket: Socket, downstream: Downstream, rules: RequestRules) {
    super(socket, server.options.clock, server.options.limits)
    this.server = server
    this.downstream = downstream
    this.#rules = rules
    StaticReads.begin(socket, readBuffer, (bytes) => {
      this.#arrived(readView(bytes))
      return true
    })
    socket.on('data', (chunk: Buffer) => this.#arrived(chunk))
    socket.on('end', () => this.#onEnd())
    this.begin([
      [setting.MAX_CONCURRENT_STREAMS, this.limits.concurrentStreamsMax],
      [setting.ENABLE_CONNECT_PROTOCOL, 1],
    ])
    // Listeners hand sockets over paused.
    socket.resume()
  }

  #arrived(chunk: Buffer): void {
    if (this.#preface !== undefined) {
      const rest = this.#takePreface(chunk)
      if (rest === undefined) return
      chunk = rest
    }
    if (chunk.length > 0) this.read(chunk)
  }

  #takePreface(chunk: Buffer): Buffer | undefined {
    const had = this.#preface!.length
    const text = this.#preface! + chunk.latin1Slice(0, Math.min(chunk.length, preface.length - had))
    if (!preface.startsWith(text)) {
      this.#preface = undefined
      this.breakOff(new ConnectionError('PROTOCOL_ERROR', 'no preface of HTTP/2 (RFC 9113 section 3.4)'))
      return undefined
    }
    if (text.length < preface.length) {
      this.#preface = text
      return undefined
    }
    this.#preface = undefined
    return chunk.subarray(preface.length - had)
  }

  // ------------------------------------------------------------------ requests

  protected onSection(
    id: number,
    endStream: boolean,
    fields: Headers,
    problem: SectionProblem | undefined,
    message: string,
  ): void {
    const known = this.streams.get(id)
    if (known !== undefined) {
      this.#onTrailers(known as ServerStream, endStream, fields, problem, message)
      return
    }
    if ((id & 1) === 0)
      throw new ConnectionError('PROTOCOL_ERROR', `a client began stream ${id} (RFC 9113 section 5.1.1)`)
    if (id <= this.lastStream) {
      if (this.wasResetByUs(id)) return
      this.onFrameOfClosed(id, 'HEADERS')
      return
    }
    this.lastStream = id
    if (this.#drained || this.streams.size >= this.limits.concurrentStreamsMax) {
      // Nothing was done for it: it may be sent again (RFC 9113 section 8.7).
      this.refuseStream(id, errorCode.REFUSED_STREAM)
      return
    }
    this.#begin(id, endStream, fields, problem, message)
  }

  #begin(id: number, endStream: boolean, fields: Headers, problem: SectionProblem | undefined, message: string): void {
    let parsed: ParsedRequest
    try {
      if (problem === 'malformed') throw new MalformedMessage(message)
      if (problem === 'too-large') throw new MeshError('HEAD_TOO_LARGE', message)
      parsed = parseRequestFields(fields, this.#rules)
      if (this.neverIndexed !== undefined) parsed.head.neverIndexed = this.neverIndexed
      if (endStream && parsed.contentLength > 0) throw new MalformedMessage('less DATA than Content-Length announces')
    } catch (error) {
      if (error instanceof MalformedMessage) {
        this.#malformed(id, error.message)
        return
      }
      this.#refuse(id, endStream, MeshError.from(error, 'BAD_REQUEST'))
      return
    }
    const stream = new ServerStream(this, id, this.now, parsed)
    this.#add(stream)
    this.#fresh.push(stream)
    if (endStream) stream.finish(undefined)
  }

  #add(stream: ServerStream): void {
    this.expiresAt = Number.POSITIVE_INFINITY
    this.streams.add(stream)
  }

  #malformed(id: number, message: string): void {
    this.refuseStream(id, errorCode.PROTOCOL_ERROR)
    this.server.options.dropped(this.protocolError(message), this.downstream)
    this.spendReset()
  }

  #refuse(id: number, endStream: boolean, error: MeshError): void {
    const response = this.server.options.refuse(error, this.downstream, this.now)
    const stream = new ServerStream(this, id, this.now, undefined)
    this.#add(stream)
    if (endStream) stream.finish(undefined)
    stream.answer(response)
    this.spendReset()
  }

  #onTrailers(
    stream: ServerStream,
    endStream: boolean,
    fields: Headers,
    problem: SectionProblem | undefined,
    message: string,
  ): void {
    if (!stream.receiving) {
      stream.reset(errorCode.STREAM_CLOSED, this.protocolError('HEADERS after the end of its stream'))
      this.spendReset()
      return
    }
    let why = problem === undefined ? undefined : message
    if (!endStream) why ??= 'trailers that do not end their stream (RFC 9113 section 8.1)'
    let trailers: Headers | undefined
    if (why === undefined) {
      try {
        trailers = parseTrailerFields(fields)
      } catch (error) {
        why = MeshError.from(error).message
      }
    }
    if (why === undefined) stream.finish(trailers)
    else stream.malformed(why)
  }

  protected afterRead(): void {
    const fresh = this.#fresh
    if (fresh.length === 0) return
    this.#fresh = []
    for (const stream of fresh) stream.serve()
  }

  protected onStreamReset(stream: Stream): void {
    // An answer that is out but for bytes that wait for a window is one that was given.
    if (stream.sending) this.spendReset()
    ;(stream as ServerStream).onPeerReset()
  }

  protected isIdle(stream: number): boolean {
    return stream > this.lastStream || (stream & 1) === 0
  }

  protected onSettled(first: boolean): void {
    // A connection that asks nothing for now may do so for as long as one that has asked.
    if (first && this.streams.size === 0) this.expiresAt = this.now + this.limits.idleTimeoutMs
  }

  protected onPeerGoaway(_lastStream: number, _code: number): void {
    // It begins no more streams; those that it has go on.
    this.leaving = true
    if (this.streams.size === 0) this.endSocket()
  }

  protected lastPeerStream(): number {
    return this.lastStream
  }

  // ------------------------------------------------------------------ endings

  protected onQuiet(): void {
    if (this.closed || this.ending) return
    if (this.leaving || this.#drained) {
      this.endSocket()
      return
    }
    this.expiresAt = this.clock.now() + this.limits.idleTimeoutMs
  }

  /** Its next connection is to go elsewhere; streams are taken still, for one may be on the way (RFC 9113 section 6.8). */
  retire(): void {
    if (this.#retired || this.closed || this.ending) return
    this.#retired = true
    this.sayGoaway(streamIdMax, errorCode.NO_ERROR, '')
  }

  drain(): void {
    if (this.closed || this.ending || this.#draining) return
    this.#draining = true
    this.retire()
    this.clock.after(this.limits.goawayGraceMs, () => this.#lastCall())
  }

  #lastCall(): void {
    if (this.closed || this.ending) return
    this.#drained = true
    this.sayGoaway(this.lastStream, errorCode.NO_ERROR, '')
    if (this.streams.size === 0) this.endSocket()
  }

  protected onExpired(): void {
    if (this.ending) {
      this.socket.destroy()
      return
    }
    // Nothing has been asked for long, or nothing has come at all.
    if (this.settled) this.sayGoaway(this.lastStream, errorCode.NO_ERROR, '')
    this.endSocket()
  }

  protected onViolation({ code, message }: ConnectionError): void {
    const flood = code === errorCode.ENHANCE_YOUR_CALM
    this.server.options.dropped(flood ? new MeshError('FLOOD', message) : this.protocolError(message), this.downstream)
  }

  protected onSocketError(): void {}

  /** A client that ends its side may read on; what it has not said to its end it never will. */
  #onEnd(): void {
    this.leaving = true
    this.#halfOpen = true
    const cut = new MeshError('DOWNSTREAM_RESET', 'client closed the connection')
    this.streams.visitAll((stream) => {
      if (stream.receiving) stream.reset(errorCode.CANCEL, cut)
    })
    if (this.streams.size === 0) this.endSocket()
    else this.probe()
  }

  /** One that is gone altogether refuses the first PING, and with the second we hear of it. */
  override checkTime(now: number): void {
    if (this.#halfOpen && !this.closed && !this.ending) this.probe()
    super.checkTime(now)
  }

  protected onLost(): void {
    const error = this.failure ?? new MeshError('DOWNSTREAM_RESET', 'client closed the connection')
    this.streams.visitAll((stream) => stream.close(error))
  }

  protocolError(message: string): MeshError {
    return new MeshError('BAD_REQUEST', message)
  }
}

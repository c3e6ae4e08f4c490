/** One HTTP/2 connection, either end: settings, windows, liveness, limits, and how it ends (RFC 9113). */
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Headers, RequestHead } from '../base/exchange.ts'
import { Allowance } from './allowance.ts'
import { type FrameHandler, FrameReader } from './frame-reader.ts'
import {
  ConnectionError,
  defaultFrameBytes,
  defaultWindowBytes,
  errorCode,
  frameBytesMax,
  goaway,
  headersFrames,
  ping,
  rstStream,
  setting,
  settings,
  settingsAck,
  windowBytesMax,
  windowUpdate,
} from './frames.ts'
import { HpackDecoder, HpackError } from './hpack/decoder.ts'
import { HpackEncoder } from './hpack/encoder.ts'
import type { Http2Limits } from './limits.ts'
import { Output } from './output.ts'
import type { Stream } from './stream.ts'
import { StreamTable } from './stream-table.ts'

/** Streams that we have reset and of which frames may still be on the way. */
const resetsRemembered = 256

/** What an answer to our PING says, so that it is told from one that nobody asked for. */
const pingPayload = 'outrigg\x01'

export abstract class Session implements FrameHandler {
  readonly socket: Socket
  readonly clock: Clock
  readonly limits: Http2Limits
  readonly output: Output
  readonly streams = new StreamTable()
  /** Clock time at which the bytes that are being read came. */
  now: number

  // What the peer has said (RFC 9113 section 6.5.2).
  peerFrameMax: number = defaultFrameBytes
  peerStreamWindow: number = defaultWindowBytes
  peerStreamsMax = Number.POSITIVE_INFINITY
  /** Extended CONNECT (RFC 8441). */
  peerConnectProtocol = false
  /** Its SETTINGS have come. */
  settled = false

  /** What we may send over all streams. */
  sendWindow: number = defaultWindowBytes
  closed = false
  /** We have said that we end; `ending` with an error reads nothing more. */
  protected leaving = false
  protected ending = false
  /** The highest stream that the peer has begun, or that we have. */
  protected lastStream = 0
  readonly #reader: FrameReader
  readonly #decoder = new HpackDecoder()
  readonly #encoder = new HpackEncoder()
  readonly #waiting = new Set<Stream>()
  readonly #resets = new Set<number>()
  readonly #resetAllowance: Allowance
  readonly #idleAllowance: Allowance
  #receiveWindow: number
  #credit = 0
  #heldBytes = 0
  /** The stream of the DATA that is being read; undefined: nobody wants it. */
  #dataStream: Stream | undefined
  #dataBytes = 0
  #dataCounted = 0
  #lastByteAt: number
  #pingSentAt = Number.POSITIVE_INFINITY
  /** Clock time at which the current state has lasted too long. */
  protected expiresAt: number
  #failure: MeshError | undefined

  constructor(socket: Socket, clock: Clock, limits: Http2Limits) {
    this.socket = socket
    this.clock = clock
    this.limits = limits
    this.output = new Output(socket)
    this.#reader = new FrameReader(this, limits, defaultFrameBytes)
    const now = clock.now()
    this.now = now
    this.#lastByteAt = now
    this.expiresAt = now + limits.prefaceTimeoutMs
    this.#resetAllowance = new Allowance(limits.resetsMax, limits.resetsPerSecond, now)
    this.#idleAllowance = new Allowance(limits.idleFramesMax, limits.idleFramesPerSecond, now)
    this.#receiveWindow = limits.connectionWindowBytes
    socket.on('drain', () => {
      this.output.full = false
      this.#proceed()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => this.onSocketError(error))
    socket.on('close', () => this.#onClose())
  }

  /** Our SETTINGS, and the window of the connection. */
  protected begin(values: readonly (readonly [id: number, value: number])[]): void {
    const { streamWindowBytes, connectionWindowBytes, headerListBytesMax } = this.limits
    const own: (readonly [number, number])[] = [...values, [setting.MAX_HEADER_LIST_SIZE, headerListBytesMax]]
    if (streamWindowBytes !== defaultWindowBytes) own.push([setting.INITIAL_WINDOW_SIZE, streamWindowBytes])
    let text = settings(own)
    if (connectionWindowBytes > defaultWindowBytes) text += windowUpdate(0, connectionWindowBytes - defaultWindowBytes)
    this.output.write(text)
  }

  /** The section is too large or malformed: `problem` says so, and the fields are not all there. */
  protected abstract onSection(
    stream: number,
    endStream: boolean,
    fields: Headers,
    problem: SectionProblem | undefined,
    message: string,
  ): void
  /** Everything that was there to read has been read. */
  protected abstract afterRead(): void
  /** The connection is lost: every stream that is left must end. */
  protected abstract onLost(): void
  /** The peer ends the connection in good order, or says why it does not. */
  protected abstract onPeerGoaway(lastStream: number, code: number): void
  /** A limit or rule was broken; for metrics. */
  protected abstract onViolation(error: ConnectionError): void
  protected abstract onSocketError(error: NodeJS.ErrnoException): void
  /** Whether this end lets the peer begin streams of that number. */
  protected abstract isIdle(stream: number): boolean

  // ------------------------------------------------------------------ reading

  /** Takes what the socket read; `chunk` may be a view of a shared buffer. */
  read(chunk: Buffer): void {
    if (this.closed || this.ending) return
    this.now = this.clock.now()
    this.#lastByteAt = this.now
    try {
      this.#reader.push(chunk)
    } catch (error) {
      this.breakOff(asConnectionError(error))
      // What was whole before it is handed on.
      this.afterRead()
      return
    }
    this.afterRead()
    if (this.output.full && this.output.unread > this.limits.unreadBytesMax)
      this.breakOff(new ConnectionError('ENHANCE_YOUR_CALM', 'the peer asks and reads no answer'))
  }

  onData(stream: number, counted: number): void {
    this.#receiveWindow -= counted
    if (this.#receiveWindow < 0)
      throw new ConnectionError('FLOW_CONTROL_ERROR', 'more DATA than the window of the connection has')
    this.#credit += counted
    this.#dataBytes = 0
    this.#dataCounted = counted
    const found = this.streams.get(stream)
    this.#dataStream = undefined
    if (found === undefined) {
      this.#onStrayFrame(stream, 'DATA')
      return
    }
    if (!found.receiving) {
      found.reset(errorCode.STREAM_CLOSED, this.protocolError('DATA after the end of its stream'))
      this.spendReset()
      return
    }
    if (found.headless) {
      found.reset(errorCode.PROTOCOL_ERROR, this.protocolError('DATA before the head of its message'))
      this.spendReset()
      return
    }
    if (!found.count(counted)) {
      found.reset(errorCode.FLOW_CONTROL_ERROR, this.protocolError('more DATA than the window of its stream has'))
      this.spendReset()
      return
    }
    found.activeAt = this.now
    this.#dataStream = found
  }

  onDataBytes(chunk: Buffer, start: number, end: number): void {
    this.#dataBytes += end - start
    this.#dataStream?.take(chunk, start, end)
  }

  onDataEnd(endStream: boolean): void {
    const stream = this.#dataStream
    this.#dataStream = undefined
    if (this.#dataBytes === 0) this.#idle()
    else this.#idleAllowance.earn(1)
    if (stream?.receiving === true) {
      const padding = this.#dataCounted - this.#dataBytes
      if (padding > 0) stream.acknowledge(padding)
      if (endStream) stream.finish(undefined)
    }
    this.#giveCredit()
  }

  #giveCredit(): void {
    // What lies here and nobody takes holds the whole connection back once it is much.
    const { connectionWindowBytes } = this.limits
    if (this.#credit < connectionWindowBytes >>> 1 || this.#heldBytes > connectionWindowBytes) return
    this.#receiveWindow += this.#credit
    this.output.write(windowUpdate(0, this.#credit))
    this.#credit = 0
  }

  /** Bytes of bodies that wait here for whoever reads them. */
  holds(bytes: number): void {
    this.#heldBytes += bytes
    if (bytes < 0) this.#giveCredit()
  }

  onHeaders(stream: number, endStream: boolean, dependsOn: number, block: Buffer, start: number, end: number): void {
    if (dependsOn === stream) throw selfDependent(stream)
    this.#idleAllowance.earn(1)
    const fields: Headers = []
    const { headerListBytesMax, fieldsMax } = this.limits
    const decoder = this.#decoder
    const size = decoder.decode(block, start, end, fields, headerListBytesMax, fieldsMax)
    const malformed = decoder.malformed
    if (size > headerListBytesMax) {
      const message = `header section of more than ${headerListBytesMax} bytes or ${fieldsMax} fields`
      this.onSection(stream, endStream, fields, 'too-large', message)
    } else this.onSection(stream, endStream, fields, malformed === undefined ? undefined : 'malformed', malformed ?? '')
  }

  onPriority(stream: number, dependsOn: number): void {
    this.#idle()
    if (dependsOn === stream) throw selfDependent(stream)
  }

  onReset(stream: number, code: number): void {
    const found = this.streams.get(stream)
    if (found === undefined) {
      if (this.isIdle(stream)) throw new ConnectionError('PROTOCOL_ERROR', 'RST_STREAM of a stream that never began')
      this.#idle()
      return
    }
    this.onStreamReset(found, code)
  }

  /** The peer has ended a stream of ours that is there. */
  protected abstract onStreamReset(stream: Stream, code: number): void

  onSettings(payload: Buffer, start: number, end: number): void {
    this.#idle()
    let windowChange = 0
    for (let at = start; at < end; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      switch (payload.readUInt16BE(at)) {
        case setting.HEADER_TABLE_SIZE:
          this.#encoder.setPeerTableMax(value)
          break
        case setting.ENABLE_PUSH:
          if (value > 1) throw new ConnectionError('PROTOCOL_ERROR', 'ENABLE_PUSH is neither 0 nor 1')
          this.onPushSetting(value)
          break
        case setting.MAX_CONCURRENT_STREAMS:
          this.peerStreamsMax = value
          break
        case setting.INITIAL_WINDOW_SIZE:
          if (value > windowBytesMax) throw new ConnectionError('FLOW_CONTROL_ERROR', 'INITIAL_WINDOW_SIZE over 2^31-1')
          windowChange += value - this.peerStreamWindow
          this.peerStreamWindow = value
          break
        case setting.MAX_FRAME_SIZE:
          if (value < defaultFrameBytes || value > frameBytesMax)
            throw new ConnectionError('PROTOCOL_ERROR', `MAX_FRAME_SIZE ${value}`)
          // Longer frames would only hold up the streams beside them.
          break
        case setting.ENABLE_CONNECT_PROTOCOL:
          if (value > 1) throw new ConnectionError('PROTOCOL_ERROR', 'ENABLE_CONNECT_PROTOCOL is neither 0 nor 1')
          this.peerConnectProtocol = value === 1
          break
        default:
      }
    }
    this.output.write(settingsAck)
    if (windowChange !== 0) {
      this.streams.visitAll((stream) => {
        stream.sendWindow += windowChange
        if (stream.sendWindow > windowBytesMax)
          throw new ConnectionError('FLOW_CONTROL_ERROR', 'a window grows over 2^31-1')
      })
      if (windowChange > 0) this.#proceed()
    }
    const first = !this.settled
    this.settled = true
    this.onSettled(first)
  }

  /** Only a client may allow pushes (RFC 9113 section 6.5.2). */
  protected onPushSetting(_value: number): void {}

  /** SETTINGS of the peer are in force. */
  protected abstract onSettled(first: boolean): void

  onSettingsAck(): void {
    this.#idle()
  }

  onPing(ack: boolean, payload: string): void {
    if (ack) {
      if (payload === pingPayload) this.#pingSentAt = Number.POSITIVE_INFINITY
      else this.#idle()
      return
    }
    this.#idle()
    this.output.write(ping(true, payload))
  }

  onGoaway(lastStream: number, code: number, _debug: string): void {
    this.#idle()
    this.onPeerGoaway(lastStream, code)
  }

  onWindowUpdate(stream: number, increment: number): void {
    this.#idle()
    if (stream === 0) {
      if (increment === 0) throw new ConnectionError('PROTOCOL_ERROR', 'WINDOW_UPDATE of 0 bytes')
      this.sendWindow += increment
      if (this.sendWindow > windowBytesMax)
        throw new ConnectionError('FLOW_CONTROL_ERROR', 'the window of the connection grows over 2^31-1')
      this.#proceed()
      return
    }
    const found = this.streams.get(stream)
    if (found === undefined) {
      if (this.isIdle(stream)) throw new ConnectionError('PROTOCOL_ERROR', 'WINDOW_UPDATE of a stream that never began')
      return
    }
    if (increment === 0) {
      found.reset(errorCode.PROTOCOL_ERROR, this.protocolError('WINDOW_UPDATE of 0 bytes'))
      this.spendReset()
      return
    }
    found.sendWindow += increment
    if (found.sendWindow > windowBytesMax) {
      found.reset(errorCode.FLOW_CONTROL_ERROR, this.protocolError('a window grows over 2^31-1'))
      this.spendReset()
      return
    }
    if (this.#waiting.has(found)) this.#proceedWith(found)
  }

  onUnknown(): void {
    this.#idle()
  }

  /** DATA goes out: what a peer may say about its windows (Envoy: ten WINDOW_UPDATE for each frame). */
  sentData(): void {
    this.#idleAllowance.earn(10)
  }

  /** A frame that carries nothing. */
  #idle(): void {
    if (!this.#idleAllowance.spend(this.now))
      throw new ConnectionError('ENHANCE_YOUR_CALM', 'too many frames that carry nothing')
  }

  /** A stream ended before its time, by the peer or by its fault. Throws ConnectionError when it is one too many. */
  protected spendReset(): void {
    if (!this.#resetAllowance.spend(this.now))
      throw new ConnectionError('ENHANCE_YOUR_CALM', 'too many streams are reset')
  }

  /** Of a stream that is not there: over, reset by us a moment ago, or never begun. */
  #onStrayFrame(stream: number, what: string): void {
    if (this.isIdle(stream)) throw new ConnectionError('PROTOCOL_ERROR', `${what} on a stream that never began`)
    if (this.#resets.has(stream)) return
    this.onFrameOfClosed(stream, what)
  }

  /** The stream has ended in good order, or long ago. */
  protected onFrameOfClosed(_stream: number, what: string): void {
    throw new ConnectionError('STREAM_CLOSED', `${what} on a stream that has ended`)
  }

  protected wasResetByUs(stream: number): boolean {
    return this.#resets.has(stream)
  }

  abstract protocolError(message: string): MeshError

  // ------------------------------------------------------------------ writing

  /** Names that the section that was read last lets nobody index. */
  get neverIndexed(): ReadonlySet<string> | undefined {
    return this.#decoder.neverIndexed
  }

  /** A field section as a block. */
  block(fields: Headers, neverIndexed?: ReadonlySet<string>): string {
    let block = this.#encoder.begin()
    for (let at = 0; at < fields.length; at += 2) block += this.field(fields[at]!, fields[at + 1]!, neverIndexed)
    return block
  }

  /** One more field of a block that was begun. */
  field(name: string, value: string, neverIndexed?: ReadonlySet<string>): string {
    return neverIndexed?.has(name) === true ? this.#encoder.neverIndexed(name, value) : this.#encoder.field(name, value)
  }

  /** A block that begins with the pseudo-header fields of a request. */
  beginBlock(request: RequestHead, connect: boolean, protocol: string | undefined): string {
    let block = this.#encoder.begin() + this.field(':method', connect ? 'CONNECT' : request.method)
    if (protocol !== undefined) block += this.field(':protocol', protocol)
    if (!connect || protocol !== undefined)
      block += this.field(':scheme', request.scheme) + this.field(':path', request.target, request.neverIndexed)
    return request.authority === '' ? block : block + this.field(':authority', request.authority)
  }

  /** HEADERS of a message that is under way. */
  sendFields(stream: number, fields: Headers, endStream: boolean, neverIndexed?: ReadonlySet<string>): void {
    this.output.write(headersFrames(stream, this.block(fields, neverIndexed), endStream, this.peerFrameMax))
  }

  /** It has more to send than the peer takes, or its source is to be told when it may go on. */
  waits(stream: Stream): void {
    this.#waiting.add(stream)
  }

  #proceed(): void {
    if (this.#waiting.size === 0) return
    // Who has to wait again stands at the end of the same set.
    for (const stream of Array.from(this.#waiting)) {
      if (this.sendWindow <= 0 || this.output.full) return
      this.#proceedWith(stream)
    }
  }

  #proceedWith(stream: Stream): void {
    this.#waiting.delete(stream)
    if (!stream.proceed()) this.#waiting.add(stream)
  }

  // ------------------------------------------------------------------ endings

  /** Forgets a stream that is over; false: it is forgotten already. */
  remove(stream: Stream): boolean {
    if (!this.streams.delete(stream)) return false
    this.#waiting.delete(stream)
    // The rest of its frame is for nobody.
    if (this.#dataStream === stream) this.#dataStream = undefined
    if (this.streams.size === 0) this.onQuiet()
    return true
  }

  /** No stream is left. */
  protected abstract onQuiet(): void

  wasReset(stream: number): void {
    this.#resets.add(stream)
    if (this.#resets.size > resetsRemembered)
      for (const oldest of this.#resets) {
        this.#resets.delete(oldest)
        break
      }
  }

  /** RST_STREAM of a stream that was never taken on. */
  refuseStream(stream: number, code: number): void {
    this.output.write(rstStream(stream, code))
    this.wasReset(stream)
  }

  /** Says that no stream above `lastStream` will be taken. */
  protected sayGoaway(lastStream: number, code: number, debug: string): void {
    this.output.write(goaway(lastStream, code, debug))
  }

  /** The peer broke a rule: it is told which, and nothing more is read (RFC 9113 section 5.4.1). */
  protected breakOff(error: ConnectionError): void {
    if (this.closed || this.ending) return
    this.ending = true
    this.#reader.stop()
    this.onViolation(error)
    this.sayGoaway(this.lastPeerStream(), error.code, error.message)
    this.#failure = this.protocolError(error.message)
    this.onLost()
    this.endSocket()
  }

  /** The highest stream of the peer's that something was done for. */
  protected abstract lastPeerStream(): number

  /** Ends our side; the peer has a moment to read what we said. */
  protected endSocket(): void {
    this.ending = true
    this.output.flush()
    this.socket.end()
    this.expiresAt = this.clock.now() + this.limits.lingerMs
  }

  get failure(): MeshError | undefined {
    return this.#failure
  }

  protected set failure(error: MeshError) {
    this.#failure ??= error
  }

  #onClose(): void {
    if (this.closed) return
    this.closed = true
    this.onLost()
    this.#waiting.clear()
  }

  /** Called now and then. */
  checkTime(now: number): void {
    if (this.closed) return
    if (now >= this.expiresAt) {
      this.onExpired()
      return
    }
    if (this.streams.size === 0 || this.ending) return
    const { quietMs, pingTimeoutMs, stallTimeoutMs } = this.limits
    if (this.#pingSentAt !== Number.POSITIVE_INFINITY) {
      if (this.#lastByteAt > this.#pingSentAt) this.#pingSentAt = Number.POSITIVE_INFINITY
      else if (now >= this.#pingSentAt + pingTimeoutMs) {
        this.failure = new MeshError(this.lostCode, `no answer to a PING for ${pingTimeoutMs} ms`)
        this.socket.destroy()
        return
      }
    } else if (now >= this.#lastByteAt + quietMs) {
      this.#pingSentAt = now
      this.probe()
    }
    this.streams.visitAll((stream) => {
      if (now >= stream.stalledSince + stallTimeoutMs)
        stream.reset(errorCode.CANCEL, new MeshError(this.lostCode, `the peer took nothing for ${stallTimeoutMs} ms`))
      else stream.checkTime(now)
    })
  }

  /** Asks whether anybody is there. */
  protected probe(): void {
    this.output.write(ping(false, pingPayload))
  }

  protected abstract readonly lostCode: 'DOWNSTREAM_RESET' | 'UPSTREAM_RESET'

  /** `expiresAt` has passed. */
  protected abstract onExpired(): void

  destroy(): void {
    this.socket.destroy()
  }
}

/** What is wrong with a section that could be decoded. */
export type SectionProblem = 'too-large' | 'malformed'

function asConnectionError(error: unknown): ConnectionError {
  if (error instanceof ConnectionError) return error
  if (error instanceof HpackError) return new ConnectionError('COMPRESSION_ERROR', error.message)
  return new ConnectionError('INTERNAL_ERROR', 'the mesh failed to read this frame')
}

function selfDependent(stream: number): ConnectionError {
  return new ConnectionError('PROTOCOL_ERROR', `stream ${stream} depends on itself (RFC 7540 section 5.3.1)`)
}

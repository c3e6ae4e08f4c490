/**
 * From bytes to frames (RFC 9113 section 4). Checks what can be checked of a frame by itself: sizes, stream numbers,
 * padding, that a field block is one piece. What frames mean is for the session.
 */
import { ConnectionError, flag, frameHeadBytes, frameType } from './frames.ts'
import type { Http2Limits } from './limits.ts'

/** Views of bytes are valid during the call only. */
export interface FrameHandler {
  /** A frame of DATA has begun; `counted` bytes of windows are used, padding included (RFC 9113 section 6.9.1). */
  onData(stream: number, counted: number): void
  /** A part of its payload. */
  /** From `start` to `end`; `chunk` is valid during the call only. */
  onDataBytes(chunk: Buffer, start: number, end: number): void
  onDataEnd(endStream: boolean): void
  /** A field block with all its parts. `dependsOn`: the stream that the priority fields name, -1 without. */
  onHeaders(stream: number, endStream: boolean, dependsOn: number, block: Buffer, start: number, end: number): void
  onPriority(stream: number, dependsOn: number): void
  onReset(stream: number, code: number): void
  /** Six bytes for each setting. */
  onSettings(payload: Buffer, start: number, end: number): void
  onSettingsAck(): void
  /** `payload`: eight latin1 characters. */
  onPing(ack: boolean, payload: string): void
  onGoaway(lastStream: number, code: number, debug: string): void
  onWindowUpdate(stream: number, increment: number): void
  /** Of a type that we do not know: passed over (RFC 9113 section 5.5). */
  onUnknown(): void
}

const nothing: Buffer = Buffer.alloc(0)

export class FrameReader {
  readonly #handler: FrameHandler
  readonly #limits: Http2Limits
  readonly #frameMax: number
  #held: Buffer = nothing
  /** SETTINGS must come first (RFC 9113 section 3.4). */
  #begun = false
  #stopped = false

  // A frame of DATA that is under way.
  #dataLeft = -1
  #paddingLeft = 0
  #dataEndsStream = false

  // A field block that goes on in CONTINUATION.
  #blockStream = 0
  #blockEndsStream = false
  #blockDependsOn = -1
  #blockParts: Buffer[] = []
  #blockBytes = 0

  constructor(handler: FrameHandler, limits: Http2Limits, frameMax: number) {
    this.#handler = handler
    this.#limits = limits
    this.#frameMax = frameMax
  }

  /** Nothing more is told of, not even of the bytes that are being read. */
  stop(): void {
    this.#stopped = true
    this.#held = nothing
  }

  /** Throws ConnectionError. `chunk` may be a view of a shared buffer. */
  push(chunk: Buffer): void {
    if (this.#held.length > 0) {
      chunk = Buffer.concat([this.#held, chunk])
      this.#held = nothing
    }
    let at = 0
    const end = chunk.length
    while (!this.#stopped) {
      if (this.#dataLeft >= 0) {
        at = this.#readData(chunk, at)
        if (this.#dataLeft >= 0) return
        continue
      }
      const next = this.#readFrame(chunk, at, end)
      if (next === at) break
      at = next
    }
    if (at < end && !this.#stopped) this.#held = Buffer.from(chunk.subarray(at))
  }

  /** Position behind the frame, or `at` where it is not all here. */
  #readFrame(chunk: Buffer, at: number, end: number): number {
    if (end - at < frameHeadBytes) return at
    const length = (chunk[at]! << 16) | (chunk[at + 1]! << 8) | chunk[at + 2]!
    const type = chunk[at + 3]!
    const flags = chunk[at + 4]!
    const stream = readUint31(chunk, at + 5)
    if (length > this.#frameMax)
      throw new ConnectionError('FRAME_SIZE_ERROR', `a frame of ${length} bytes, ${this.#frameMax} are allowed`)
    if (!this.#begun) {
      if (type !== frameType.SETTINGS || (flags & flag.ACK) !== 0)
        throw new ConnectionError('PROTOCOL_ERROR', 'the first frame is not SETTINGS (RFC 9113 section 3.4)')
      this.#begun = true
    }
    if (this.#blockStream !== 0 && (type !== frameType.CONTINUATION || stream !== this.#blockStream))
      throw new ConnectionError('PROTOCOL_ERROR', 'a field block is interrupted (RFC 9113 section 6.10)')
    const start = at + frameHeadBytes
    if (type === frameType.DATA) return this.#beginData(chunk, start, end, length, flags, stream, at)
    if (end - start < length) return at
    this.#take(chunk, start, start + length, type, flags, stream)
    return start + length
  }

  #beginData(
    chunk: Buffer,
    start: number,
    end: number,
    length: number,
    flags: number,
    stream: number,
    at: number,
  ): number {
    if (stream === 0) throw new ConnectionError('PROTOCOL_ERROR', 'DATA on stream 0 (RFC 9113 section 6.1)')
    let padding = 0
    let payload = length
    if ((flags & flag.PADDED) !== 0) {
      if (length === 0) throw new ConnectionError('FRAME_SIZE_ERROR', 'padded DATA without a pad length')
      if (start === end) return at
      padding = chunk[start]!
      payload = length - 1 - padding
      if (payload < 0)
        throw new ConnectionError('PROTOCOL_ERROR', 'padding longer than its frame (RFC 9113 section 6.1)')
      start++
    }
    this.#dataLeft = payload
    this.#paddingLeft = padding
    this.#dataEndsStream = (flags & flag.END_STREAM) !== 0
    this.#handler.onData(stream, length)
    return start
  }

  /** Returns the position behind what was used; the frame is over when `#dataLeft` is below 0. */
  #readData(chunk: Buffer, at: number): number {
    const here = Math.min(this.#dataLeft, chunk.length - at)
    if (here > 0) {
      this.#dataLeft -= here
      this.#handler.onDataBytes(chunk, at, at + here)
      at += here
    }
    if (this.#dataLeft > 0) return at
    const skipped = Math.min(this.#paddingLeft, chunk.length - at)
    this.#paddingLeft -= skipped
    if (this.#paddingLeft > 0) return at + skipped
    this.#dataLeft = -1
    this.#handler.onDataEnd(this.#dataEndsStream)
    return at + skipped
  }

  #take(chunk: Buffer, start: number, end: number, type: number, flags: number, stream: number): void {
    const handler = this.#handler
    const length = end - start
    switch (type) {
      case frameType.HEADERS:
        this.#takeHeaders(chunk, start, end, flags, stream)
        return
      case frameType.CONTINUATION:
        this.#takeContinuation(chunk, start, end, flags)
        return
      case frameType.WINDOW_UPDATE:
        exactly(length, 4, 'WINDOW_UPDATE')
        handler.onWindowUpdate(stream, readUint31(chunk, start))
        return
      case frameType.RST_STREAM:
        onStream(stream, 'RST_STREAM')
        exactly(length, 4, 'RST_STREAM')
        handler.onReset(stream, chunk.readUInt32BE(start))
        return
      case frameType.PING:
        onConnection(stream, 'PING')
        exactly(length, 8, 'PING')
        handler.onPing((flags & flag.ACK) !== 0, chunk.latin1Slice(start, end))
        return
      case frameType.SETTINGS:
        onConnection(stream, 'SETTINGS')
        if ((flags & flag.ACK) !== 0) {
          exactly(length, 0, 'the acknowledgement of SETTINGS')
          handler.onSettingsAck()
          return
        }
        if (length % 6 !== 0) throw new ConnectionError('FRAME_SIZE_ERROR', 'SETTINGS in pieces (RFC 9113 section 6.5)')
        handler.onSettings(chunk, start, end)
        return
      case frameType.GOAWAY:
        onConnection(stream, 'GOAWAY')
        if (length < 8) throw new ConnectionError('FRAME_SIZE_ERROR', 'GOAWAY without its fields')
        handler.onGoaway(
          readUint31(chunk, start),
          chunk.readUInt32BE(start + 4),
          chunk.latin1Slice(start + 8, Math.min(end, start + 264)),
        )
        return
      case frameType.PRIORITY:
        onStream(stream, 'PRIORITY')
        exactly(length, 5, 'PRIORITY')
        handler.onPriority(stream, readUint31(chunk, start))
        return
      case frameType.PUSH_PROMISE:
        // We allow none, and clients may send none (RFC 9113 section 8.4).
        throw new ConnectionError('PROTOCOL_ERROR', 'PUSH_PROMISE (RFC 9113 section 8.4)')
      default:
        handler.onUnknown()
    }
  }

  #takeHeaders(chunk: Buffer, start: number, end: number, flags: number, stream: number): void {
    onStream(stream, 'HEADERS')
    let padding = 0
    if ((flags & flag.PADDED) !== 0) {
      if (start === end) throw new ConnectionError('FRAME_SIZE_ERROR', 'padded HEADERS without a pad length')
      padding = chunk[start++]!
    }
    let dependsOn = -1
    if ((flags & flag.PRIORITY) !== 0) {
      if (end - start < 5) throw new ConnectionError('FRAME_SIZE_ERROR', 'HEADERS without its priority fields')
      dependsOn = readUint31(chunk, start)
      start += 5
    }
    end -= padding
    if (end < start) throw new ConnectionError('PROTOCOL_ERROR', 'padding longer than its frame (RFC 9113 section 6.2)')
    const endStream = (flags & flag.END_STREAM) !== 0
    if ((flags & flag.END_HEADERS) !== 0) {
      this.#handler.onHeaders(stream, endStream, dependsOn, chunk, start, end)
      return
    }
    this.#blockStream = stream
    this.#blockEndsStream = endStream
    this.#blockDependsOn = dependsOn
    this.#blockBytes = end - start
    this.#blockParts = [Buffer.from(chunk.subarray(start, end))]
  }

  #takeContinuation(chunk: Buffer, start: number, end: number, flags: number): void {
    if (this.#blockStream === 0)
      throw new ConnectionError('PROTOCOL_ERROR', 'CONTINUATION of nothing (RFC 9113 section 6.10)')
    this.#blockBytes += end - start
    // The first part is not a CONTINUATION.
    if (this.#blockBytes > this.#limits.blockBytesMax || this.#blockParts.length > this.#limits.continuationsMax)
      throw new ConnectionError('ENHANCE_YOUR_CALM', 'a field block without end')
    this.#blockParts.push(Buffer.from(chunk.subarray(start, end)))
    if ((flags & flag.END_HEADERS) === 0) return
    const stream = this.#blockStream
    const block = Buffer.concat(this.#blockParts)
    this.#blockStream = 0
    this.#blockParts = []
    this.#handler.onHeaders(stream, this.#blockEndsStream, this.#blockDependsOn, block, 0, block.length)
  }
}

function readUint31(chunk: Buffer, at: number): number {
  return ((chunk[at]! & 0x7f) << 24) | (chunk[at + 1]! << 16) | (chunk[at + 2]! << 8) | chunk[at + 3]!
}

function exactly(length: number, wanted: number, what: string): void {
  if (length !== wanted)
    throw new ConnectionError('FRAME_SIZE_ERROR', `${what} of ${length} bytes instead of ${wanted}`)
}

function onStream(stream: number, what: string): void {
  if (stream === 0) throw new ConnectionError('PROTOCOL_ERROR', `${what} on stream 0`)
}

function onConnection(stream: number, what: string): void {
  if (stream !== 0) throw new ConnectionError('PROTOCOL_ERROR', `${what} on stream ${stream} instead of 0`)
}

/** Frames of HTTP/2 (RFC 9113 sections 4 and 6): numbers, the head of a frame as text, errors. */
import { chars } from './octets.ts'

/** What a client says before its first frame (RFC 9113 section 3.4). */
export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** RFC 9113 section 6. */
export const frameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export const flag = { END_STREAM: 0x1, ACK: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const

/** RFC 9113 section 7. */
export const errorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const

export type ErrorName = keyof typeof errorCode

const errorNames = new Map<number, string>(Object.entries(errorCode).map(([name, code]) => [code, name]))

/** `REFUSED_STREAM`, or the number of a code that nobody has registered. */
export function errorName(code: number): string {
  return errorNames.get(code) ?? `error ${code}`
}

/** RFC 9113 section 6.5.2; RFC 8441 section 3. */
export const setting = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
} as const

/** Bytes before the payload of every frame. */
export const frameHeadBytes = 9

/** Largest payload before a peer allows more (RFC 9113 section 4.2), and the most that it may allow. */
export const defaultFrameBytes = 16_384
export const frameBytesMax = 16_777_215

/** RFC 9113 section 6.9.2: every window before SETTINGS says otherwise. */
export const defaultWindowBytes = 65_535
export const windowBytesMax = 2_147_483_647
export const streamIdMax = 2_147_483_647

/** What a peer did ends its connection (RFC 9113 section 5.4.1). */
export class ConnectionError extends Error {
  readonly code: number

  constructor(name: ErrorName, message: string) {
    super(message)
    this.code = errorCode[name]
  }
}

/** Head of a frame, one latin1 character per byte: frames are gathered as text until they are written. */
export function frameHead(length: number, type: number, flags: number, stream: number): string {
  return (
    chars[length >>> 16]! +
    chars[(length >>> 8) & 0xff]! +
    chars[length & 0xff]! +
    chars[type]! +
    chars[flags]! +
    uint32(stream)
  )
}

/** Four bytes, most significant first. */
export function uint32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

export function uint16(value: number): string {
  return String.fromCharCode((value >>> 8) & 0xff, value & 0xff)
}

export function rstStream(stream: number, code: number): string {
  return frameHead(4, frameType.RST_STREAM, 0, stream) + uint32(code)
}

export function windowUpdate(stream: number, bytes: number): string {
  return frameHead(4, frameType.WINDOW_UPDATE, 0, stream) + uint32(bytes)
}

export function goaway(lastStream: number, code: number, debug: string): string {
  return frameHead(8 + debug.length, frameType.GOAWAY, 0, 0) + uint32(lastStream) + uint32(code) + debug
}

/** `payload`: eight characters. */
export function ping(ack: boolean, payload: string): string {
  return frameHead(8, frameType.PING, ack ? flag.ACK : 0, 0) + payload
}

export function settings(values: readonly (readonly [id: number, value: number])[]): string {
  const payload = values.map(([id, value]) => uint16(id) + uint32(value)).join('')
  return frameHead(payload.length, frameType.SETTINGS, 0, 0) + payload
}

export const settingsAck: string = frameHead(0, frameType.SETTINGS, flag.ACK, 0)

/**
 * HEADERS, and CONTINUATION where the block is longer than a frame may be. `flags`: END_STREAM or none; the end of the
 * block is marked here.
 */
export function headersFrames(stream: number, block: string, endStream: boolean, frameMax: number): string {
  const flags = endStream ? flag.END_STREAM : 0
  if (block.length <= frameMax)
    return frameHead(block.length, frameType.HEADERS, flags | flag.END_HEADERS, stream) + block
  let text = frameHead(frameMax, frameType.HEADERS, flags, stream) + block.slice(0, frameMax)
  for (let at = frameMax; at < block.length; at += frameMax) {
    const part = block.slice(at, at + frameMax)
    const last = at + frameMax >= block.length
    text += frameHead(part.length, frameType.CONTINUATION, last ? flag.END_HEADERS : 0, stream) + part
  }
  return text
}

/** DATA of bytes that are text already. */
export function dataFrames(stream: number, text: string, endStream: boolean, frameMax: number): string {
  const end = endStream ? flag.END_STREAM : 0
  if (text.length <= frameMax) return frameHead(text.length, frameType.DATA, end, stream) + text
  let frames = ''
  for (let at = 0; at < text.length; at += frameMax) {
    const part = text.slice(at, at + frameMax)
    frames += frameHead(part.length, frameType.DATA, at + frameMax >= text.length ? end : 0, stream) + part
  }
  return frames
}

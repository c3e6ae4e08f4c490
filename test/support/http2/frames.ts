/** Frames of HTTP/2 (RFC 9113 section 4) as bytes, right or wrong: nothing here checks what it writes. */

export const types = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const

export const flags = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const

/** Names of error codes, by their number (RFC 9113 section 7). */
export const errorNames = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
] as const
export type ErrorName = (typeof errorNames)[number]

/** Numbers of settings (6.5.2, and RFC 8441). */
export const settingIds = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
} as const
export type Settings = Readonly<Partial<Record<keyof typeof settingIds, number>>>

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const nothing = Buffer.alloc(0)
/** SETTINGS_MAX_FRAME_SIZE as it is at first. */
const frameBytesMax = 16_384

export function frame(type: number, flag: number, stream: number, payload: Buffer = nothing): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flag
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export function settings(values: Settings = {}): Buffer {
  const entries = Object.entries(values) as [keyof typeof settingIds, number][]
  const payload = Buffer.alloc(6 * entries.length)
  for (const [i, [name, value]] of entries.entries()) {
    payload.writeUInt16BE(settingIds[name], 6 * i)
    payload.writeUInt32BE(value, 6 * i + 2)
  }
  return frame(types.settings, 0, 0, payload)
}

export function readSettings({ payload }: Frame): Settings {
  const found: Record<string, number> = {}
  for (let at = 0; at + 6 <= payload.length; at += 6) {
    const id = payload.readUInt16BE(at)
    const name = Object.entries(settingIds).find(([, known]) => known === id)?.[0]
    if (name !== undefined) found[name] = payload.readUInt32BE(at + 2)
  }
  return found
}

export function headers(stream: number, block: Buffer, flag: number = flags.endHeaders | flags.endStream): Buffer {
  return frame(types.headers, flag, stream, block)
}

/** A head of any length: HEADERS, and CONTINUATION for what does not fit. */
export function head(stream: number, block: Buffer, end: boolean): Buffer {
  const pieces = Array.from({ length: Math.ceil(block.length / frameBytesMax) || 1 }, (_, i) =>
    block.subarray(i * frameBytesMax, (i + 1) * frameBytesMax),
  )
  const last = pieces.length - 1
  return Buffer.concat(
    pieces.map((piece, i) => {
      const flag = (i === 0 && end ? flags.endStream : 0) | (i === last ? flags.endHeaders : 0)
      return frame(i === 0 ? types.headers : types.continuation, flag, stream, piece)
    }),
  )
}

export function data(stream: number, bytes: Buffer | string, end = false): Buffer {
  return frame(types.data, end ? flags.endStream : 0, stream, Buffer.from(bytes as string, 'latin1'))
}

export function reset(stream: number, error: ErrorName): Buffer {
  return frame(types.reset, 0, stream, numbers(errorNames.indexOf(error)))
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(types.window, 0, stream, numbers(increment))
}

export function goaway(lastStream: number, error: ErrorName): Buffer {
  return frame(types.goaway, 0, 0, numbers(lastStream, errorNames.indexOf(error)))
}

export function ping(ack = false, opaque: Buffer = Buffer.alloc(8)): Buffer {
  return frame(types.ping, ack ? flags.ack : 0, 0, opaque)
}

/** What a RST_STREAM or a GOAWAY gives as its reason. */
export function errorOf({ type, payload }: Frame): ErrorName | undefined {
  return errorNames[payload.readUInt32BE(type === types.goaway ? 4 : 0)]
}

/** Each as four bytes. */
export function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i)
  return bytes
}

/** Cuts what comes in chunks into frames. */
export class FrameReader {
  #held: Buffer = nothing

  push(chunk: Buffer): Frame[] {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const frames: Frame[] = []
    while (this.#held.length >= 9) {
      const length = this.#held.readUIntBE(0, 3)
      if (this.#held.length < 9 + length) break
      frames.push({
        type: this.#held[3]!,
        flags: this.#held[4]!,
        stream: this.#held.readUInt32BE(5) & 0x7fff_ffff,
        payload: this.#held.subarray(9, 9 + length),
      })
      this.#held = this.#held.subarray(9 + length)
    }
    return frames
  }
}

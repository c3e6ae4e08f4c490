/** Frames that end a connection (row 24): each with the reason that GOAWAY must give, or none where an end without one will do. */
import { data, type ErrorName, flags, frame, headers, numbers, ping, settings, types } from '../support/http2/frames.ts'
import { block, indexed, integer } from '../support/http2/hpack.ts'
import { requestFields } from '../support/http2/raw.ts'

export interface BadFrames {
  readonly what: string
  /** RFC 9113, unless it says otherwise. */
  readonly section: string
  readonly bytes: Buffer
  readonly error: ErrorName
}

const get = block(requestFields())
const whole = flags.endHeaders | flags.endStream
const list: readonly [what: string, section: string, bytes: Buffer, error: ErrorName][] = [
  ['DATA of no stream', '6.1', frame(types.data, 0, 0, Buffer.from('x')), 'PROTOCOL_ERROR'],
  ['DATA of a stream that is not', '5.1', data(1, 'x'), 'PROTOCOL_ERROR'],
  [
    'padding that is longer than its frame',
    '6.1',
    Buffer.concat([headers(1, get, flags.endHeaders), frame(types.data, flags.padded, 1, Buffer.from([9, 1]))]),
    'PROTOCOL_ERROR',
  ],
  ['HEADERS of no stream', '6.2', headers(0, get), 'PROTOCOL_ERROR'],
  ['a stream that only a server may open', '5.1.1', headers(2, get), 'PROTOCOL_ERROR'],
  // Nobody remembers whether it was ever open: it is closed (5.1).
  ['a number that is used up', '5.1.1', Buffer.concat([headers(5, get), headers(3, get)]), 'STREAM_CLOSED'],
  ['RST_STREAM of no stream', '6.4', frame(types.reset, 0, 0, numbers(8)), 'PROTOCOL_ERROR'],
  ['RST_STREAM of a stream that is not', '6.4', frame(types.reset, 0, 9, numbers(8)), 'PROTOCOL_ERROR'],
  ['RST_STREAM of three bytes', '6.4', frame(types.reset, 0, 1, Buffer.alloc(3)), 'FRAME_SIZE_ERROR'],
  ['SETTINGS of a stream', '6.5', frame(types.settings, 0, 1), 'PROTOCOL_ERROR'],
  ['SETTINGS of five bytes', '6.5', frame(types.settings, 0, 0, Buffer.alloc(5)), 'FRAME_SIZE_ERROR'],
  ['an acknowledgement with settings', '6.5', frame(types.settings, flags.ack, 0, Buffer.alloc(6)), 'FRAME_SIZE_ERROR'],
  ['ENABLE_PUSH 2', '6.5.2', settings({ enablePush: 2 }), 'PROTOCOL_ERROR'],
  ['a window past 2^31-1', '6.5.2', settings({ initialWindowSize: 2 ** 31 }), 'FLOW_CONTROL_ERROR'],
  ['MAX_FRAME_SIZE below 16,384', '6.5.2', settings({ maxFrameSize: 16_383 }), 'PROTOCOL_ERROR'],
  ['MAX_FRAME_SIZE past 2^24-1', '6.5.2', settings({ maxFrameSize: 2 ** 24 }), 'PROTOCOL_ERROR'],
  ['PUSH_PROMISE of a client', '6.6', frame(types.push, flags.endHeaders, 1, numbers(2)), 'PROTOCOL_ERROR'],
  ['PING of a stream', '6.7', frame(types.ping, 0, 1, Buffer.alloc(8)), 'PROTOCOL_ERROR'],
  ['PING of seven bytes', '6.7', ping(false, Buffer.alloc(7)), 'FRAME_SIZE_ERROR'],
  ['GOAWAY of a stream', '6.8', frame(types.goaway, 0, 1, Buffer.alloc(8)), 'PROTOCOL_ERROR'],
  ['WINDOW_UPDATE of nothing', '6.9', frame(types.window, 0, 0, numbers(0)), 'PROTOCOL_ERROR'],
  ['WINDOW_UPDATE of three bytes', '6.9', frame(types.window, 0, 0, Buffer.alloc(3)), 'FRAME_SIZE_ERROR'],
  ['a window that overflows', '6.9.1', frame(types.window, 0, 0, numbers(0x7fff_ffff)), 'FLOW_CONTROL_ERROR'],
  ['CONTINUATION of nothing', '6.10', frame(types.continuation, flags.endHeaders, 1, get), 'PROTOCOL_ERROR'],
  [
    'a frame in the middle of a head',
    '6.10',
    Buffer.concat([headers(1, get.subarray(0, 5), flags.endStream), ping()]),
    'PROTOCOL_ERROR',
  ],
  [
    'the middle of another head',
    '6.10',
    Buffer.concat([
      headers(1, get.subarray(0, 5), flags.endStream),
      frame(types.continuation, flags.endHeaders, 3, get.subarray(5)),
    ]),
    'PROTOCOL_ERROR',
  ],
  ['a frame of 16,385 bytes', '4.2', frame(types.headers, whole, 1, Buffer.alloc(16_385)), 'FRAME_SIZE_ERROR'],
  ['an index of no field', 'RFC 7541 2.3.3', headers(1, Buffer.concat([get, indexed(200)])), 'COMPRESSION_ERROR'],
  ['an index of zero', 'RFC 7541 6.1', headers(1, Buffer.concat([get, indexed(0)])), 'COMPRESSION_ERROR'],
  ['half a field', 'RFC 7541 5.2', headers(1, get.subarray(0, -1)), 'COMPRESSION_ERROR'],
  [
    'an integer without end',
    'RFC 7541 5.1',
    headers(1, Buffer.concat([get, Buffer.alloc(12, 0xff)])),
    'COMPRESSION_ERROR',
  ],
  [
    'a table that is larger than it may be',
    'RFC 7541 6.3',
    headers(1, Buffer.concat([integer(65_536, 5, 0x20), get])),
    'COMPRESSION_ERROR',
  ],
  [
    'the end of a string within it',
    'RFC 7541 5.2',
    headers(1, Buffer.concat([get, Buffer.from([0, 1, 0x78, 0x84, 0xff, 0xff, 0xff, 0xff])])),
    'COMPRESSION_ERROR',
  ],
]

export const badFrames: readonly BadFrames[] = list.map(([what, section, bytes, error]) => ({
  what,
  section,
  bytes,
  error,
}))

/** Answers of a hostile or broken upstream that speaks HTTP/2, each with what may become of it (row 26, and 14, 21 and 23 the other way round). */
import { data, flags, frame, goaway, headers, numbers, ping, reset, settings, types } from '../support/http2/frames.ts'
import { block, type Field, indexed } from '../support/http2/hpack.ts'

export interface Http2Answer {
  readonly what: string
  /** RFC 9113, unless it says otherwise. */
  readonly section: string
  /** What the upstream writes when it has read the head of a request on this stream. */
  readonly bytes: (stream: number) => Buffer
  /**
   * refused: the client gets a 502 or 503 of the mesh, and nothing of it. cut: it gets the head, and then RST_STREAM or, on
   * HTTP/1.1, the end of the connection before the body's; or a 502, if nothing had gone out. again: the upstream says that it has
   * done nothing, and gets it on another connection. A number: the client gets that status, whole.
   */
  readonly verdict: 'refused' | 'cut' | 'again' | number
  /** The upstream ends the connection after these bytes. */
  readonly ends?: true
}

const status = (code = '200'): Field => [':status', code]
const head = (stream: number, ...fields: readonly Field[]): Buffer => headers(stream, block(fields), flags.endHeaders)
const whole = (stream: number, ...fields: readonly Field[]): Buffer =>
  Buffer.concat([head(stream, ...fields), data(stream, 'secret', true)])
const many = (times: number, once: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: times }, (_, i) => once(i)))

type Row = readonly [
  what: string,
  section: string,
  verdict: Http2Answer['verdict'],
  bytes: Http2Answer['bytes'],
  'ends'?,
]

const rows: readonly Row[] = [
  // How it ends a connection (CVE-2021-32780 of Envoy: a crash).
  [
    'GOAWAY, and no stream allowed',
    '6.8',
    'again',
    () => Buffer.concat([settings({ maxConcurrentStreams: 0 }), goaway(0, 'NO_ERROR')]),
  ],
  [
    'no stream allowed, and GOAWAY',
    '6.8',
    'again',
    () => Buffer.concat([goaway(0, 'NO_ERROR'), settings({ maxConcurrentStreams: 0 })]),
  ],
  ['GOAWAY with an error', '6.8', 'refused', (stream) => goaway(stream, 'INTERNAL_ERROR'), 'ends'],
  [
    'GOAWAY twice, the second with more streams',
    '6.8',
    'again',
    () => Buffer.concat([goaway(0, 'NO_ERROR'), goaway(99, 'NO_ERROR')]),
    'ends',
  ],
  ['the end, without a word', '5.4.1', 'refused', () => Buffer.alloc(0), 'ends'],
  ['half a frame', '4.1', 'refused', (stream) => head(stream, status()).subarray(0, 12), 'ends'],
  ['HTTP/1.1', '3.4', 'refused', () => Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret'), 'ends'],
  // RST_STREAM.
  ['RST_STREAM instead of an answer', '6.4', 'refused', (stream) => reset(stream, 'INTERNAL_ERROR')],
  ['RST_STREAM that refuses', '8.7', 'again', (stream) => reset(stream, 'REFUSED_STREAM')],
  [
    'RST_STREAM behind the head',
    '6.4',
    'cut',
    (stream) => Buffer.concat([head(stream, status()), data(stream, 'a'), reset(stream, 'INTERNAL_ERROR')]),
  ],
  [
    'RST_STREAM without an error behind a whole answer',
    '8.1',
    200,
    (stream) => Buffer.concat([head(stream, status()), data(stream, 'ok', true), reset(stream, 'NO_ERROR')]),
  ],
  // Heads that are none.
  ['no status', '8.3.2', 'refused', (stream) => whole(stream, ['x-a', '1'])],
  ['two statuses', '8.3.2', 'refused', (stream) => whole(stream, status(), status('204'))],
  ['a status behind a field', '8.3', 'refused', (stream) => whole(stream, ['x-a', '1'], status())],
  ['a status of two digits', '8.3.2', 'refused', (stream) => whole(stream, status('20'))],
  ['a status of letters', '8.3.2', 'refused', (stream) => whole(stream, status('ok!'))],
  ['a status with a line end', '8.3.2', 'refused', (stream) => whole(stream, status('200\r\nx: y'))],
  ['101, which HTTP/2 does not have', '8.6', 'refused', (stream) => whole(stream, status('101'))],
  ['a pseudo-field of requests', '8.3.2', 'refused', (stream) => whole(stream, status(), [':path', '/'])],
  ['a capital in a name', '8.2.1', 'refused', (stream) => whole(stream, status(), ['X-a', '1'])],
  ['a line end in a name', '8.2.1', 'refused', (stream) => whole(stream, status(), ['x-a: 1\r\nx-secret', '1'])],
  ['a line end in a value', '8.2.1', 'refused', (stream) => whole(stream, status(), ['x-a', '1\r\nx-secret: 1'])],
  ['NUL in a value', '8.2.1', 'refused', (stream) => whole(stream, status(), ['x-a', 'secret\0'])],
  ['Connection', '8.2.2', 'refused', (stream) => whole(stream, status(), ['connection', 'keep-alive'])],
  ['Transfer-Encoding', '8.2.2', 'refused', (stream) => whole(stream, status(), ['transfer-encoding', 'chunked'])],
  [
    'two lengths',
    '8.1.1',
    'refused',
    (stream) => whole(stream, status(), ['content-length', '6'], ['content-length', '7']),
  ],
  ['a length that is no number', '8.1.1', 'refused', (stream) => whole(stream, status(), ['content-length', '0x6'])],
  [
    'a head of 128 KiB',
    '10.5.1',
    'refused',
    (stream) =>
      Buffer.concat([
        headers(stream, block([status(), ['x-a', 'secret'.repeat(2_000)]]), 0),
        many(7, () => frame(types.continuation, 0, stream, block([['x-b', 'b'.repeat(16_000)]]))),
        frame(types.continuation, flags.endHeaders, stream, block([['x-c', '1']])),
      ]),
  ],
  [
    'two thousand fields',
    '10.5.1',
    'refused',
    (stream) => whole(stream, status(), ...Array.from({ length: 2_000 }, (_, i): Field => [`x${i}`, ''])),
  ],
  // Bodies and trailers.
  ['DATA before a head', '8.1', 'refused', (stream) => data(stream, 'secret', true)],
  [
    'a body that is shorter than its length',
    '8.1.1',
    'cut',
    (stream) => Buffer.concat([head(stream, status(), ['content-length', '9']), data(stream, 'ab', true)]),
  ],
  [
    'a body that is longer than its length',
    '8.1.1',
    'cut',
    (stream) =>
      Buffer.concat([
        head(stream, status(), ['content-length', '2']),
        data(stream, 'ab'),
        data(stream, 'secret', true),
      ]),
  ],
  [
    'no body where one is announced',
    '8.1.1',
    'refused',
    (stream) => headers(stream, block([status(), ['content-length', '6']])),
  ],
  [
    'a pseudo-field in trailers',
    '8.1',
    'cut',
    (stream) =>
      Buffer.concat([
        head(stream, status()),
        data(stream, 'ab'),
        headers(stream, block([status('204'), ['x-secret', '1']])),
      ]),
  ],
  [
    'trailers that end nothing',
    '8.1',
    'cut',
    (stream) =>
      Buffer.concat([
        head(stream, status()),
        data(stream, 'ab'),
        head(stream, ['x-secret', '1']),
        data(stream, 'secret', true),
      ]),
  ],
  [
    'frames behind the end',
    '5.1',
    200,
    (stream) => Buffer.concat([head(stream, status()), data(stream, 'ok', true), data(stream, 'secret', true)]),
  ],
  // What only a client may say, or nobody.
  [
    'PUSH_PROMISE',
    '6.6',
    'refused',
    (stream) =>
      frame(
        types.push,
        flags.endHeaders,
        stream,
        Buffer.concat([
          numbers(2),
          block([
            [':method', 'GET'],
            [':scheme', 'http'],
            [':path', '/'],
            [':authority', 'app'],
          ]),
        ]),
      ),
  ],
  ['an answer that nobody asked for', '5.1', 'refused', () => whole(99, status())],
  ['an answer of a server’s stream', '5.1.1', 'refused', () => whole(2, status())],
  ['SETTINGS that push', '6.5.2', 'refused', () => settings({ enablePush: 1 })],
  [
    'an index of no field',
    'RFC 7541 2.3.3',
    'refused',
    (stream) => headers(stream, Buffer.concat([block([status()]), indexed(200)])),
  ],
  ['a window that overflows', '6.9.1', 'refused', () => frame(types.window, 0, 0, numbers(0x7fff_ffff))],
  ['a frame that is too long', '4.2', 'refused', (stream) => frame(types.data, 0, stream, Buffer.alloc(16_385, 's'))],
  [
    'more than the window of the stream',
    '6.9.1',
    'cut',
    (stream) => Buffer.concat([head(stream, status()), many(6_000, () => data(stream, 'x'.repeat(16_384)))]),
  ],
  // Floods.
  ['PING without end', '10.5', 'refused', () => many(20_000, () => ping())],
  ['SETTINGS without end', '10.5', 'refused', () => many(20_000, () => settings())],
  [
    'interim answers without end',
    '10.5',
    'refused',
    (stream) => many(20_000, () => head(stream, status('103'), ['link', 'x'])),
  ],
  [
    'CONTINUATION without end',
    '10.5',
    'refused',
    (stream) =>
      Buffer.concat([headers(stream, block([status()]), 0), many(20_000, () => frame(types.continuation, 0, stream))]),
  ],
]

export const http2Answers: readonly Http2Answer[] = rows.map(([what, section, verdict, bytes, ends]) => ({
  what,
  section,
  verdict,
  bytes,
  ...(ends !== undefined && { ends: true as const }),
}))

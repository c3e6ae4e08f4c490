/**
 * Requests of HTTP/2 that no peer may take, and some like them that it must (rows 21 to 23). A refusal is RST_STREAM or an
 * answer, on that stream alone: the connection serves the next one. Names and values are sent as bytes, by literals.
 */
import { data } from '../support/http2/frames.ts'
import type { Field } from '../support/http2/hpack.ts'
import { requestFields } from '../support/http2/raw.ts'

export interface Http2Case {
  readonly row: number
  readonly what: string
  /** RFC and section. */
  readonly rule: string
  readonly fields: readonly Field[]
  /** Frames behind the head, which then does not end the stream. */
  readonly body?: (stream: number) => Buffer
  /** Bytes between the frames of the head and of the body are seen by the application before it is known what they are. */
  readonly begins?: true
  /** A refusal: a reason of RST_STREAM, or a status. Left out: it is served. */
  readonly refused?: readonly ('PROTOCOL_ERROR' | 'ENHANCE_YOUR_CALM' | number)[]
}

/** Malformed (RFC 9113 8.1.1): a stream error, before which there may be an answer. */
const malformed = ['PROTOCOL_ERROR', 400] as const
const tooMuch = ['ENHANCE_YOUR_CALM', 431] as const

function fieldCases(row: number, rule: string, fields: Readonly<Record<string, Field>>): Http2Case[] {
  return Object.entries(fields).map(([what, field]) => ({
    row,
    what,
    rule,
    fields: requestFields({}, field),
    refused: malformed,
  }))
}

function headCases(rule: string, heads: Readonly<Record<string, readonly Field[]>>): Http2Case[] {
  return Object.entries(heads).map(([what, fields]) => ({ row: 21, what, rule, fields, refused: malformed }))
}

const names = fieldCases(21, 'RFC 9113 8.2.1', {
  'a capital in a name': ['X-a', '1'],
  'a blank in a name': ['x a', '1'],
  'a colon in a name': ['x:a', '1'],
  'no name': ['', '1'],
  'a line end in a name': ['x-a: 1\r\nx-smuggled', '1'],
  'a NUL in a name': ['x\0a', '1'],
  'DEL in a name': ['x\x7f', '1'],
  'a name that is no ASCII': ['x\xe9', '1'],
  'a tab behind a name': ['x-a\t', '1'],
})

const values = fieldCases(21, 'RFC 9113 8.2.1', {
  'a line end in a value': ['x-a', '1\r\nx-smuggled: 1'],
  'a whole request in a value': ['x-a', '1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app:8080\r\n\r\n'],
  'LF in a value': ['x-a', '1\n2'],
  'CR in a value': ['x-a', '1\r2'],
  'NUL in a value': ['x-a', '1\x002'],
  'a blank before a value': ['x-a', ' 1'],
  'a blank behind a value': ['x-a', '1 '],
  'a tab before a value': ['x-a', '\t1'],
})

const connection = fieldCases(21, 'RFC 9113 8.2.2', {
  Connection: ['connection', 'close'],
  'Connection that names a field': ['connection', 'x-outrigger-reason'],
  'Keep-Alive': ['keep-alive', 'timeout=5'],
  'Proxy-Connection': ['proxy-connection', 'keep-alive'],
  'Transfer-Encoding': ['transfer-encoding', 'chunked'],
  Upgrade: ['upgrade', 'h2c'],
  'TE that is not trailers': ['te', 'gzip'],
})

const pseudo = headCases('RFC 9113 8.3', {
  'no method': requestFields().slice(1),
  'no scheme': requestFields().filter(([name]) => name !== ':scheme'),
  'no path': requestFields().filter(([name]) => name !== ':path'),
  'two methods': [[':method', 'POST'], ...requestFields()],
  'two paths': [[':path', '/smuggled'], ...requestFields()],
  'two schemes': [[':scheme', 'https'], ...requestFields()],
  'two authorities': [[':authority', 'other:8080'], ...requestFields()],
  'a path behind a field': [...requestFields().slice(0, 2), ['x-a', '1'], ...requestFields().slice(2)],
  'a status': [...requestFields(), [':status', '200']],
  'a pseudo-field that nobody knows': [[':x', '1'], ...requestFields()],
  'a protocol without CONNECT': [[':protocol', 'websocket'], ...requestFields()],
})

const starts = headCases('RFC 9113 8.3.1', {
  'no byte of a path': requestFields({ path: '' }),
  'a path without a slash': requestFields({ path: 'smuggled' }),
  'a request line in the path': requestFields({ path: '/ HTTP/1.1\r\nHost: other\r\n\r\nGET /smuggled' }),
  'a blank in the path': requestFields({ path: '/a b' }),
  'a NUL in the path': requestFields({ path: '/a\0b' }),
  'a fragment': requestFields({ path: '/a#b' }),
  'no byte of a method': requestFields({ method: '' }),
  'a blank in the method': requestFields({ method: 'GET /smuggled HTTP/1.1' }),
  'a line end in the method': requestFields({ method: 'GET / HTTP/1.1\r\nx: ' }),
  'a URL in the scheme': requestFields({ scheme: 'http://other/?' }),
  'a line end in the authority': requestFields({ authority: 'app:8080\r\nx-smuggled: 1' }),
  'a blank in the authority': requestFields({ authority: 'app:8080 other' }),
  'a user in the authority': requestFields({ authority: 'other@app:8080' }),
  'a path in the authority': requestFields({ authority: 'app:8080/smuggled' }),
})

const post = (...fields: readonly Field[]): readonly Field[] => requestFields({ method: 'POST' }, ...fields)

const lengths: readonly Http2Case[] = [
  {
    what: 'a length, and the end',
    fields: post(['content-length', '5']),
  },
  {
    what: 'a negative length',
    fields: post(['content-length', '-1']),
    body: (stream: number) => data(stream, 'a', true),
  },
  {
    what: 'a signed length',
    fields: post(['content-length', '+1']),
    body: (stream: number) => data(stream, 'a', true),
  },
  { what: 'no digits', fields: post(['content-length', '']), body: (stream: number) => data(stream, 'a', true) },
  {
    what: 'two lengths',
    fields: post(['content-length', '1'], ['content-length', '2']),
    body: (stream: number) => data(stream, 'a', true),
  },
  {
    what: 'a list of lengths',
    fields: post(['content-length', '1, 2']),
    body: (stream: number) => data(stream, 'a', true),
  },
  {
    what: 'a body that is shorter',
    fields: post(['content-length', '5']),
    body: (stream: number) => data(stream, 'ab', true),
    begins: true as const,
  },
  {
    what: 'a body that is longer',
    fields: post(['content-length', '2']),
    body: (stream: number) => data(stream, 'abGET /smuggled HTTP/1.1\r\nHost: app:8080\r\n\r\n', true),
    begins: true as const,
  },
].map((lengthCase) => ({ row: 21, rule: 'RFC 9113 8.1.1', refused: malformed, ...lengthCase }))

const authority: readonly Http2Case[] = [
  { what: 'another Host', fields: requestFields({}, ['host', 'other:8080']), refused: malformed },
  { what: 'the same Host', fields: requestFields({}, ['host', 'app:8080']) },
  {
    what: 'two Hosts',
    fields: requestFields({}, ['host', 'app:8080'], ['host', 'other:8080']),
    refused: malformed,
  },
  {
    what: 'Host alone',
    fields: [...requestFields().filter(([name]) => name !== ':authority'), ['host', 'app:8080'] as const],
  },
  {
    what: 'neither',
    fields: requestFields().filter(([name]) => name !== ':authority'),
    refused: malformed,
  },
  { what: 'no byte of an authority', fields: requestFields({ authority: '' }), refused: malformed },
].map((authorityCase) => ({ row: 22, rule: 'RFC 9113 8.3.1', ...authorityCase }))

const bombs: readonly Http2Case[] = [
  {
    what: 'two thousand tiny fields',
    fields: requestFields({}, ...Array.from({ length: 2_000 }, (_, i): Field => [`x${i}`, ''])),
    refused: tooMuch,
  },
  { what: '128 KiB in one value', fields: requestFields({}, ['x-a', 'a'.repeat(131_072)]), refused: tooMuch },
  {
    what: '128 KiB of cookies',
    fields: requestFields({}, ...Array.from({ length: 900 }, (): Field => ['cookie', 'c'.repeat(144)])),
    refused: tooMuch,
  },
].map((bomb) => ({ row: 23, rule: 'RFC 9113 10.5.1', ...bomb }))

export const http2Cases: readonly Http2Case[] = [
  ...names,
  ...values,
  ...connection,
  ...pseudo,
  ...starts,
  ...lengths,
  ...authority,
  ...bombs,
]

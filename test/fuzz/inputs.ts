/** Requests near the edge: legal parts, the odd spellings that have fooled parsers, and mutated bytes. */
import fc from 'fast-check'

const lineEnds = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', '\r\n ', '\n\r']
const methods = [
  'GET',
  'POST',
  'PUT',
  'HEAD',
  'OPTIONS',
  'DELETE',
  'CONNECT',
  'get',
  'G ET',
  '',
  'GE\tT',
  'GE\0T',
  'PRI',
  'M-SEARCH',
]
const targets = [
  '/',
  '/a?b=c',
  '*',
  'http://h/x',
  'h:80',
  '/a b',
  '/\x7f',
  '/\x80',
  '/#f',
  '//',
  '/%00',
  '',
  'http://',
  '/a\tb',
]
const versions = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/0.9',
  'HTTP/2.0',
  'HTTP/1.2',
  'http/1.1',
  'HTTP/1.1 ',
  ' HTTP/1.1',
  'HTTP/11',
  '',
]
const names = [
  'Host',
  'Content-Length',
  'Transfer-Encoding',
  'Connection',
  'Upgrade',
  'Expect',
  'X-A',
  'x-b',
  'TE',
  'Trailer',
  'Content-Length ',
  ' X',
  'X\0',
  'X(',
  'Content_Length',
  'Transfer-Encoding\x0b',
  '',
  'X-\xff',
  'Keep-Alive',
  'content-length',
  'TRANSFER-ENCODING',
]
const values = [
  'h',
  'a:80',
  '0',
  '3',
  '5',
  '10',
  '+3',
  '-1',
  '0x3',
  '3, 3',
  '03',
  '3 ',
  ' 3',
  '\t3',
  'chunked',
  'Chunked',
  ',chunked',
  'gzip, chunked',
  'chunked, chunked',
  'identity',
  'chunked;a',
  '\x0bchunked',
  'close',
  'keep-alive',
  'upgrade',
  'x-a',
  'websocket',
  'h2c',
  '100-continue',
  '',
  'a\0b',
  'a\rb',
  'a\nb',
  '\xe9',
  'a b',
  '99999999999999999999',
]
const bodies = [
  '',
  'abc',
  '3\r\nabc\r\n0\r\n\r\n',
  '3\r\nabc\r\n',
  '0\r\n\r\n',
  '0\r\nX: y\r\n\r\n',
  '3;e=f\r\nabc\r\n0\r\n\r\n',
  '3;"e\n"\r\nabc\r\n0\r\n\r\n',
  '0x3\r\nabc\r\n0\r\n\r\n',
  '3\nabc\n0\n\n',
  '3\r\nabcX0\r\n\r\n',
  '03\r\nabc\r\n00\r\n\r\n',
  '3 \r\nabc\r\n0\r\n\r\n',
  '0\r\nX : y\r\n\r\n',
  'GET /smug HTTP/1.1\r\nHost: h\r\n\r\n',
  'fffffffffffffffff\r\n',
  '3\r\nabc\r\n0\r\n\r',
]

const pick = (list: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...list)

const field = fc
  .tuple(pick(names), fc.constantFrom(': ', ': ', ': ', ':', ' : ', ':\t', ''), pick(values), pick(lineEnds))
  .map((parts) => parts.join(''))

const wellFormed = fc
  .tuple(pick(['GET', 'POST', 'PUT']), pick(['/', '/a?b', '/x']), fc.array(field, { maxLength: 4 }), pick(bodies))
  .map(([method, target, fields, body]) => `${method} ${target} HTTP/1.1\r\nHost: h\r\n${fields.join('')}\r\n${body}`)

const odd = fc
  .tuple(
    fc.constantFrom('', '', '', '\r\n', '\n', '\r\n\r\n', ' '),
    pick(methods),
    pick(targets),
    pick(versions),
    pick(lineEnds),
    fc.array(field, { maxLength: 5 }),
    pick(lineEnds),
    pick(bodies),
  )
  .map(
    ([lead, method, target, version, end, fields, blank, body]) =>
      `${lead}${method} ${target} ${version}${end}${fields.join('')}${blank}${body}`,
  )

interface Edit {
  readonly at: number
  readonly what: number
  readonly byte: number
}

const edits = fc.array(
  fc.record({
    at: fc.nat(400),
    what: fc.nat(2),
    byte: fc.oneof(fc.constantFrom(0, 9, 10, 11, 13, 32, 34, 44, 45, 48, 58, 59, 127, 128, 255), fc.nat(255)),
  }),
  { maxLength: 3 },
)

function edit(text: string, list: readonly Edit[]): string {
  for (const { at, what, byte } of list) {
    const pos = text.length === 0 ? 0 : at % text.length
    const c = String.fromCharCode(byte)
    if (what === 0) text = text.slice(0, pos) + c + text.slice(pos)
    else if (what === 1) text = text.slice(0, pos) + text.slice(pos + 1)
    else text = text.slice(0, pos) + c + text.slice(pos + 1)
  }
  return text
}

export const requestBytes: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: wellFormed }, { weight: 2, arbitrary: odd }),
    fc.oneof(fc.constant([]), edits),
  )
  .map(([text, list]) => Buffer.from(edit(text, list), 'latin1'))

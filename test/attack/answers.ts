/**
 * Answers of a hostile or broken upstream, each with what may become of it. The request is `GET /`, or what the line says;
 * afterwards the same pool must carry a next request to its own answer.
 */
import { host } from './vector.ts'

export interface Answer {
  readonly name: string
  /** Section it rests on. */
  readonly rule: string
  /** What the upstream writes when it has read the request, as latin1 text. */
  readonly bytes: string
  /**
   * refused: the client gets 502 and nothing of it. cut: it gets the head and what is sure of the body, then the
   * connection is lost before the body's end; or a 502, if nothing of it had gone out. A number: it gets that status, whole.
   */
  readonly verdict: 'refused' | 'cut' | number
  /** The upstream ends the connection after these bytes. */
  readonly ends?: boolean
  readonly request?: string
  /** What the client may never see, and what it must. */
  readonly never?: RegExp
  readonly must?: RegExp
}

type More = Partial<Omit<Answer, 'name' | 'rule' | 'bytes' | 'verdict'>>

const refused = (name: string, rule: string, bytes: string, more: More = {}): Answer => ({
  name,
  rule,
  bytes,
  verdict: 'refused',
  never: /secret|evil/i,
  ...more,
})
const cut = (name: string, rule: string, bytes: string, more: More = {}): Answer => ({
  name,
  rule,
  bytes,
  verdict: 'cut',
  never: /secret|evil/i,
  ...more,
})
const served = (name: string, rule: string, bytes: string, more: More = {}, status = 200): Answer => ({
  name,
  rule,
  bytes,
  verdict: status,
  never: /secret|evil/i,
  ...more,
})

const ok = 'HTTP/1.1 200 OK\r\n'
const evil = `${ok}X-Evil: 1\r\nContent-Length: 4\r\n\r\nevil`
const body = 'Content-Length: 2\r\n\r\nok'
const chunked = (text: string): string => `${ok}Transfer-Encoding: chunked\r\n\r\n${text}`
const last = '0\r\n\r\n'
const head = `HEAD / HTTP/1.1\r\n${host}\r\n`
const post = `POST / HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\nhi`
const upgrade = `GET / HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`

const statusLines: readonly Answer[] = [
  refused('HTTP/0.9: a body without a head', '9112 4', '<html>secret</html>', { ends: true }),
  refused('HTTP/0.9 with an empty line in it', '9112 4', 'secret\r\n\r\nsecret'),
  refused('HTTP/2 settings', '9113 3.4', '\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0dsecret'),
  refused('HTTP/2.0', '9112 4', `HTTP/2.0 200 OK\r\n${body}`),
  refused('HTTP/1.2', '9112 4', `HTTP/1.2 200 OK\r\n${body}`),
  refused('HTTP/0.9 by name', '9112 4', `HTTP/0.9 200 OK\r\n${body}`),
  refused('http/1.1 in small letters', '9112 4', `http/1.1 200 OK\r\n${body}`),
  refused('ICY', '9112 4', `ICY 200 OK\r\n${body}`),
  refused('TLS alert', '9112 4', '\x15\x03\x01\0\x02\x02\x28'),
  refused('SSH banner', '9112 4', 'SSH-2.0-secret\r\n'),
  refused('an empty line first', '9112 4', `\r\n${ok}${body}`),
  refused('a blank first', '9112 4', ` ${ok}${body}`),
  refused('status of two digits', '9112 4', `HTTP/1.1 20 OK\r\n${body}`),
  refused('status of four digits', '9112 4', `HTTP/1.1 2000 OK\r\n${body}`),
  refused('status of letters', '9112 4', `HTTP/1.1 2x0 OK\r\n${body}`),
  refused('status with plus', '9112 4', `HTTP/1.1 +20 OK\r\n${body}`),
  refused('status 000', '9112 4', `HTTP/1.1 000 OK\r\n${body}`),
  refused('two blanks before status', '9112 4', `HTTP/1.1  200 OK\r\n${body}`),
  refused('tab before status', '9112 4', `HTTP/1.1\t200 OK\r\n${body}`),
  refused('reason with bare CR', '9112 2.2', `HTTP/1.1 200 O\rK\r\n${body}`),
  refused('reason with NUL', '9112 4', `HTTP/1.1 200 O\0K\r\n${body}`),
  refused('status line ended by LF', '9112 2.2', `HTTP/1.1 200 OK\n${body}`),
  served('reason of high bytes', '9112 4', `HTTP/1.1 200 \xe9\r\n${body}`),
  served('no reason', '9112 4', `HTTP/1.1 200 \r\n${body}`),
]

const fields: readonly Answer[] = [
  refused('splitting by bare CR in a value', '9112 2.2', `${ok}X-A: b\rX-Evil: 1\r\n${body}`),
  refused('splitting by bare LF in a value', '9112 2.2', `${ok}X-A: b\nX-Evil: 1\r\n${body}`),
  refused('splitting by CR CR LF', '9112 2.2', `${ok}X-A: b\r\r\nX-Evil: 1\r\n${body}`),
  refused('head ended by LF LF', '9112 2.2', `HTTP/1.1 200 OK\nContent-Length: 2\n\nok`),
  refused('NUL in a value', '9110 5.5', `${ok}X-A: b\0evil\r\n${body}`),
  refused('NUL in a name', '9110 5.1', `${ok}X\0A: b\r\n${body}`),
  refused('escape in a value', '9110 5.5', `${ok}X-A: \x1b[2Jevil\r\n${body}`),
  refused('folding', '9112 5.2', `${ok}X-A: b\r\n X-Evil: 1\r\n${body}`),
  refused('space before colon', '9112 5.1', `${ok}X-Evil : b\r\n${body}`),
  refused('no colon', '9112 5', `${ok}X-Evil\r\n${body}`),
  refused('empty name', '9110 5.1', `${ok}: evil\r\n${body}`),
  refused('Connection that nominates framing', '9110 7.6.1', `${ok}Connection: content-length\r\n${body}`),
  refused('1,500 fields', '6585 5', `${ok}${'a: b\r\n'.repeat(1_500)}${body}`),
  refused('head of 70 KB', '6585 5', `${ok}X-A: ${'b'.repeat(70_000)}\r\n${body}`),
  refused('head that never ends', '6585 5', `${ok}${'X-A: b\r\n'.repeat(12_000)}`),
  refused('head cut short', '9112 8', `${ok}X-Evil: b\r\n`, { ends: true }),
  refused('end instead of an answer', '9112 8', '', { ends: true }),
  served(
    'hop-by-hop and nominated fields are dropped',
    '9110 7.6.1',
    `${ok}Connection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: secret\r\n${body}`,
  ),
  served('our own fields are not for it to say', 'ours', `${ok}x-outrigger-reason: evil\r\n${body}`),
]

const framing: readonly Answer[] = [
  refused('both framings', '9112 6.3', `${ok}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${last}`),
  refused('two different CL', '9112 6.3', `${ok}Content-Length: 4\r\nContent-Length: 2\r\n\r\nevil`),
  refused('two equal CL', '9112 6.3', `${ok}Content-Length: 4\r\nContent-Length: 4\r\n\r\nevil`),
  refused('CL list', '9110 8.6', `${ok}Content-Length: 4, 4\r\n\r\nevil`),
  refused('CL negative', '9110 8.6', `${ok}Content-Length: -1\r\n\r\nevil`),
  refused('CL with plus', '9110 8.6', `${ok}Content-Length: +4\r\n\r\nevil`),
  refused('CL hexadecimal', '9110 8.6', `${ok}Content-Length: 0x4\r\n\r\nevil`),
  refused('CL empty', '9110 8.6', `${ok}Content-Length:\r\n\r\nevil`),
  refused('CL of 2^64 + 4', '9110 8.6', `${ok}Content-Length: 18446744073709551620\r\n\r\nevil`),
  refused('TE twice', '9112 6.1', `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${last}`),
  refused('TE identity', '9112 6.1', `${ok}Transfer-Encoding: identity\r\n\r\nevil`),
  refused('TE gzip, chunked', '9112 6.1', `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n${last}`),
  refused('TE with vertical tab', '9110 5.5', `${ok}Transfer-Encoding: \x0bchunked\r\n\r\n${last}`),
  refused('TE in HTTP/1.0', '9112 6.1', `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${last}`),
  refused('204 with CL', '9110 8.6', 'HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil'),
  refused('204 with TE', '9112 6.1', `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n${last}`),
  refused('103 with CL', '9110 8.6', `HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nevil${evil}`),
  refused('100 with TE', '9112 6.1', `HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n${last}${evil}`),
  cut('CL longer than the body', '9112 8', `${ok}Content-Length: 9\r\n\r\nok`, {
    ends: true,
    must: /content-length: 9\r\n/,
  }),
  served(
    'CL 0 on 204',
    '9110 8.6',
    'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
    { never: /content-length/i },
    204,
  ),
  served('body after 204', '9112 6.3', `HTTP/1.1 204 No Content\r\n\r\n${evil}`, {}, 204),
  served('body after 304', '9112 6.3', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil', {}, 304),
  served('body after the answer to HEAD', '9112 6.3', `${ok}Content-Length: 4\r\n\r\nevil`, { request: head }),
  served('chunks after the answer to HEAD', '9112 6.3', chunked(`4\r\nevil\r\n${last}`), { request: head }),
  served('body until the end', '9112 6.3', `${ok}\r\nok`, { ends: true, must: /\r\n2\r\nok\r\n0\r\n\r\n$/ }),
  served('body until the end in HTTP/1.0', '9112 6.3', 'HTTP/1.0 200 OK\r\n\r\nok', {
    ends: true,
    must: /ok\r\n0\r\n\r\n$/,
  }),
]

const chunks: readonly Answer[] = [
  cut('chunk size 0x', '9112 7.1', chunked(`0x4\r\nevil\r\n${last}`)),
  cut('chunk size with sign', '9112 7.1', chunked(`+4\r\nevil\r\n${last}`)),
  cut('chunk size with blank', '9112 7.1', chunked(`4 \r\nevil\r\n${last}`)),
  cut('chunk size of 2^64 + 4', '9112 7.1', chunked(`10000000000000004\r\nevil\r\n${last}`)),
  cut('chunk size missing', '9112 7.1', chunked(`\r\nevil\r\n${last}`)),
  cut('chunk size ended by LF', '9112 7.1', chunked(`4\nevil\r\n${last}`)),
  cut('chunk longer than its size', '9112 7.1', chunked(`2\r\nokevil\r\n${last}`), { must: /\r\n2\r\nok\r\n/ }),
  cut('LF after a chunk', '9112 7.1', chunked(`2\r\nok\n${last}`)),
  cut('LF in a chunk extension', '9112 7.1.1', chunked(`4;a\nb\r\nevil\r\n${last}`)),
  cut('quoted CRLF in a chunk extension', '9112 7.1.1', chunked(`4;a="\r\nevil\r\n${last}`)),
  cut('chunk extension of 20 KB', '9112 7.1.1', chunked(`4;${'a'.repeat(20_000)}\r\nevil\r\n${last}`)),
  cut('no last chunk', '9112 8', chunked('2\r\nok\r\n'), { ends: true, must: /ok/ }),
  cut('last chunk without its empty line', '9112 8', chunked('2\r\nok\r\n0\r\n'), { ends: true }),
  cut('trailers of 20 KB', '9112 7.1.2', chunked(`2\r\nok\r\n0\r\nX-Evil: ${'a'.repeat(20_000)}\r\n\r\n`)),
  cut('malformed trailer', '9112 7.1.2', chunked('2\r\nok\r\n0\r\nX Evil: a\r\n\r\n')),
  cut('trailer with bare CR', '9112 2.2', chunked('2\r\nok\r\n0\r\nX-A: a\rX-Evil: b\r\n\r\n')),
  served(
    'framing in trailers is dropped',
    '9110 6.5.1',
    chunked('2\r\nok\r\n0\r\nContent-Length: 9\r\nSet-Cookie: evil\r\nX-Sum: 1\r\n\r\n'),
    { must: /X-Sum: 1/ },
  ),
  served('extensions are dropped', '9112 7.1.1', chunked('2;evil=1\r\nok\r\n0;evil\r\n\r\n'), { must: /ok/ }),
]

const sequences: readonly Answer[] = [
  served('a second answer in the same bytes', '9112 9.3.2', `${ok}${body}${evil}`),
  served('a second answer after an empty one', '9112 9.3.2', `${ok}Content-Length: 0\r\n\r\n${evil}`),
  served('a second answer after chunks', '9112 9.3.2', chunked(`2\r\nok\r\n${last}`) + evil),
  served('one byte too much', '9112 9.3.2', `${ok}${body}e`),
  served('an empty line too much', '9112 9.3.2', `${ok}${body}\r\n`),
  served('Connection: close, then a second answer', '9112 9.6', `${ok}Connection: close\r\n${body}${evil}`, {
    must: /ok/,
  }),
  served('a second answer to POST', '9112 9.3.2', `${ok}${body}${evil}`, { request: post }),
  served('an early hint', '9110 15.2', `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}${body}`, {
    must: /^HTTP\/1\.1 103 /,
  }),
  served('a 100 that nobody asked for', '9110 15.2.1', `HTTP/1.1 100 Continue\r\n\r\n${ok}${body}`),
  refused(
    'hints without end',
    '9110 15.2',
    `HTTP/1.1 103 Early Hints\r\nLink: <${'a'.repeat(500)}>\r\n\r\n`.repeat(200),
  ),
  refused('a hint, then garbage', '9112 4', 'HTTP/1.1 103 Early Hints\r\n\r\nsecret\r\n\r\n'),
  refused('a hint with bare CR', '9112 2.2', `HTTP/1.1 103 Early Hints\r\nLink: a\rX-Evil: 1\r\n\r\n${ok}${body}`),
  refused(
    '101 that nobody asked for',
    '9110 7.8',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nevil',
  ),
  refused(
    '101 to h2c that nobody asked for',
    '9113 3.1',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04',
  ),
  refused(
    '101 to another protocol',
    '9110 7.8',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nevil',
    { request: upgrade },
  ),
  refused('101 without Upgrade', '9110 7.8', 'HTTP/1.1 101 Switching Protocols\r\n\r\nevil', { request: upgrade }),
  refused('101 without Connection', '9110 7.8', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nevil', {
    request: upgrade,
  }),
  refused(
    '101 in HTTP/1.0',
    '9110 7.8',
    'HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nevil',
    { request: upgrade },
  ),
  refused(
    '101 with a length',
    '9110 8.6',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nevil',
    { request: upgrade },
  ),
  served('200 to an upgrade, then a second answer', '9110 7.8', `${ok}${body}${evil}`, { request: upgrade }),
]

export const answers: readonly Answer[] = [...statusLines, ...fields, ...framing, ...chunks, ...sequences]

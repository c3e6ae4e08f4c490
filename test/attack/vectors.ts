/**
 * Hostile and odd requests, each with the verdict that the RFC (or, where it leaves a choice, our strictness) demands.
 * One list for the parser alone, for a running engine and for a running sidecar: add a line here and all of them test it.
 */

export interface Vector {
  /** Row of the attack table this belongs to. */
  readonly row: number
  readonly name: string
  /** Bytes as latin1 text. */
  readonly bytes: string
  /** Status of the refusal; `served`: it is legal and reaches the upstream; `closed`: no answer, connection ends. */
  readonly verdict: number | 'served'
  /** Section it rests on. */
  readonly rule: string
  /** For `served`: what the upstream may not see, and what it must. */
  readonly never?: RegExp
  readonly must?: RegExp
}

const host = 'Host: app.test\r\n'
const get = (fields: string, target = '/'): string => `GET ${target} HTTP/1.1\r\n${fields}\r\n`
const post = (fields: string, body: string): string => `POST /p HTTP/1.1\r\n${host}${fields}\r\n${body}`

export const vectors: readonly Vector[] = [
  // 1. Transfer-Encoding and Content-Length together.
  {
    row: 1,
    name: 'CL then TE',
    bytes: post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 1,
    name: 'TE then CL',
    bytes: post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 1,
    name: 'TE and CL 0',
    bytes: post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  // 2. Content-Length.
  {
    row: 2,
    name: 'two different CL',
    bytes: post('Content-Length: 0\r\nContent-Length: 31\r\n', ''),
    verdict: 400,
    rule: '9112 6.3',
  },
  {
    row: 2,
    name: 'two equal CL',
    bytes: post('Content-Length: 1\r\nContent-Length: 1\r\n', 'x'),
    verdict: 400,
    rule: '9110 8.6',
  },
  {
    row: 2,
    name: 'case variants of CL',
    bytes: post('content-length: 0\r\nCONTENT-LENGTH: 1\r\n', 'x'),
    verdict: 400,
    rule: '9112 6.3',
  },
  { row: 2, name: 'CL list', bytes: post('Content-Length: 1, 1\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL with plus', bytes: post('Content-Length: +1\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL negative', bytes: post('Content-Length: -1\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL hexadecimal', bytes: post('Content-Length: 0x1\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL empty', bytes: post('Content-Length: \r\n', ''), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL with underscore', bytes: post('Content-Length: 1_0\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  { row: 2, name: 'CL with inner space', bytes: post('Content-Length: 1 0\r\n', 'x'), verdict: 400, rule: '9110 8.6' },
  {
    row: 2,
    name: 'CL beyond 2^53',
    bytes: post('Content-Length: 99999999999999999999\r\n', 'x'),
    verdict: 400,
    rule: '9110 8.6',
  },
  // 3. Transfer-Encoding.
  {
    row: 3,
    name: 'TE ,chunked',
    bytes: post('Transfer-Encoding: ,chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'TE twice',
    bytes: post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'TE chunked, chunked',
    bytes: post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'TE gzip, chunked',
    bytes: post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  { row: 3, name: 'TE identity', bytes: post('Transfer-Encoding: identity\r\n', ''), verdict: 501, rule: '9112 6.1' },
  {
    row: 3,
    name: 'TE with vertical tab',
    bytes: post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9110 5.5',
  },
  {
    row: 3,
    name: 'TE quoted',
    bytes: post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'TE with parameter',
    bytes: post('Transfer-Encoding: chunked;q=1\r\n', '0\r\n\r\n'),
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'chunked in HTTP/1.0',
    bytes: `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    verdict: 400,
    rule: '9112 6.1',
  },
  {
    row: 3,
    name: 'TE in capitals is still chunked',
    bytes: post('TRANSFER-ENCODING: CHUNKED\r\n', '3\r\nabc\r\n0\r\n\r\n'),
    verdict: 'served',
    rule: '9112 7',
    never: /CHUNKED/,
  },
  // 4. Lines and terminators.
  { row: 4, name: 'bare LF after request line', bytes: `GET / HTTP/1.1\n${host}\r\n`, verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'bare LF after field', bytes: `GET / HTTP/1.1\r\nHost: a\n\r\n`, verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'head ended by LF LF', bytes: `GET / HTTP/1.1\r\nHost: a\n\n`, verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'obs-fold with space', bytes: get(`${host}X-A: 1\r\n 2\r\n`), verdict: 400, rule: '9112 5.2' },
  { row: 4, name: 'obs-fold with tab', bytes: get(`${host}X-A: 1\r\n\t2\r\n`), verdict: 400, rule: '9112 5.2' },
  { row: 4, name: 'fold before the first field', bytes: get(` X-A: 1\r\n${host}`), verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'bare CR in value', bytes: get(`${host}X-A: a\rb\r\n`), verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'NUL in value', bytes: get(`${host}X-A: a\0b\r\n`), verdict: 400, rule: '9110 5.5' },
  { row: 4, name: 'NUL in name', bytes: get(`${host}X\0A: b\r\n`), verdict: 400, rule: '9110 5.1' },
  { row: 4, name: 'space before colon', bytes: get(`${host}X-A : b\r\n`), verdict: 400, rule: '9112 5.1' },
  {
    row: 4,
    name: 'space before colon of CL',
    bytes: post('Content-Length : 1\r\n', 'x'),
    verdict: 400,
    rule: '9112 5.1',
  },
  { row: 4, name: 'empty name', bytes: get(`${host}: b\r\n`), verdict: 400, rule: '9110 5.1' },
  { row: 4, name: 'no colon', bytes: get(`${host}X-A\r\n`), verdict: 400, rule: '9112 5' },
  { row: 4, name: 'CR CR LF', bytes: `GET / HTTP/1.1\r\nHost: a\r\r\n\r\n`, verdict: 400, rule: '9112 2.2' },
  {
    row: 4,
    name: 'CRLF CR X instead of the empty line',
    bytes: `GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n`,
    verdict: 400,
    rule: '9112 2.2',
  },
  { row: 4, name: 'name with parenthesis', bytes: get(`${host}X(A): b\r\n`), verdict: 400, rule: '9110 5.6.2' },
  { row: 4, name: 'name with high byte', bytes: get(`${host}X-\xe9: b\r\n`), verdict: 400, rule: '9110 5.6.2' },
  { row: 4, name: 'one empty line first', bytes: `\r\n${get(host)}`, verdict: 'served', rule: '9112 2.2' },
  { row: 4, name: 'two empty lines first', bytes: `\r\n\r\n${get(host)}`, verdict: 400, rule: '9112 2.2' },
  { row: 4, name: 'space first', bytes: ` ${get(host)}`, verdict: 400, rule: '9112 3' },
  { row: 4, name: 'two spaces after method', bytes: `GET  / HTTP/1.1\r\n${host}\r\n`, verdict: 400, rule: '9112 3' },
  { row: 4, name: 'two spaces before version', bytes: `GET /  HTTP/1.1\r\n${host}\r\n`, verdict: 400, rule: '9112 3' },
  { row: 4, name: 'tab after method', bytes: `GET\t/ HTTP/1.1\r\n${host}\r\n`, verdict: 400, rule: '9112 3' },
  { row: 4, name: 'space after version', bytes: `GET / HTTP/1.1 \r\n${host}\r\n`, verdict: 400, rule: '9112 3' },
  { row: 4, name: 'method with colon', bytes: `GE:T / HTTP/1.1\r\n${host}\r\n`, verdict: 400, rule: '9110 9.1' },
  // 5. Chunks.
  {
    row: 5,
    name: 'chunk size 0x',
    bytes: post('Transfer-Encoding: chunked\r\n', '0x3\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size +',
    bytes: post('Transfer-Encoding: chunked\r\n', '+3\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size -',
    bytes: post('Transfer-Encoding: chunked\r\n', '-3\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size with underscore',
    bytes: post('Transfer-Encoding: chunked\r\n', '0_3\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size empty',
    bytes: post('Transfer-Encoding: chunked\r\n', '\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size with leading space',
    bytes: post('Transfer-Encoding: chunked\r\n', ' 3\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size with trailing space',
    bytes: post('Transfer-Encoding: chunked\r\n', '3 \r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1.1',
  },
  {
    row: 5,
    name: 'chunk size of 17 digits',
    bytes: post('Transfer-Encoding: chunked\r\n', '10000000000000003\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'chunk size ended by LF',
    bytes: post('Transfer-Encoding: chunked\r\n', '3\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'no CRLF after chunk',
    bytes: post('Transfer-Encoding: chunked\r\n', '3\r\nabc0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'LF after chunk',
    bytes: post('Transfer-Encoding: chunked\r\n', '3\r\nabc\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1',
  },
  {
    row: 5,
    name: 'LF in chunk extension',
    bytes: post('Transfer-Encoding: chunked\r\n', '3;a\nb\r\nabc\r\n0\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1.1',
  },
  {
    row: 5,
    name: 'chunk extension of 20 KB',
    bytes: post('Transfer-Encoding: chunked\r\n', `3;${'a'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`),
    verdict: 413,
    rule: '9112 7.1.1',
  },
  {
    row: 5,
    name: 'small chunk extension is dropped',
    bytes: post('Transfer-Encoding: chunked\r\n', '3;a=b\r\nabc\r\n0\r\n\r\n'),
    verdict: 'served',
    rule: '9112 7.1.1',
    never: /a=b/,
  },
  // 6. Number and size of fields.
  {
    row: 6,
    name: '1,990 fields',
    bytes: get(`${host}${'a:\r\n'.repeat(1_990)}x-deny: 1\r\n`),
    verdict: 431,
    rule: '6585 5',
  },
  { row: 6, name: '70 KB field', bytes: get(`${host}x-a: ${'b'.repeat(70_000)}\r\n`), verdict: 431, rule: '6585 5' },
  {
    row: 6,
    name: '20 KB field',
    bytes: get(`${host}x-a: ${'b'.repeat(20_000)}\r\nx-last: yes\r\n`),
    verdict: 'served',
    rule: '6585 5',
    must: /x-last: yes/,
  },
  {
    row: 6,
    name: '900 fields',
    bytes: get(`${host}${'a: b\r\n'.repeat(900)}x-last: yes\r\n`),
    verdict: 'served',
    rule: '6585 5',
    must: /x-last: yes/,
  },
  // 7. Host.
  { row: 7, name: 'two Hosts', bytes: get(`${host}Host: b\r\n`), verdict: 400, rule: '9112 3.2' },
  { row: 7, name: 'two equal Hosts', bytes: get(host + host), verdict: 400, rule: '9112 3.2' },
  { row: 7, name: 'no Host', bytes: get('X-A: b\r\n'), verdict: 400, rule: '9112 3.2' },
  { row: 7, name: 'empty Host', bytes: get('Host: \r\n'), verdict: 400, rule: '9112 3.2' },
  { row: 7, name: 'Host with user', bytes: get('Host: a@b\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host with path', bytes: get('Host: a/b\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host with query', bytes: get('Host: a?b\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host with space', bytes: get('Host: a b\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host with two ports', bytes: get('Host: a:1:2\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host with port out of range', bytes: get('Host: a:70000\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host list', bytes: get('Host: a,b\r\n'), verdict: 400, rule: '9110 7.2' },
  { row: 7, name: 'Host percent-encoded', bytes: get('Host: %61pp\r\n'), verdict: 400, rule: '9110 7.2' },
  {
    row: 7,
    name: 'Host in capitals',
    bytes: get('Host: APP.Test\r\n'),
    verdict: 'served',
    rule: '9110 4.2.3',
    must: /host: app\.test\r/,
  },
  // 8. Absolute form.
  {
    row: 8,
    name: 'absolute form beats Host',
    bytes: get('Host: other.test\r\n', 'http://app.test/x'),
    verdict: 'served',
    rule: '9112 3.2.2',
    never: /other\.test|http:\/\//,
    must: /^GET \/x HTTP\/1\.1\r\nhost: app\.test\r/,
  },
  { row: 8, name: 'absolute form with user', bytes: get(host, 'http://u@app.test/'), verdict: 400, rule: '9110 4.2.4' },
  {
    row: 8,
    name: 'absolute form of another scheme',
    bytes: get(host, 'ftp://app.test/'),
    verdict: 400,
    rule: '9112 3.2.2',
  },
  { row: 8, name: 'absolute form without authority', bytes: get(host, 'http:///x'), verdict: 400, rule: '9110 4.2.1' },
  { row: 8, name: 'target without slash', bytes: get(host, 'admin'), verdict: 400, rule: '9112 3.2' },
  { row: 8, name: 'fragment', bytes: get(host, '/a#b'), verdict: 400, rule: '9112 3.2' },
  { row: 8, name: 'high byte in target', bytes: get(host, '/\xe9'), verdict: 400, rule: '9112 3.2' },
  { row: 8, name: 'star with GET', bytes: get(host, '*'), verdict: 400, rule: '9112 3.2.4' },
  {
    row: 8,
    name: 'star with OPTIONS',
    bytes: `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
    verdict: 'served',
    rule: '9112 3.2.4',
    must: /^OPTIONS \* /,
  },
  // 9. Versions.
  { row: 9, name: 'HTTP/0.9', bytes: 'GET /\r\n\r\n', verdict: 400, rule: '9112 2.3' },
  { row: 9, name: 'HTTP/2.0', bytes: `GET / HTTP/2.0\r\n${host}\r\n`, verdict: 505, rule: '9110 15.6.6' },
  { row: 9, name: 'HTTP/1.2', bytes: `GET / HTTP/1.2\r\n${host}\r\n`, verdict: 505, rule: '9110 15.6.6' },
  { row: 9, name: 'http/1.1 in small letters', bytes: `GET / http/1.1\r\n${host}\r\n`, verdict: 400, rule: '9112 2.3' },
  { row: 9, name: 'HTTP/1.10', bytes: `GET / HTTP/1.10\r\n${host}\r\n`, verdict: 400, rule: '9112 2.3' },
  {
    row: 9,
    name: 'HTTP/1.0 with Host',
    bytes: `GET / HTTP/1.0\r\n${host}\r\n`,
    verdict: 'served',
    rule: '9112 2.3',
    must: /HTTP\/1\.1\r\nhost: app\.test/,
  },
  // 10. Hop-by-hop.
  {
    row: 10,
    name: 'nominated field is dropped',
    bytes: get(`${host}Connection: x-secret\r\nX-Secret: 1\r\n`),
    verdict: 'served',
    rule: '9110 7.6.1',
    never: /x-secret/i,
  },
  {
    row: 10,
    name: 'nominated before it appears',
    bytes: get(`${host}X-Secret: 1\r\nConnection: close, X-SECRET\r\n`),
    verdict: 'served',
    rule: '9110 7.6.1',
    never: /x-secret/i,
  },
  { row: 10, name: 'nominating Host', bytes: get(`${host}Connection: host\r\n`), verdict: 400, rule: '9110 7.6.1' },
  {
    row: 10,
    name: 'nominating Content-Length',
    bytes: post('Connection: content-length\r\nContent-Length: 1\r\n', 'x'),
    verdict: 400,
    rule: '9110 7.6.1',
  },
  {
    row: 10,
    name: 'nominating our own',
    bytes: get(`${host}Connection: x-outrigger-attempt\r\n`),
    verdict: 400,
    rule: '9110 7.6.1',
  },
  {
    row: 10,
    name: 'hop-by-hop fields are dropped',
    bytes: get(`${host}Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nProxy-Authorization: s\r\n`),
    verdict: 'served',
    rule: '9110 7.6.1',
    never: /keep-alive|proxy-|^te:/im,
  },
  {
    row: 10,
    name: 'reserved fields are dropped',
    bytes: get(`${host}X-Outrigger-Reason: DENIED\r\nx-outrigger-attempt: 9\r\n`),
    verdict: 'served',
    rule: 'ours',
    never: /x-outrigger/i,
  },
  {
    row: 10,
    name: 'underscore twin of a reserved field',
    bytes: get(`${host}X_Outrigger_Attempt: 9\r\n`),
    verdict: 400,
    rule: 'ours',
  },
  // 11. h2c.
  {
    row: 11,
    name: 'Upgrade h2c is served as HTTP/1.1',
    bytes: get(
      `${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n`,
    ),
    verdict: 'served',
    rule: '9113 3.1',
    never: /upgrade|h2c|http2-settings/i,
  },
  { row: 11, name: 'HTTP/2 preface', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', verdict: 505, rule: '9113 3.4' },
  // 12. Upgrade and CONNECT.
  {
    row: 12,
    name: 'Upgrade with body',
    bytes: post('Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n', 'abc'),
    verdict: 400,
    rule: '9110 7.8',
  },
  {
    row: 12,
    name: 'Upgrade without Connection is dropped',
    bytes: get(`${host}Upgrade: websocket\r\n`),
    verdict: 'served',
    rule: '9110 7.8',
    never: /upgrade/i,
  },
  {
    row: 12,
    name: 'CONNECT where it is not served',
    bytes: `CONNECT app.test:443 HTTP/1.1\r\n${host}\r\n`,
    verdict: 405,
    rule: '9110 9.3.6',
  },
  // 13. Trailers.
  {
    row: 13,
    name: 'framing and identity in trailers are dropped',
    bytes: post(
      'Transfer-Encoding: chunked\r\n',
      '3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: s\r\nX-Outrigger-Attempt: 2\r\n\r\n',
    ),
    verdict: 'served',
    rule: '9110 6.5',
    never: /authorization|x-outrigger/i,
    must: /X-Sum: 1/,
  },
  {
    row: 13,
    name: 'malformed trailer',
    bytes: post('Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\nX Sum: 1\r\n\r\n'),
    verdict: 400,
    rule: '9112 7.1.2',
  },
  {
    row: 13,
    name: 'trailers of 20 KB',
    bytes: post('Transfer-Encoding: chunked\r\n', `3\r\nabc\r\n0\r\nX-Sum: ${'1'.repeat(20_000)}\r\n\r\n`),
    verdict: 413,
    rule: '9112 7.1.2',
  },
  // 15. Expect.
  { row: 15, name: 'unknown Expect', bytes: get(`${host}Expect: foo\r\n`), verdict: 417, rule: '9110 10.1.1' },
  {
    row: 15,
    name: 'Expect list',
    bytes: post('Expect: 100-continue, foo\r\nContent-Length: 1\r\n', 'x'),
    verdict: 417,
    rule: '9110 10.1.1',
  },
]

/** Vectors whose fault lies in the head: refused before any upstream is chosen. */
export function headOnly(vector: Vector): boolean {
  return vector.verdict !== 'served' && vector.row !== 5 && vector.row !== 13
}

/** Two framings at once, and Content-Length in every odd spelling (RFC 9112 section 6, RFC 9110 section 8.6). */
import { host, post, rowOf, smuggled, type Vector } from '../vector.ts'

const both = rowOf(1)
const last = '0\r\n\r\n'

const together: readonly Vector[] = [
  both.refused('CL then TE', '9112 6.1', post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', last)),
  both.refused('TE then CL', '9112 6.1', post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', last)),
  both.refused('TE and CL 0', '9112 6.1', post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', last)),
  both.refused(
    'CL.TE with a second request',
    '9112 6.1',
    post(`Content-Length: ${5 + smuggled.length}\r\nTransfer-Encoding: chunked\r\n`, last + smuggled),
  ),
  both.refused(
    'TE.CL with a second request',
    '9112 6.1',
    post(
      'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
      `${smuggled.length.toString(16)}\r\n${smuggled}\r\n${last}`,
    ),
  ),
  both.refused(
    'CL, then TE in HTTP/1.0',
    '9112 6.1',
    `POST / HTTP/1.0\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${last}`,
  ),
  both.refused(
    'CL and TE with fields between',
    '9112 6.1',
    post('Content-Length: 5\r\nX-A: b\r\nX-B: c\r\ntransfer-encoding: chunked\r\n', last),
  ),
  both.refused(
    'CL and TE, Connection: close',
    '9112 6.1',
    post('Connection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n', last),
  ),
  both.refused(
    'CL and TE on GET',
    '9112 6.1',
    `GET / HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${last}`,
  ),
  both.refused(
    'CL and unknown TE',
    '9112 6.1',
    post('Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n', last),
    501,
  ),
  both.refused(
    'CL hidden behind a folded TE',
    '9112 5.2',
    post('Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n', last),
  ),
  both.refused(
    'TE hidden in a value by a bare LF',
    '9112 2.2',
    post('Content-Length: 5\r\nX-A: b\nTransfer-Encoding: chunked\r\n', last),
  ),
  both.refused(
    'TE hidden in a value by a bare CR',
    '9112 2.2',
    post('Content-Length: 5\r\nX-A: b\rTransfer-Encoding: chunked\r\n', last),
  ),
  both.refused(
    'TE hidden in a value by a NUL',
    '9110 5.5',
    post('Content-Length: 5\r\nX-A: b\0Transfer-Encoding: chunked\r\n', last),
  ),
]

const length = rowOf(2)
const cl = (value: string, body = 'x'): string => post(`Content-Length:${value}\r\n`, body)

const contentLength: readonly Vector[] = [
  length.refused('two different CL', '9112 6.3', post('Content-Length: 0\r\nContent-Length: 31\r\n', '')),
  length.refused('two equal CL', '9110 8.6', post('Content-Length: 1\r\nContent-Length: 1\r\n', 'x')),
  length.refused('case variants of CL', '9112 6.3', post('content-length: 0\r\nCONTENT-LENGTH: 1\r\n', 'x')),
  length.refused(
    'two CL far apart',
    '9112 6.3',
    post(`Content-Length: 1\r\n${'a: b\r\n'.repeat(50)}Content-Length: 0\r\n`, 'x'),
  ),
  length.refused('second CL empty', '9112 6.3', post('Content-Length: 1\r\nContent-Length:\r\n', 'x')),
  length.refused(
    'second CL on HTTP/1.0',
    '9112 6.3',
    `POST / HTTP/1.0\r\n${host}Content-Length: 1\r\nContent-Length: 0\r\n\r\nx`,
  ),
  length.refused('CL list', '9110 8.6', cl(' 1, 1')),
  length.refused('CL list of different', '9110 8.6', cl(' 0, 1')),
  length.refused('CL list with an empty member', '9110 8.6', cl(' 1,')),
  length.refused('CL after a comma', '9110 8.6', cl(' ,1')),
  length.refused('CL with plus', '9110 8.6', cl(' +1')),
  length.refused('CL negative', '9110 8.6', cl(' -1')),
  length.refused('CL minus zero', '9110 8.6', cl(' -0')),
  length.refused('CL hexadecimal', '9110 8.6', cl(' 0x1')),
  length.refused('CL of hexadecimal digits', '9110 8.6', cl(' 1f')),
  length.refused('CL octal', '9110 8.6', cl(' 0o1')),
  length.refused('CL with exponent', '9110 8.6', cl(' 1e0')),
  length.refused('CL with a fraction', '9110 8.6', cl(' 1.0')),
  length.refused('CL empty', '9110 8.6', post('Content-Length: \r\n', '')),
  length.refused('CL of blanks', '9110 8.6', post('Content-Length: \t \r\n', '')),
  length.refused('CL with underscore', '9110 8.6', cl(' 1_0')),
  length.refused('CL with inner space', '9110 8.6', cl(' 1 0')),
  length.refused('CL with inner tab', '9110 8.6', cl(' 1\t0')),
  length.refused('CL quoted', '9110 8.6', cl(' "1"')),
  length.refused('CL with parameter', '9110 8.6', cl(' 1;a=b')),
  length.refused('CL with a letter behind', '9110 8.6', cl(' 1a')),
  length.refused('CL infinite', '9110 8.6', cl(' Infinity')),
  length.refused('CL with vertical tab before', '9110 5.5', cl(' \x0b1')),
  length.refused('CL with form feed behind', '9110 5.5', cl(' 1\x0c')),
  length.refused('CL with NUL behind', '9110 5.5', cl(' 1\0')),
  length.refused('CL with no-break space', '9110 8.6', cl('\xa01')),
  length.refused('CL with bare CR before', '9112 2.2', cl(' \r1')),
  length.refused('CL with bare CR behind', '9112 2.2', cl(' 1\r\r\n')),
  length.refused('CL folded', '9112 5.2', cl('\r\n 1')),
  length.refused('CL continued', '9112 5.2', cl(' 1\r\n 0')),
  length.refused('CL in superscript', '9110 8.6', cl(' \xb9')),
  length.refused('CL in full-width digits', '9110 8.6', cl(' \xef\xbc\x91')),
  length.refused('CL beyond 2^53', '9110 8.6', cl(' 99999999999999999999')),
  length.refused('CL of 2^64 + 1', '9110 8.6', cl(' 18446744073709551617')),
  length.refused('CL of 2^63', '9110 8.6', cl(' 9223372036854775808')),
  length.refused('CL of 400 digits', '9110 8.6', cl(` ${'0'.repeat(399)}1`)),
  length.refused('CL with its name in underscores', 'ours', post('Content_Length: 31\r\n', '')),
  length.refused('CL and its twin in underscores', 'ours', post('Content-Length: 1\r\ncontent_length: 0\r\n', 'x')),
  length.refused('space before colon of CL', '9112 5.1', post('Content-Length : 1\r\n', 'x')),
  length.refused('tab before colon of CL', '9112 5.1', post('Content-Length\t: 1\r\n', 'x')),
  length.refused('NUL before colon of CL', '9112 5.1', post('Content-Length\0: 1\r\n', 'x')),
  length.refused('space before CL', '9112 5.2', post('X-A: b\r\n Content-Length: 1\r\n', 'x')),
  length.refused('bare LF before CL', '9112 2.2', post('X-A: b\nContent-Length: 1\r\n', 'x')),
  length.refused('bare LF after CL', '9112 2.2', post('Content-Length: 1\nX-A: b\r\n', 'x')),
  length.served('CL with leading zeros', '9110 8.6', cl(' 0001'), { must: /content-length: 1\r/ }),
  length.served('CL with blanks around', '9112 5.1', cl(' \t 1 \t '), { must: /content-length: 1\r/ }),
  length.served('CL without blank', '9112 5.1', cl('1'), { must: /content-length: 1\r\n\r\nx$/ }),
  length.served(
    'CL on GET',
    '9110 9.3.1',
    `GET / HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    {
      must: /content-length: \d+\r\n/,
      requests: 1,
    },
  ),
  length.served('CL on HEAD', '9110 9.3.2', `HEAD / HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\nx`, {
    must: /content-length: 1\r\n\r\nx$/,
  }),
  length.served('CL on DELETE', '9110 9.3.5', `DELETE / HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\nx`, {
    must: /content-length: 1\r\n\r\nx$/,
  }),
  length.served('CL on OPTIONS', '9110 9.3.7', `OPTIONS / HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\nx`, {
    must: /content-length: 1\r\n\r\nx$/,
  }),
  length.served('CL.0: a request as the body', '9112 6.3', post(`Content-Length: ${smuggled.length}\r\n`, smuggled), {
    requests: 1,
  }),
  length.served('POST without a length has no body', '9112 6.3', `${post('', '')}${smuggled}`, { requests: 2 }),
  length.refused(
    'TRACE with a body',
    '9110 9.3.8',
    `TRACE / HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  ),
  length.refused(
    'TRACE with chunks',
    '9110 9.3.8',
    `TRACE / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${last}`,
  ),
]

export const framing: readonly Vector[] = [...together, ...contentLength]

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MeshError } from '../base/errors.ts'
import { http1Limits } from './limits.ts'
import { checkAuthority, type ParsedRequest, parseRequestHead, requestRules } from './request-head.ts'

const rules = requestRules({ ...http1Limits, targetBytesMax: 64 }, { dropReserved: true, allowConnect: true })
const noConnect = requestRules(http1Limits, { dropReserved: true, allowConnect: false })

function parse(line: string, fields = 'Host: a\r\n', by = rules): ParsedRequest {
  const text = `${line}\r\n${fields}\r\n`
  return parseRequestHead(text, text.length - 4, by)
}
const throws = (run: () => unknown, code: string): void =>
  assert.throws(run, (error) => error instanceof MeshError && error.code === code)

describe('request line', () => {
  for (const [line, method, target, authority = 'a', scheme = 'http'] of [
    ['GET / HTTP/1.1', 'GET', '/'],
    ['M-SEARCH /x?y=z HTTP/1.1', 'M-SEARCH', '/x?y=z'],
    ['get / HTTP/1.1', 'get', '/'],
    ['OPTIONS * HTTP/1.1', 'OPTIONS', '*'],
    ['GET http://B.test HTTP/1.1', 'GET', '/', 'b.test'],
    ['GET HTTP://b:81/x HTTP/1.1', 'GET', '/x', 'b:81'],
    ['GET https://b?q HTTP/1.1', 'GET', '/?q', 'b', 'https'],
    ['OPTIONS http://b HTTP/1.1', 'OPTIONS', '*', 'b'],
    ['CONNECT b:443 HTTP/1.1', 'CONNECT', '', 'b:443'],
    ['CONNECT [::1]:443 HTTP/1.1', 'CONNECT', '', '[::1]:443'],
    [`GET /${'x'.repeat(63)} HTTP/1.1`, 'GET', `/${'x'.repeat(63)}`],
  ] as const) {
    it(line, () => {
      const { head } = parse(line)
      assert.deepEqual(
        [head.method, head.target, head.authority, head.scheme, head.version],
        [method, target, authority, scheme, '1.1'],
      )
    })
  }

  for (const [line, code = 'BAD_REQUEST'] of [
    ['GET /'],
    ['GET  / HTTP/1.1'],
    [' GET / HTTP/1.1'],
    ['GET\t/ HTTP/1.1'],
    ['GET / HTTP/1.1 '],
    ['GET / http/1.1'],
    ['GET / HTTP/1.10'],
    ['GET / HTTP/11'],
    ['G(T / HTTP/1.1'],
    ['\xe9 / HTTP/1.1'],
    ['GET /\x7f HTTP/1.1'],
    ['GET /\xe9 HTTP/1.1'],
    ['GET /#f HTTP/1.1'],
    ['GET x HTTP/1.1'],
    ['GET * HTTP/1.1'],
    ['GET ftp://a/ HTTP/1.1'],
    ['GET http:///x HTTP/1.1'],
    ['GET http://u@a/ HTTP/1.1'],
    ['GET http:/a HTTP/1.1'],
    ['CONNECT a HTTP/1.1'],
    ['CONNECT /x HTTP/1.1'],
    ['CONNECT http://a:1/ HTTP/1.1'],
    ['GET / HTTP/2.0', 'VERSION_NOT_SUPPORTED'],
    ['GET / HTTP/0.9', 'VERSION_NOT_SUPPORTED'],
    [`GET /${'x'.repeat(64)} HTTP/1.1`, 'HEAD_TOO_LARGE'],
  ] as const) {
    it(`${JSON.stringify(line)} is refused: ${code}`, () => throws(() => parse(line), code))
  }

  it('CONNECT is refused where it is not served', () =>
    throws(() => parse('CONNECT a:1 HTTP/1.1', 'Host: a\r\n', noConnect), 'METHOD_NOT_ALLOWED'))
})

describe('what follows from the fields', () => {
  for (const [fields, bodyLength, keepAlive, line = 'POST / HTTP/1.1'] of [
    ['Host: a\r\n', 0, true],
    ['Host: a\r\nContent-Length: 0\r\n', 0, true],
    ['Host: a\r\nContent-Length: 5\r\n', 5, true],
    ['Host: a\r\nTransfer-Encoding: chunked\r\n', -1, true],
    ['Host: a\r\nConnection: close\r\n', 0, false],
    ['Host: a\r\nConnection: close, keep-alive\r\n', 0, false],
    ['Host: a\r\n', 0, false, 'GET / HTTP/1.0'],
    ['', 0, false, 'GET / HTTP/1.0'],
    ['Connection: keep-alive\r\n', 0, true, 'GET / HTTP/1.0'],
    ['Connection: keep-alive, close\r\n', 0, false, 'GET / HTTP/1.0'],
  ] as const) {
    it(`${line} ${JSON.stringify(fields)}: body ${bodyLength}, keep-alive ${keepAlive}`, () => {
      const parsed = parse(line, fields)
      assert.deepEqual([parsed.bodyLength, parsed.keepAlive], [bodyLength, keepAlive])
    })
  }

  for (const [fields, code = 'BAD_REQUEST', line = 'POST / HTTP/1.1'] of [
    [''],
    ['Host:\r\n'],
    ['Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n'],
    ['Host: a\r\nTransfer-Encoding: chunked\r\n', 'BAD_REQUEST', 'POST / HTTP/1.0'],
    ['Host: a\r\nExpect: something\r\n', 'EXPECTATION_FAILED'],
    ['Host: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n'],
    ['Host: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n'],
    ['Host: a\r\nContent-Length: 1\r\n', 'BAD_REQUEST', 'CONNECT a:1 HTTP/1.1'],
    ['Host: a\r\nTransfer-Encoding: chunked\r\n', 'BAD_REQUEST', 'CONNECT a:1 HTTP/1.1'],
  ] as const) {
    it(`${line} ${JSON.stringify(fields)} is refused: ${code}`, () => throws(() => parse(line, fields), code))
  }

  for (const [fields, upgrade, line = 'GET / HTTP/1.1'] of [
    ['Connection: upgrade\r\nUpgrade: websocket\r\n', 'websocket'],
    ['Connection: Upgrade\r\nUpgrade: WebSocket\r\n', 'WebSocket'],
    ['Upgrade: websocket\r\n', undefined],
    ['Connection: upgrade\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: h2c\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: H2C\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: h2c, websocket\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: TLS/1.2\r\n', undefined],
    ['Connection: upgrade\r\nUpgrade: websocket\r\n', undefined, 'GET / HTTP/1.0'],
  ] as const) {
    it(`${line} ${JSON.stringify(fields)}: upgrade ${upgrade}`, () =>
      assert.equal(parse(line, `Host: a\r\n${fields}`).head.upgrade, upgrade))
  }

  for (const [fields, wanted, line = 'POST / HTTP/1.1'] of [
    ['Expect: 100-Continue\r\nContent-Length: 1\r\n', true],
    ['Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n', true],
    ['Expect: 100-continue\r\nContent-Length: 0\r\n', false],
    ['Expect: 100-continue\r\n', false],
    ['Expect: anything\r\nContent-Length: 1\r\n', false, 'POST / HTTP/1.0'],
  ] as const) {
    it(`${line} ${JSON.stringify(fields)}: waits ${wanted}`, () =>
      assert.equal(parse(line, `Host: a\r\n${fields}`).head.expectContinue, wanted))
  }
})

describe('checkAuthority', () => {
  for (const [text, wanted] of [
    ['a', 'a'],
    ['A.Test:80', 'a.test:80'],
    ['a_b-c.d', 'a_b-c.d'],
    ['127.0.0.1:65535', '127.0.0.1:65535'],
    ['[::1]', '[::1]'],
    ['[FE80::1]:8080', '[fe80::1]:8080'],
    ['a.', 'a.'],
    [`${'a'.repeat(255)}:12345`, `${'a'.repeat(255)}:12345`],
  ] as const) {
    it(`${text} is ${wanted}`, () => assert.equal(checkAuthority(text), wanted))
  }
  for (const text of [
    '',
    ':80',
    'a:',
    'a:x',
    'a:65536',
    'a:123456',
    'a:1:2',
    'a b',
    'a/b',
    'a?b',
    'a#b',
    'u@a',
    'a,b',
    'a%41',
    'a\\b',
    '[',
    '[]',
    '[::1',
    '[::1]x',
    '[::1]:',
    '[g::1]',
    '[::1%eth0]',
    '::1',
    '\xe9',
    'a\0',
    "a'b",
    '*',
    `${'a'.repeat(262)}`,
  ]) {
    it(`${JSON.stringify(text).slice(0, 40)} is refused`, () => throws(() => checkAuthority(text), 'BAD_REQUEST'))
  }
})

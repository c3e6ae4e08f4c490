import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MeshError } from '../base/errors.ts'
import { http1Limits } from './limits.ts'
import { chunkedBody, type ParsedResponse, parseResponseHead, responseRules, untilClose } from './response-head.ts'

const rules = responseRules(http1Limits, { dropReserved: true })

function parse(line: string, fields = '', method = 'GET'): ParsedResponse {
  const text = `${line}\r\n${fields}\r\n`
  return parseResponseHead(text, text.length - 4, method, rules)
}

describe('status line', () => {
  for (const [line, status, reason] of [
    ['HTTP/1.1 200 OK', 200, 'OK'],
    ['HTTP/1.1 200 ', 200, ''],
    ['HTTP/1.1 200', 200, ''],
    ['HTTP/1.0 404 Not Found', 404, 'Not Found'],
    ['HTTP/1.1 299 \xe9t\xe9\tx', 299, '\xe9t\xe9\tx'],
    ['HTTP/1.1 999 X', 999, 'X'],
  ] as const) {
    it(line, () => {
      const parsed = parse(line)
      assert.deepEqual([parsed.status, parsed.reason], [status, reason])
    })
  }
  for (const line of [
    'HTTP/2.0 200 OK',
    'http/1.1 200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'ICY 200 OK',
    'HTTP/1.1 099 X',
    'HTTP/1.1 2x0 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 200 O\rK',
    'HTTP/1.1 200 O\0K',
    'HTTP/1.1',
  ]) {
    it(`${JSON.stringify(line)} is refused`, () =>
      assert.throws(
        () => parse(line),
        (error) => error instanceof MeshError && error.code === 'UPSTREAM_PROTOCOL',
      ))
  }
})

describe('framing of a response (RFC 9112 section 6.3)', () => {
  for (const [fields, bodyLength, keepAlive, line = 'HTTP/1.1 200 OK', method = 'GET'] of [
    ['Content-Length: 5\r\n', 5, true],
    ['Content-Length: 0\r\n', 0, true],
    ['Transfer-Encoding: chunked\r\n', chunkedBody, true],
    ['', untilClose, false],
    ['Connection: keep-alive\r\n', untilClose, false],
    ['Content-Length: 5\r\nConnection: close\r\n', 5, false],
    ['Content-Length: 5\r\n', 5, false, 'HTTP/1.0 200 OK'],
    ['Content-Length: 5\r\nConnection: keep-alive\r\n', 5, true, 'HTTP/1.0 200 OK'],
    ['Content-Length: 5\r\n', 0, true, 'HTTP/1.1 200 OK', 'HEAD'],
    ['Transfer-Encoding: chunked\r\n', 0, true, 'HTTP/1.1 200 OK', 'HEAD'],
    ['', 0, true, 'HTTP/1.1 200 OK', 'HEAD'],
    ['Content-Length: 5\r\n', 0, true, 'HTTP/1.1 304 Not Modified'],
    ['', 0, true, 'HTTP/1.1 204 No Content'],
    ['Content-Length: 0\r\n', 0, true, 'HTTP/1.1 204 No Content'],
    ['', 0, true, 'HTTP/1.1 100 Continue'],
    ['Connection: upgrade\r\nUpgrade: x\r\n', 0, true, 'HTTP/1.1 101 Switching Protocols'],
  ] as const) {
    it(`${method} ${line} ${JSON.stringify(fields)}: ${bodyLength}, keep-alive ${keepAlive}`, () => {
      const parsed = parse(line, fields, method)
      assert.deepEqual([parsed.bodyLength, parsed.keepAlive], [bodyLength, keepAlive])
    })
  }
  for (const [fields, line = 'HTTP/1.1 200 OK'] of [
    ['Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
    ['Transfer-Encoding: chunked\r\n', 'HTTP/1.0 200 OK'],
    ['Transfer-Encoding: gzip\r\n'],
    ['Content-Length: 1\r\nContent-Length: 1\r\n'],
    ['Content-Length: 1\r\n', 'HTTP/1.1 204 No Content'],
    ['Transfer-Encoding: chunked\r\n', 'HTTP/1.1 103 Early Hints'],
  ] as const) {
    it(`${line} ${JSON.stringify(fields)} is refused`, () =>
      assert.throws(
        () => parse(line, fields),
        (error) => error instanceof MeshError && error.code === 'UPSTREAM_PROTOCOL',
      ))
  }

  it('HEAD and 304 keep the length they speak of', () => {
    assert.deepEqual(parse('HTTP/1.1 200 OK', 'Content-Length: 5\r\n', 'HEAD').headers, ['content-length', '5'])
    assert.deepEqual(parse('HTTP/1.1 304 X', 'Content-Length: 5\r\n').headers, ['content-length', '5'])
  })

  it('the protocol of a 101 counts only if Connection says so', () => {
    const line = 'HTTP/1.1 101 Switching Protocols'
    assert.equal(parse(line, 'Connection: Upgrade\r\nUpgrade: WebSocket\r\n').upgrade, 'WebSocket')
    assert.equal(parse(line, 'Upgrade: websocket\r\n').upgrade, undefined)
  })

  it('an application does not speak in the name of the mesh', () => {
    assert.deepEqual(parse('HTTP/1.1 200 OK', 'X-Outrigger-Reason: x\r\nA: b\r\n').headers, ['A', 'b'])
  })
})

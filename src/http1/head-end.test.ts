import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findHeadEnd, mayBecomeRequest } from './head-end.ts'

describe('findHeadEnd', () => {
  for (const [text, wanted, start = 0, from = start, max = 100] of [
    ['GET / HTTP/1.1\r\n\r\n', 14],
    ['\r\n\r\n', 0],
    ['a\r\n\r\nb\r\n\r\n', 6, 5],
    ['a\r\n\r\n', 1, 0, 1],
    // Not here yet, at every place where the terminator may be cut.
    ['', -2],
    ['a', -2],
    ['a\r', -2],
    ['a\r\n', -2],
    ['a\r\n\r', -2],
    ['a\r\nb: c\r\n', -2],
    // A line that ends in a bare LF.
    ['\n', -1],
    ['a\nb', -1],
    ['a\r\nb\n\r\n', -1],
    ['a\n\n', -1],
    // A bare CR: where the end is here, the parser of the line refuses it.
    ['\ra', -1],
    ['a\r\n\rb', -1],
    ['a\r\r', -1],
    ['a\rb\r\n\r\n', 3],
    ['a\r\r\n\r\n', 2],
    // Too long: the end is there, but too far away.
    ['aaaaaa\r\n\r\n', -2, 0, 0, 5],
    ['aaaaa\r\n\r\n', 5, 0, 0, 5],
  ] as const) {
    it(`${JSON.stringify(text)} from ${from}: ${wanted}`, () => {
      assert.equal(findHeadEnd(Buffer.from(text, 'latin1'), start, from, max), wanted)
    })
  }
})

describe('mayBecomeRequest', () => {
  for (const [text, wanted, start = 0] of [
    ['', true],
    ['GET / HTTP/1.1', true],
    ['GET / HTTP/1.1\r\n', true],
    ['GET / HTTP/2.0\r\nHost: a', true],
    ['\r\nGET /', true, 2],
    ['GET /\r\n', false],
    ['GET / HTTP/1.1 \r\n', false],
    ['GET / http/1.1\r\nHost: a', false],
    ['/HTTP/1.1\r\n', false],
    ['\r\nGET /\r\n', false, 2],
  ] as const) {
    it(`${JSON.stringify(text)}: ${wanted}`, () => {
      assert.equal(mayBecomeRequest(Buffer.from(text, 'latin1'), start), wanted)
    })
  }
})

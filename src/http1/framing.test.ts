import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../base/errors.ts'
import type { Headers } from '../base/exchange.ts'
import type { FieldRules } from './fields.ts'
import { BodyDecoder, type PayloadSink } from './framing.ts'
import { http1Limits } from './limits.ts'

const rules: FieldRules = { fieldsMax: 10, malformed: 'BAD_REQUEST', tooMany: 'HEAD_TOO_LARGE', dropReserved: true }
const limits = { ...http1Limits, chunkLineBytesMax: 32, trailerBytesMax: 64 }
const chunked = -1
const untilClose = -2

class Taken implements PayloadSink {
  text = ''
  ends = 0
  trailers: Headers | undefined
  payload(chunk: Buffer): void {
    assert.equal(this.ends, 0, 'nothing comes after the end')
    this.text += chunk.toString('latin1')
  }
  ended(trailers: Headers | undefined): void {
    this.ends++
    this.trailers = trailers
  }
}

/** Pushes pieces; says what came out and how many bytes were left over. */
function decode(length: number, pieces: readonly string[]) {
  const taken = new Taken()
  const decoder = new BodyDecoder(length, taken, rules, limits)
  let surplus = 0
  for (const piece of pieces) {
    // Not at the start of its chunk, as after a head.
    const chunk = Buffer.from(`head${piece}`, 'latin1')
    surplus += chunk.length - decoder.push(chunk, 4)
  }
  return { text: taken.text, ends: taken.ends, trailers: taken.trailers, done: decoder.done, surplus, decoder }
}

const split = (text: string, at: readonly number[]): string[] => {
  const points = [0, ...at.map((point) => point % (text.length + 1)).sort((a, b) => a - b), text.length]
  return points.slice(1).map((point, i) => text.slice(points[i], point))
}

describe('a counted body', () => {
  for (const [length, pieces, text, done, surplus] of [
    [3, ['abc'], 'abc', true, 0],
    [3, ['a', 'b', 'c'], 'abc', true, 0],
    [3, ['abcGET'], 'abc', true, 3],
    [3, ['ab'], 'ab', false, 0],
    [3, ['', 'abc', 'x'], 'abc', true, 1],
    [0, ['x'], '', true, 1],
  ] as const) {
    it(`of ${length} from ${JSON.stringify(pieces)}`, () => {
      const got = decode(length, pieces)
      assert.deepEqual([got.text, got.done, got.surplus], [text, done, surplus])
      assert.equal(got.ends, done && length > 0 ? 1 : 0)
      assert.equal(got.decoder.close(), done)
    })
  }
})

describe('a body until close', () => {
  it('takes everything, and only the end ends it', () => {
    const { text, done, ends, decoder } = decode(untilClose, ['abc', '0\r\n\r\n'])
    assert.deepEqual([text, done, ends], ['abc0\r\n\r\n', false, 0])
    assert.equal(decoder.close(), true)
    assert.equal(decoder.done, true)
  })
})

describe('a chunked body', () => {
  for (const [bytes, text, trailers, surplus = 0] of [
    ['0\r\n\r\n', '', undefined],
    ['3\r\nabc\r\n0\r\n\r\n', 'abc', undefined],
    ['03\r\nabc\r\n000\r\n\r\n', 'abc', undefined],
    ['A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789', undefined],
    ['3;x=y\r\nabc\r\n0;z\r\n\r\n', 'abc', undefined],
    ['3;x="a;b\t c"\r\nabc\r\n0\r\n\r\n', 'abc', undefined],
    ['5\r\n\r\n\r\n0\r\n0\r\n\r\n', '\r\n\r\n0', undefined],
    ['0\r\nX-Sum: 1\r\n\r\n', '', ['X-Sum', '1']],
    ['3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\nGET', 'abc', ['X-Sum', '1'], 3],
    ['0\r\n\r\n0\r\n\r\n', '', undefined, 5],
  ] as const) {
    it(`${JSON.stringify(bytes)} is ${JSON.stringify(text)}, cut anywhere`, () => {
      for (let at = 0; at <= bytes.length; at++) {
        const got = decode(chunked, [bytes.slice(0, at), bytes.slice(at)])
        assert.deepEqual([got.text, got.done, got.ends, got.trailers, got.surplus], [text, true, 1, trailers, surplus])
      }
      assert.equal(decode(chunked, [...bytes]).text, text)
    })
  }

  for (const bytes of [
    '\r\n',
    ' 3\r\nabc',
    '3 \r\nabc',
    '+3\r\n',
    '-3\r\n',
    '0x3\r\n',
    '3_0\r\n',
    'g\r\n',
    '3\nabc',
    '3\rabc',
    '\xb2\r\n',
    '3\r\nabcd',
    '3\r\nabc\n0\r\n',
    '3\r\nabc\r0\r\n',
    '3\r\nabc0\r\n',
    '10000000000000\r\n',
    '3;a\nb\r\n',
    '3;a\0\r\n',
    '0\r\nX Sum: 1\r\n\r\n',
    '0\r\nX: 1\n\r\n',
    '0\r\n\n',
    '0\r\n X: 1\r\n\r\n',
    '0\r\nTransfer-Encoding: x\r\n\r\n',
  ]) {
    it(`${JSON.stringify(bytes)} is malformed, cut anywhere`, () => {
      for (let at = 0; at <= bytes.length; at++) {
        assert.throws(() => decode(chunked, [bytes.slice(0, at), bytes.slice(at)]), MeshError)
      }
    })
  }

  it('bounds extensions and trailers, however they come', () => {
    const extension = `3;${'a'.repeat(31)}\r\nabc\r\n0\r\n\r\n`
    const trailers = `0\r\nX: ${'1'.repeat(80)}\r\n\r\n`
    for (const bytes of [extension, trailers]) {
      for (const pieces of [[bytes], [...bytes]]) {
        assert.throws(
          () => decode(chunked, pieces),
          (error) => error instanceof MeshError && error.code === 'BODY_TOO_LARGE',
        )
      }
    }
    assert.equal(decode(chunked, [`3;${'a'.repeat(30)}\r\nabc\r\n0\r\n\r\n`]).text, 'abc')
    // The last that fits: 64 bytes up to and without the last empty line.
    assert.equal(decode(chunked, [`0\r\nX: ${'1'.repeat(59)}\r\n\r\n`]).trailers?.[1]?.length, 59)
  })

  it('is not ended by the end of the connection', () => {
    for (const bytes of ['', '3', '3\r\nab', '3\r\nabc\r\n', '3\r\nabc\r\n0\r\n']) {
      assert.equal(decode(chunked, [bytes]).decoder.close(), false, bytes)
    }
  })

  it('gives back any content from any chunks and any cuts', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({
            unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)),
            minLength: 1,
            maxLength: 40,
          }),
          { maxLength: 6 },
        ),
        fc.array(fc.nat(400), { maxLength: 8 }),
        (chunks, cuts) => {
          const bytes = `${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`
          const got = decode(chunked, split(`${bytes}next`, cuts))
          assert.equal(got.text, chunks.join(''))
          assert.deepEqual([got.done, got.ends, got.surplus], [true, 1, 4])
        },
      ),
      { numRuns: 500 },
    )
  })
})

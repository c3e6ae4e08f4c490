import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { grpcTimeoutMs, grpcTimeoutText } from './grpc-timeout.ts'

describe('grpc-timeout', () => {
  const good: readonly (readonly [text: string, ms: number])[] = [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['250m', 250],
    ['500u', 0.5],
    ['1000000n', 1],
    ['0m', 0],
    ['00000001S', 1_000],
    ['99999999H', 99_999_999 * 3_600_000],
  ]
  for (const [text, ms] of good) test(`${text} is ${ms} ms`, () => assert.equal(grpcTimeoutMs(text), ms))

  for (const text of [
    '',
    'm',
    '1',
    '1s',
    '1h',
    '-1m',
    '+1m',
    '1.5S',
    ' 1m',
    '1m ',
    '1 m',
    '123456789m',
    '1mm',
    '0x1m',
    '1m, 1m',
  ])
    test(`"${text}" is none`, () => assert.equal(grpcTimeoutMs(text), undefined))

  const texts: readonly (readonly [ms: number, text: string])[] = [
    [0.0001, '1u'],
    [0.5, '500u'],
    [99.9, '99900u'],
    [100, '100m'],
    [999.2, '1000m'],
    [99_999_999, '99999999m'],
    [99_999_999.5, '100000S'],
    [1e11, '1666667M'],
  ]
  for (const [ms, text] of texts) test(`${ms} ms is ${text}`, () => assert.equal(grpcTimeoutText(ms), text))

  test('what is written can be read, is never shorter, and longer by a hundredth at most', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 99_999_999 * 3_600_000, noNaN: true }), (ms) => {
        const read = grpcTimeoutMs(grpcTimeoutText(ms))
        assert.ok(read !== undefined)
        // A microsecond is the smallest unit that is written.
        assert.ok(read >= ms * (1 - 1e-12) && read <= ms * 1.01 + 0.001, `${ms} -> ${read}`)
      }),
    )
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countSpans } from './count-spans.ts'

/** A length-delimited field with a number below 16, up to 16 KiB. */
function field(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts)
  return Buffer.concat([Uint8Array.of(number * 8 + 2, (body.length & 127) | 128, body.length >> 7), body])
}

const span = field(
  2,
  field(1, Buffer.alloc(16, 1)),
  Uint8Array.of(7 * 8 + 1, 1, 2, 3, 4, 5, 6, 7, 8),
  field(5, Buffer.from('GET')),
)

test('spans of every scope and resource are counted, and nothing else of that number', () => {
  const resource = field(1, field(1, Buffer.from('not a span')))
  const scope = field(2, field(1, field(2, Buffer.from('version'))), span, span, Uint8Array.of(4 * 8, 200, 1))
  assert.equal(countSpans(Buffer.concat([field(1, resource, scope, scope), field(1, scope)])), 6)
  assert.equal(countSpans(new Uint8Array()), 0)
})

test('a message that is cut off or damaged is an error, not a small number', () => {
  const whole = field(1, field(2, span))
  assert.throws(() => countSpans(whole.subarray(0, whole.length - 1)), RangeError)
  assert.throws(() => countSpans(Uint8Array.of(128)), RangeError)
  assert.throws(() => countSpans(Uint8Array.of(11)), RangeError)
})

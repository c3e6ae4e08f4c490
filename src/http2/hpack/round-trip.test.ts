/** Whatever is encoded is decoded alike, whatever is decoded ends in fields or in an HpackError. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { HpackDecoder, HpackError } from './decoder.ts'
import { HpackEncoder } from './encoder.ts'

/** Few enough that they come again. */
const name = fc.oneof(
  fc.constantFrom(
    ':path',
    ':status',
    'accept',
    'content-type',
    'authorization',
    'cookie',
    'traceparent',
    'x-api-key',
    'a',
    'b',
  ),
  fc.constantFrom('x-some-longer-name', 'x-another-long-name', '__proto__', 'constructor'),
  fc.nat(60).map((n) => `x-${n}`),
)
const value = fc.oneof(
  fc.constantFrom('', '/', '200', '204', 'gzip, deflate', 'application/grpc', 'a longer value than a dozen characters'),
  fc.nat(20).map((n) => `value ${n}`),
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 60 }),
  fc.integer({ min: 100, max: 2_000 }).map((length) => 'long '.repeat(length).slice(0, length)),
)
const block = fc.record({
  fields: fc.array(fc.tuple(name, value, fc.boolean()), { maxLength: 25 }),
  /** SETTINGS that came before it. */
  sizes: fc.array(fc.constantFrom(0, 33, 64, 200, 1_000, 4_095, 4_096, 5_000, 1_000_000), { maxLength: 2 }),
  withSizes: fc.nat(5),
})

describe('an encoder and a decoder', () => {
  it('agree on every field of many blocks, while the size of the table changes', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 30 }), fc.constantFrom(0, 100, 4_096, 20_000), (blocks, own) => {
        const encoder = new HpackEncoder(own)
        const decoder = new HpackDecoder(1_000_000)
        for (const { fields, sizes, withSizes } of blocks) {
          if (withSizes === 0) for (const size of sizes) encoder.setPeerTableMax(size)
          let text = encoder.begin()
          const wanted: string[] = []
          const marked = new Set<string>()
          for (const [fieldName, fieldValue, isSecret] of fields) {
            wanted.push(fieldName, fieldValue)
            const isMarked = isSecret && fieldName.startsWith('x-')
            text += isMarked ? encoder.neverIndexed(fieldName, fieldValue) : encoder.field(fieldName, fieldValue)
            // That is one by its name.
            if (isMarked && fieldName !== 'x-api-key') marked.add(fieldName)
          }
          const bytes = Buffer.from(text, 'latin1')
          const read: string[] = []
          const size = decoder.decode(bytes, 0, bytes.length, read, 1_000_000, 1_000)
          assert.deepEqual(read, wanted)
          assert.deepEqual(decoder.neverIndexed ?? new Set(), marked)
          assert.equal(size, wanted.join('').length + wanted.length * 16)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('a decoder of any bytes', () => {
  /** Representations that are nearly right, so that more than the first byte is read. */
  const piece = fc.oneof(
    fc.integer({ min: 0x80, max: 0xff }).map((c) => String.fromCharCode(c)),
    fc
      .tuple(fc.integer({ min: 0, max: 0x7f }), fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }))
      .map(([first, a, b]) => String.fromCharCode(first, a.length) + a + String.fromCharCode(b.length) + b),
    fc
      .tuple(fc.integer({ min: 0, max: 0x7f }), fc.uint8Array({ maxLength: 9 }))
      .map(([first, a]) => String.fromCharCode(first, 0x80 | a.length, ...a)),
    fc.uint8Array({ maxLength: 4 }).map((bytes) => String.fromCharCode(...bytes)),
  )
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
    fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(pieces.join(''), 'latin1')),
  )

  it('throws nothing but HpackError, pushes nothing past its limits, and goes on after what it took', () => {
    let refused = 0
    let taken = 0
    fc.assert(
      fc.property(
        fc.array(bytes, { minLength: 1, maxLength: 6 }),
        fc.nat(300),
        fc.nat(10),
        (blocks, listMax, fieldsMax) => {
          const decoder = new HpackDecoder()
          const free = new HpackDecoder()
          for (const array of blocks) {
            const fields: string[] = []
            const all: string[] = []
            let size = 0
            try {
              size = decoder.decode(array, 0, array.length, fields, listMax, fieldsMax)
            } catch (error) {
              assert.ok(error instanceof HpackError, String(error))
              assert.throws(() => free.decode(array, 0, array.length, all, 1e9, 1e9), HpackError)
              refused++
              return
            }
            taken++
            // The same without limits: the tables are alike, though less was kept.
            const real = free.decode(array, 0, array.length, all, 1e9, 1e9)
            assert.equal(decoder.malformed, free.malformed)
            assert.equal(real, all.join('').length + all.length * 16)
            assert.deepEqual(fields, all.slice(0, fields.length))
            assert.ok(fields.length <= fieldsMax * 2 && fields.join('').length + fields.length * 16 <= listMax)
            if (size <= listMax) assert.deepEqual(fields, all)
            else assert.ok(real > listMax || all.length > fieldsMax * 2)
          }
        },
      ),
      { numRuns: 3_000 },
    )
    assert.ok(refused > 100 && taken > 100, `${refused} refused, ${taken} taken`)
  })
})

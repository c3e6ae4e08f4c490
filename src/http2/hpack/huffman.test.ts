import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { huffmanDecode, huffmanEncode, huffmanLength, huffmanRoom } from './huffman.ts'

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))

function decode(coded: Buffer): string | undefined {
  // One guard behind the room: nothing is written there.
  const room = huffmanRoom(coded.length)
  const out = Buffer.alloc(room + 1, 0x55)
  const length = huffmanDecode(coded, 0, coded.length, out)
  assert.ok(length <= room)
  assert.equal(out[room], 0x55)
  return length < 0 ? undefined : out.latin1Slice(0, length)
}

/** Bit by bit, from the codes that the encoder writes: slow and plain. */
const byBits = new Map<string, number>()
for (let byte = 0; byte < 256; byte++) {
  // Four times the code is whole bytes and no padding but for what the length says.
  const coded = Buffer.from(huffmanEncode(String.fromCharCode(byte).repeat(8)), 'latin1')
  const bits = [...coded].map((octet) => octet.toString(2).padStart(8, '0')).join('')
  byBits.set(bits.slice(0, bits.length / 8), byte)
}

function decodePlainly(coded: Buffer): string | undefined {
  let text = ''
  let bits = ''
  for (const octet of coded) {
    for (const bit of octet.toString(2).padStart(8, '0')) {
      bits += bit
      const byte = byBits.get(bits)
      if (byte === undefined) continue
      text += String.fromCharCode(byte)
      bits = ''
    }
  }
  return bits.length < 8 && !bits.includes('0') ? text : undefined
}

describe('the Huffman code', () => {
  it('is complete: 256 codes and EOS', () => {
    assert.equal(byBits.size, 256)
    const parts = [...byBits.keys()].reduce((sum, bits) => sum + 2 ** (30 - bits.length), 1)
    assert.equal(parts, 2 ** 30)
    assert.equal(byBits.get('1'.repeat(30)), undefined)
    assert.equal(Math.max(...[...byBits.keys()].map((bits) => bits.length)), 30)
  })

  it('comes back as it was, and is as long as was said', () => {
    fc.assert(
      fc.property(bytes, (array) => {
        const text = array.latin1Slice()
        const coded = huffmanEncode(text)
        assert.equal(coded.length, huffmanLength(text))
        assert.equal(decode(Buffer.from(coded, 'latin1')), text)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is read as bit by bit, whatever the bytes', () => {
    const coded = fc.oneof(
      bytes,
      // Mostly ones: long codes, padding, EOS.
      fc
        .array(fc.constantFrom(0xff, 0xff, 0xff, 0xfe, 0xf8, 0x7f, 0x1c), { maxLength: 20 })
        .map((list) => Buffer.from(list)),
      // Text with its end changed.
      fc
        .tuple(bytes, fc.uint8Array({ maxLength: 3 }))
        .map(([array, end]) =>
          Buffer.concat([Buffer.from(huffmanEncode(array.latin1Slice()), 'latin1').subarray(0, -1), end]),
        ),
    )
    fc.assert(
      fc.property(coded, (array) => assert.equal(decode(array), decodePlainly(array))),
      { numRuns: 5_000 },
    )
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HpackDecoder, HpackError } from './decoder.ts'
import { huffmanEncode } from './huffman.ts'
import { integer } from './integer.ts'

/** Decodes with nothing in the way. */
function decode(decoder: HpackDecoder, block: string, listBytesMax = 65_536, fieldsMax = 1_000) {
  const fields: string[] = []
  // Not at the start of its buffer, and not up to its end.
  const bytes = Buffer.from(`\xff${block}\x82`, 'latin1')
  const size = decoder.decode(bytes, 1, bytes.length - 1, fields, listBytesMax, fieldsMax)
  return { fields, size }
}

const fieldsOf = (decoder: HpackDecoder, block: string): string[] => decode(decoder, block).fields
const string = (text: string): string => integer(0, 0x7f, text.length) + text
const huffman = (text: string): string => {
  const coded = huffmanEncode(text)
  return integer(0x80, 0x7f, coded.length) + coded
}
/** A literal with a new name: `first` is 0x40 with indexing, 0x00 without, 0x10 never indexed. */
const literal = (first: number, name: string, value: string): string =>
  String.fromCharCode(first) + string(name) + string(value)
const indexing = 0x40

describe('HpackDecoder', () => {
  it('reads the four ways in which a field comes', () => {
    const decoder = new HpackDecoder()
    assert.deepEqual(
      fieldsOf(
        decoder,
        `\x82${literal(indexing, 'a', '1')}\x7e${string('2')}${literal(0, 'b', '3')}\x0f\x2f${string('4')}` +
          `${literal(0x10, 'c', '5')}\x1f\x2f${string('6')}\x7f\0${string('7')}\xbe\xbf\xc0`,
      ),
      [
        ':method',
        'GET',
        'a',
        '1',
        'a',
        '2',
        'b',
        '3',
        'a',
        '4',
        'c',
        '5',
        'a',
        '6',
        'a',
        '7',
        'a',
        '7',
        'a',
        '2',
        'a',
        '1',
      ],
    )
    assert.deepEqual(decoder.neverIndexed, new Set(['c', 'a']))
    fieldsOf(decoder, `\x1f\x08${string('token')}`)
    assert.equal(decoder.neverIndexed, undefined, 'authorization is a secret, whatever is said of it')
    assert.deepEqual(fieldsOf(decoder, '\x82'), [':method', 'GET'])
    assert.equal(decoder.neverIndexed, undefined)
  })

  it('reads strings raw and in Huffman code, short and long, with bytes above ASCII', () => {
    const decoder = new HpackDecoder()
    for (const value of [
      '',
      '0',
      'abcdefghijkl',
      'abcdefghijklm',
      'é\xff~',
      'x'.repeat(126),
      'x'.repeat(127),
      'yz '.repeat(9_999) + '!',
    ]) {
      for (const coded of [string(value), huffman(value)]) {
        assert.deepEqual(decode(decoder, `\x04${coded}`), {
          fields: [':path', value],
          size: 5 + value.length + 32,
        })
        assert.deepEqual(fieldsOf(decoder, `\x44${coded}`), [':path', value])
        if (value.length < 4_000) assert.deepEqual(fieldsOf(decoder, '\xbe'), [':path', value])
      }
    }
  })

  for (const [what, block] of [
    ['index 0', '\x80'],
    ['an index beyond the static table, with nothing in the dynamic one', '\xbe'],
    ['an index beyond the dynamic table', `${literal(indexing, 'a', 'b')}\xbf`],
    ['an index beyond both as a name', `\x7e${string('b')}`],
    ['an index far beyond', '\xff\xff\xff\xff\x7f'],
    ['an integer without an end', '\xff'],
    ['an integer whose end is cut off', '\xff\x80\x80'],
    ['an integer of more than 28 bits', '\xff\xff\xff\xff\xff\x01'],
    ['an integer with noughts without end', `\xff${'\x80'.repeat(40)}\0`],
    ['2^64', `\xff${'\xff'.repeat(9)}\x01`],
    ['a field without its name', '\0'],
    ['a field without its value', `\0${string('a')}`],
    ['an indexed name without its value', '\x04'],
    ['a name longer than the block', '\0\x05abcd'],
    ['a value longer than the block', `\0${string('a')}\x02b`],
    ['a value of 2^28 bytes', `\x04\x7f\x80\xff\xff\x7f`],
    ['a Huffman value longer than the block', '\x04\x82\x07'],
    ['Huffman padding of noughts', '\x04\x81\x00'],
    ['Huffman padding that is not all ones', '\x04\x81\x06'],
    ['Huffman padding of 8 bits', '\x04\x82\x07\xff'],
    ['Huffman padding of 15 bits', '\x04\x83\x07\xff\xff'],
    ['nothing but padding', '\x04\x81\xff'],
    ['EOS', '\x04\x84\xff\xff\xff\xff'],
    ['EOS behind text', '\x04\x85\x07\xff\xff\xff\xff'],
    ['EOS before text', '\x04\x85\xff\xff\xff\xfc\x1f'],
    ['a code that is cut off', '\x04\x82\xff\xa0'],
    ['a size update behind a field', '\x82\x20'],
    ['a size update behind a literal', `${literal(0, 'a', 'b')}\x3f\x01`],
    ['a size update that would do as a literal', '\x82\x3f\x01\x01a'],
    ['a length of five bytes behind its prefix', `\x04\x7f\x80\x80\x80\x80\0${'x'.repeat(127)}`],
    ['a size above what was announced', '\x3f\xe2\x1f'],
    ['a size of 2^28', '\x3f\xe1\xff\xff\x7f'],
    ['three size updates', '\x20\x20\x20\x82'],
    ['a size update that is cut off', '\x3f'],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => decode(new HpackDecoder(), block), HpackError)
      assert.throws(() => decode(new HpackDecoder(), block, 0, 0), HpackError)
    })
  }

  it('takes size updates where they belong', () => {
    const decoder = new HpackDecoder()
    const add = literal(indexing, 'a', 'b')
    assert.deepEqual(fieldsOf(decoder, `${add}\xbe`), ['a', 'b', 'a', 'b'])
    assert.deepEqual(fieldsOf(decoder, '\x3f\xe1\x1f\xbe'), ['a', 'b'], '4096, as it was')
    assert.deepEqual(fieldsOf(decoder, '\x3f\x03\xbe'), ['a', 'b'], '34, just enough')
    assert.deepEqual(fieldsOf(decoder, '\x20\x3f\xe1\x1f'), [], '0 and 4096, in a block without fields')
    assert.throws(() => fieldsOf(decoder, '\xbe'), HpackError)
  })

  it('takes an integer with noughts, as far as any is read', () => {
    const decoder = new HpackDecoder()
    assert.deepEqual(fieldsOf(decoder, `\x04\x7f\x80\x80\x80\0${'x'.repeat(127)}`), [':path', 'x'.repeat(127)])
  })

  it('evicts what gives way, and everything for an entry that is too large', () => {
    const decoder = new HpackDecoder()
    // Three entries of 34.
    fieldsOf(decoder, `\x3f\x47${['1', '2', '3'].map((value) => literal(indexing, 'a', value)).join('')}`)
    assert.deepEqual(fieldsOf(decoder, '\xbe\xbf\xc0'), ['a', '3', 'a', '2', 'a', '1'])
    // 35 of them: two go. The name of the oldest may be that of the new one (RFC 7541 4.4).
    assert.deepEqual(fieldsOf(decoder, `\x7f\x01${string('44')}\xbe\xbf`), ['a', '44', 'a', '44', 'a', '3'])
    assert.throws(() => fieldsOf(decoder, '\xc0'), HpackError)
    const other = new HpackDecoder()
    fieldsOf(other, `\x3f\x47${literal(indexing, 'a', '1')}`)
    assert.deepEqual(fieldsOf(other, literal(indexing, 'b', 'x'.repeat(70))), ['b', 'x'.repeat(70)])
    assert.throws(() => fieldsOf(other, '\xbe'), HpackError)
  })

  it('holds hundreds of entries in a large table', () => {
    const decoder = new HpackDecoder(65_536)
    fieldsOf(decoder, integer(0x20, 0x1f, 65_536))
    for (let i = 1_000; i < 4_500; i++) fieldsOf(decoder, literal(indexing, 'n', String(i)))
    const kept = Math.floor(65_536 / 37)
    for (const age of [0, 1, 777, kept - 1])
      assert.deepEqual(fieldsOf(decoder, integer(0x80, 0x7f, 62 + age)), ['n', String(4_499 - age)])
    assert.throws(() => fieldsOf(decoder, integer(0x80, 0x7f, 62 + kept)), HpackError)
  })

  it('asks for an update when a smaller table was announced, once that is known', () => {
    const decoder = new HpackDecoder(100)
    const add = literal(indexing, 'a', 'b')
    // 4096 holds until our SETTINGS have come.
    assert.deepEqual(fieldsOf(decoder, `\x3f\xe1\x1f${add}`), ['a', 'b'])
    decoder.settingsAcknowledged()
    assert.deepEqual(fieldsOf(decoder, `\x3f\x45\xbe`), ['a', 'b'])
    assert.throws(() => fieldsOf(decoder, '\x3f\x46'), HpackError)
    const late = new HpackDecoder(100)
    late.settingsAcknowledged()
    assert.throws(() => fieldsOf(late, '\x82'), HpackError)
    const zero = new HpackDecoder(0)
    fieldsOf(zero, add)
    zero.settingsAcknowledged()
    assert.deepEqual(fieldsOf(zero, `\x20${add}`), ['a', 'b'])
    assert.throws(() => fieldsOf(zero, '\xbe'), HpackError)
    const large = new HpackDecoder(10_000)
    large.settingsAcknowledged()
    assert.deepEqual(fieldsOf(large, '\x82'), [':method', 'GET'], 'nobody must use what is allowed')
  })

  it('keeps nothing past a limit, and its table right', () => {
    const decoder = new HpackDecoder()
    const add = literal(indexing, 'a', 'x'.repeat(967))
    assert.deepEqual(decode(decoder, add, 1_000).size, 1_000)
    const past = decode(decoder, `\xbe\xbe${literal(indexing, 'b', 'c')}\x82`, 1_999)
    assert.ok(past.size > 1_999)
    assert.deepEqual(past.fields.length, 2)
    assert.deepEqual(fieldsOf(decoder, '\xbe'), ['b', 'c'])
    const many = decode(decoder, '\x82'.repeat(11), 65_536, 10)
    assert.equal(many.size, Number.POSITIVE_INFINITY)
    assert.equal(many.fields.length, 20)
    assert.deepEqual(decode(decoder, '\x82'.repeat(10), 65_536, 10).size, 420)
    assert.deepEqual(decode(decoder, '\x82', 41, 10), { fields: [], size: 42 })
  })

  it('reads 16,000 indices of an entry of 4 KB without the memory or the time that their text would take', () => {
    const decoder = new HpackDecoder()
    fieldsOf(decoder, literal(indexing, 'a', 'x'.repeat(4_000)))
    const block = Buffer.from('\xbe'.repeat(16_000), 'latin1')
    const fields: string[] = []
    const before = process.cpuUsage()
    for (let i = 0; i < 50; i++) {
      fields.length = 0
      assert.equal(decoder.decode(block, 0, block.length, fields, 65_536, 1_000), 16_000 * 4_033)
    }
    const { user } = process.cpuUsage(before)
    assert.equal(fields.length, 32)
    // 50 x 16,000 fields; their text would be 3.2 GB.
    assert.ok(user < 2_000_000, `${user} us`)
  })

  describe('tells a malformed field', () => {
    for (const [name, value, why] of [
      ['a', 'b', undefined],
      ["!#$%&'*+-.^_`|~09az", 'b\t c\x80\xff', undefined],
      [':path', '/', undefined],
      [':anything', '', undefined],
      ['__proto__', 'x', undefined],
      ['', 'b', 'empty field name'],
      [':', 'b', 'empty field name'],
      ['A', 'b', 'upper case in a field name'],
      ['aB', 'b', 'upper case in a field name'],
      [':Path', 'b', 'upper case in a field name'],
      ['a b', 'b', 'forbidden character in a field name'],
      ['a\0', 'b', 'forbidden character in a field name'],
      ['a\x7f', 'b', 'forbidden character in a field name'],
      ['a\xe9', 'b', 'forbidden character in a field name'],
      ['a:b', 'b', 'forbidden character in a field name'],
      ['a:', 'b', 'forbidden character in a field name'],
      ['::a', 'b', 'forbidden character in a field name'],
      ['a\r\nb: c', 'b', 'forbidden character in a field name'],
      ['a', '\0', 'forbidden character in a field value'],
      ['a', 'b\r\nc: d', 'forbidden character in a field value'],
      ['a', 'b\nc', 'forbidden character in a field value'],
      ['a', 'b\x7f', 'forbidden character in a field value'],
      ['a', '\x0b', 'forbidden character in a field value'],
      ['a', ' b', 'a field value begins or ends with a blank'],
      ['a', 'b ', 'a field value begins or ends with a blank'],
      ['a', '\tb', 'a field value begins or ends with a blank'],
      ['a', 'b\t', 'a field value begins or ends with a blank'],
      ['a', ' ', 'a field value begins or ends with a blank'],
    ] as const) {
      it(`${JSON.stringify(name)}: ${JSON.stringify(value)} is ${why ?? 'none'}`, () => {
        for (const code of [string, huffman]) {
          for (const first of [0x00, 0x10, 0x40]) {
            const decoder = new HpackDecoder()
            const block = String.fromCharCode(first) + code(name) + code(value)
            assert.deepEqual(fieldsOf(decoder, `\x82${block}\x87`), [':method', 'GET', name, value, ':scheme', 'https'])
            assert.equal(decoder.malformed, why)
            fieldsOf(decoder, '\x82')
            assert.equal(decoder.malformed, undefined)
            if (first !== 0x40) continue
            // An entry stays what it was; a name stays what it was with another value.
            fieldsOf(decoder, '\x82\xbe')
            assert.equal(decoder.malformed, why)
            fieldsOf(decoder, `\x0f\x2f${string('fine')}`)
            assert.equal(decoder.malformed, why?.includes('name') ? why : undefined)
            fieldsOf(decoder, `\x7e${string('fine')}`)
            fieldsOf(decoder, '\xbe')
            assert.equal(decoder.malformed, why?.includes('name') ? why : undefined)
          }
        }
      })
    }

    it('by the first that is', () => {
      const decoder = new HpackDecoder()
      fieldsOf(decoder, literal(0, 'A', 'b') + literal(0, '', 'b'))
      assert.equal(decoder.malformed, 'upper case in a field name')
    })
  })
})

/** The examples of RFC 7541 appendix C: each block decoded, with the size of the table after it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HpackDecoder } from './decoder.ts'
import { HpackEncoder } from './encoder.ts'
import { huffmanEncode } from './huffman.ts'
import { integer } from './integer.ts'

interface Example {
  readonly section: string
  /** The table's limit in bytes, by a size update that the example leaves out. */
  readonly table: number
  readonly blocks: readonly (readonly [hex: string, fields: readonly string[]])[]
}

/** Of lines `name value`. */
const list = (...lines: readonly string[]): string[] => lines.flatMap((line) => line.split(/ (.*)/).slice(0, 2))

const first = list(':method GET', ':scheme http', ':path /', ':authority www.example.com')
const second = [...first, 'cache-control', 'no-cache']
const third = list(
  ':method GET',
  ':scheme https',
  ':path /index.html',
  ':authority www.example.com',
  'custom-key custom-value',
)
const answer = (status: string): string[] =>
  list(
    `:status ${status}`,
    'cache-control private',
    'date Mon, 21 Oct 2013 20:13:21 GMT',
    'location https://www.example.com',
  )
const found = answer('302')
const redirected = answer('307')
const last = list(
  ':status 200',
  'cache-control private',
  'date Mon, 21 Oct 2013 20:13:22 GMT',
  'location https://www.example.com',
  'content-encoding gzip',
  'set-cookie foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
)

const examples: readonly Example[] = [
  {
    section: 'C.2.1',
    table: 4096,
    blocks: [['400a637573746f6d2d6b65790d637573746f6d2d686561646572', ['custom-key', 'custom-header']]],
  },
  { section: 'C.2.2', table: 4096, blocks: [['040c2f73616d706c652f70617468', [':path', '/sample/path']]] },
  { section: 'C.2.3', table: 4096, blocks: [['100870617373776f726406736563726574', ['password', 'secret']]] },
  { section: 'C.2.4', table: 4096, blocks: [['82', [':method', 'GET']]] },
  {
    section: 'C.3',
    table: 4096,
    blocks: [
      ['828684410f7777772e6578616d706c652e636f6d', first],
      ['828684be58086e6f2d6361636865', second],
      ['828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565', third],
    ],
  },
  {
    section: 'C.4',
    table: 4096,
    blocks: [
      ['828684418cf1e3c2e5f23a6ba0ab90f4ff', first],
      ['828684be5886a8eb10649cbf', second],
      ['828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf', third],
    ],
  },
  {
    section: 'C.5',
    table: 256,
    blocks: [
      [
        '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17' +
          '68747470733a2f2f7777772e6578616d706c652e636f6d',
        found,
      ],
      ['4803333037c1c0bf', redirected],
      [
        '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d41' +
          '53444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
        last,
      ],
    ],
  },
  {
    section: 'C.6',
    table: 256,
    blocks: [
      [
        '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
        found,
      ],
      ['4883640effc1c0bf', redirected],
      [
        '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960' +
          'd5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
        last,
      ],
    ],
  },
]

function sizeOf(fields: readonly string[]): number {
  return fields.reduce((sum, text) => sum + text.length, 0) + (fields.length / 2) * 32
}

describe('appendix C of RFC 7541', () => {
  for (const { section, table, blocks } of examples) {
    it(`${section} is decoded`, () => {
      const decoder = new HpackDecoder()
      const update = table === 4096 ? '' : integer(0x20, 0x1f, table)
      for (const [number, [hex, wanted]] of blocks.entries()) {
        const block = Buffer.concat([Buffer.from(number === 0 ? update : '', 'latin1'), Buffer.from(hex, 'hex')])
        const fields: string[] = []
        assert.equal(decoder.decode(block, 0, block.length, fields, 65_536, 1_000), sizeOf(wanted))
        assert.deepEqual(fields, wanted)
        assert.equal(decoder.malformed, undefined)
        assert.deepEqual(decoder.neverIndexed, section === 'C.2.3' ? new Set(['password']) : undefined)
      }
    })
  }

  it('C.1: integers', () => {
    assert.equal(integer(0, 0x1f, 10), '\x0a')
    assert.equal(integer(0, 0x1f, 1337), '\x1f\x9a\x0a')
    assert.equal(integer(0, 0xff, 42), '\x2a')
  })

  it('C.4 and C.6: strings of the Huffman code', () => {
    for (const [text, hex] of [
      ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
      ['no-cache', 'a8eb10649cbf'],
      ['custom-key', '25a849e95ba97d7f'],
      ['custom-value', '25a849e95bb8e8b4bf'],
      ['302', '6402'],
      ['307', '640eff'],
      ['private', 'aec3771a4b'],
      ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
      ['https://www.example.com', '9d29ad171863c78f0b97c8e9ae82ae43d3'],
      ['gzip', '9bd9ab'],
      [
        'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
      ],
    ] as const) {
      assert.equal(Buffer.from(huffmanEncode(text), 'latin1').toString('hex'), hex)
    }
  })

  it('C.2.2 to C.4: what an encoder has no choice in', () => {
    const encoder = new HpackEncoder()
    assert.equal(encoder.begin(), '')
    const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex')
    assert.equal(hex(encoder.field(':path', '/sample/path')), '040c2f73616d706c652f70617468')
    assert.equal(hex(encoder.neverIndexed('password', 'secret')), '1086ac684783d927' + '06736563726574')
    assert.equal(
      hex([':method', ':scheme', ':path'].map((name, i) => encoder.field(name, first[i * 2 + 1]!)).join('')),
      '828684',
    )
    // Known by its second sight, and an index from then on.
    encoder.field(':authority', 'www.example.com')
    assert.equal(hex(encoder.field(':authority', 'www.example.com')), '418cf1e3c2e5f23a6ba0ab90f4ff')
    assert.equal(hex(encoder.field(':authority', 'www.example.com')), 'be')
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HpackDecoder } from './decoder.ts'
import { HpackEncoder } from './encoder.ts'

/** Sends blocks and sees that they arrive; `send` gives the bytes. */
class Wire {
  readonly encoder: HpackEncoder
  readonly decoder: HpackDecoder
  constructor(tableBytesMax?: number) {
    this.encoder = new HpackEncoder(tableBytesMax)
    this.decoder = new HpackDecoder(tableBytesMax)
  }
  send(...fields: readonly string[]): string {
    let text = this.encoder.begin()
    for (let i = 0; i < fields.length; i += 2) text += this.encoder.field(fields[i]!, fields[i + 1]!)
    const block = Buffer.from(text, 'latin1')
    const read: string[] = []
    this.decoder.decode(block, 0, block.length, read, 1_000_000, 10_000)
    assert.deepEqual(read, fields)
    return text
  }
}

const isIndexed = (text: string): boolean => text.length === 1 && text.charCodeAt(0) >= 0x80

describe('HpackEncoder', () => {
  it('sends what repeats as one byte from the third time on', () => {
    const wire = new Wire()
    const fields = [
      'user-agent',
      'grpc-go/1.76.0',
      'te',
      'trailers',
      'x-empty',
      '',
      'grpc-accept-encoding',
      'gzip,deflate',
    ]
    wire.send(':method', 'POST', ...fields)
    wire.send(':method', 'POST', ...fields)
    assert.equal(wire.send(':method', 'POST', ...fields), '\x83\xc1\xc0\xbf\xbe')
  })

  it('knows the static table, with and without values', () => {
    const wire = new Wire()
    assert.equal(
      wire.send(':method', 'GET', ':path', '/', ':scheme', 'https', ':status', '404', 'accept', ''),
      '\x82\x84\x87\x8d\x93',
    )
    assert.equal(wire.send(':status', '201'), '\x08\x03201')
  })

  it('lets what is new in every request push nothing out', () => {
    const wire = new Wire()
    const same = ['user-agent', 'x', 'accept', '*/*', 'x-team', 'payments']
    for (let i = 0; i < 3; i++) wire.send(...same)
    for (let i = 0; i < 1_000; i++) {
      wire.send(
        ':path',
        `/orders/${i}`,
        'content-length',
        String(10_000 + i),
        'x-new',
        `value ${i}`,
        'traceparent',
        `${i}`,
      )
    }
    assert.equal(wire.send(...same).length, 3)
  })

  it('takes in all of dozens of fields that repeat', () => {
    const fields = Array.from({ length: 60 }, (_, i) => [`x-name-${i * 37}`, String(i % 3)]).flat()
    const wire = new Wire()
    for (let i = 0; i < 3; i++) wire.send(...fields)
    assert.ok(wire.send(...fields).length < 70)
  })

  it('takes a value in when it comes again', () => {
    const wire = new Wire()
    for (let i = 0; i < 20; i++) wire.send(':path', `/other/${i}`)
    wire.send(':path', '/often')
    for (let i = 20; i < 40; i++) wire.send(':path', `/other/${i}`)
    wire.send(':path', '/often')
    assert.ok(isIndexed(wire.send(':path', '/often')))
  })

  it('sends a fresh field by its name in the table', () => {
    const wire = new Wire()
    for (let i = 0; i < 2; i++) wire.send('traceparent', `00-${i}`)
    assert.equal(wire.send('traceparent', '00-77'), '\x0f\x2f\x0500-77')
    assert.equal(wire.send('traceparent', '00-77'), '\x0f\x2f\x0500-77')
    assert.equal(wire.send('traceparent', '00-77'), '\x0f\x2f\x0500-77')
  })

  it('writes names in lower case, and knows them in any', () => {
    const wire = new Wire()
    const send = (name: string, value: string): string => {
      const text = wire.encoder.field(name, value)
      const read: string[] = []
      wire.decoder.decode(Buffer.from(text, 'latin1'), 0, text.length, read, 1_000, 10)
      assert.deepEqual(read, [name.toLowerCase(), value])
      return text
    }
    const spellings = [
      'Content-Type',
      'content-type',
      'CONTENT-TYPE',
      'Content-type',
      'content-Type',
      'X-Some-Thing',
      'x-some-thing',
    ]
    for (let i = 0; i < 3; i++) for (const name of spellings) send(name, 'text/plain')
    for (const name of spellings) assert.ok(isIndexed(send(name, 'text/plain')), name)
    for (let i = 0; i < 9; i++) assert.equal(send('Authorization', 'x').charCodeAt(0), 0x1f)
    assert.equal(send('X-API-Key', 'x').charCodeAt(0), 0x10)
    wire.encoder.neverIndexed('X-Unknown', 'x')
    // A name that is out is out in every spelling.
    for (let i = 0; i < 200; i++) for (let j = 0; j < 3; j++) send(`x-${i}`, 'value')
    assert.ok(!isIndexed(send('X-Some-Thing', 'text/plain')))
    send('x-some-thing', 'text/plain')
  })

  it('never indexes secrets, however often they come', () => {
    const wire = new Wire()
    for (let i = 0; i < 5; i++) {
      assert.equal(wire.send('authorization', 'Bearer x'), '\x1f\x08\x08Bearer x')
      assert.equal(wire.send('cookie', 'a=b'), '\x1f\x11\x03a=b')
      assert.equal(wire.send('set-cookie', ''), '\x1f\x28\0')
      assert.equal(wire.send('x-api-key', 'k').charCodeAt(0), 0x10)
    }
  })

  it('sends on as never indexed what came so', () => {
    const wire = new Wire()
    for (let i = 0; i < 3; i++) wire.send('x-token', 'public')
    assert.equal(wire.encoder.neverIndexed('x-token', 'public'), '\x1f\x2f\x06public')
    assert.equal(wire.encoder.neverIndexed(':path', '/'), '\x14\x01/')
    assert.equal(wire.encoder.neverIndexed('x-other', 'v').charCodeAt(0), 0x10)
  })

  it('keeps an entry that is a large part of the table out of it', () => {
    const wire = new Wire()
    const large = 'x'.repeat(4096 / 4 - 32 - 'x-large'.length)
    for (let i = 0; i < 2; i++) wire.send('x-large', `${large}y`)
    assert.ok(wire.send('x-large', `${large}y`).length > 900)
    for (let i = 0; i < 2; i++) wire.send('x-large', large)
    assert.ok(isIndexed(wire.send('x-large', large)))
  })

  it('keeps no more values of one name than a look-up can afford', () => {
    const wire = new Wire()
    for (let round = 0; round < 3; round++) for (let i = 0; i < 100; i++) wire.send('x-many', `value ${i}`)
    const indexed = Array.from({ length: 100 }, (_, i) => wire.send('x-many', `value ${i}`)).filter(isIndexed)
    assert.equal(indexed.length, 32)
  })

  it('evicts the oldest, and their names with them', () => {
    const wire = new Wire(200)
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    for (const name of names) for (let i = 0; i < 2; i++) wire.send(name, '1')
    // Of 34 bytes each five fit.
    assert.equal(wire.send('c', '1', 'd', '1', 'e', '1', 'f', '1', 'g', '1'), '\xc2\xc1\xc0\xbf\xbe')
    assert.equal(wire.send('b', '2'), '\x40\x01b\x012', 'its name is out, and was here before')
    assert.equal(wire.send('c', '2'), '\x40\x01c\x012')
    // The entry that gives way may be the one that gives the name.
    for (let i = 0; i < 3; i++) wire.send('d', 'xxxxxx')
    assert.equal(wire.send('d', 'xxxxxx'), '\xbe')
    for (let i = 0; i < 3; i++) wire.send('e', 'yyyyyyyyyyyyyyy')
    assert.equal(wire.send('e', 'yyyyyyyyyyyyyyy', 'd', 'xxxxxx'), '\xbe\xbf')
  })

  describe('says the size of its table', () => {
    const update = (sizes: readonly number[]): string => {
      const encoder = new HpackEncoder()
      for (const size of sizes) encoder.setPeerTableMax(size)
      const text = encoder.begin()
      assert.equal(encoder.begin(), '', 'once')
      return Buffer.from(text, 'latin1').toString('hex')
    }
    for (const [sizes, wanted] of [
      [[4_096], ''],
      [[65_536], ''],
      [[0], '20'],
      [[30], '3e'],
      [[31], '3f00'],
      [[100, 50], '3f13'],
      [[50, 100], '3f133f45'],
      [[0, 4_096], '203fe11f'],
      [[0, 100_000], '203fe11f'],
      [[100, 0, 100, 10, 200], '203fa901'],
    ] as const) {
      it(`after ${sizes.join(', ')}: ${wanted === '' ? 'nothing' : wanted}`, () => assert.equal(update(sizes), wanted))
    }

    it('if it is smaller or larger than what is usual', () => {
      assert.equal(new HpackEncoder(0).begin(), '\x20')
      const large = new HpackEncoder(10_000)
      assert.equal(large.begin(), '')
      large.setPeerTableMax(8_192)
      assert.equal(large.begin(), '\x3f\xe1\x3f')
      large.setPeerTableMax(65_536)
      assert.equal(large.begin(), '\x3f\xf1\x4d')
    })

    it('and has forgotten at once what is out', () => {
      const wire = new Wire()
      for (let i = 0; i < 3; i++) wire.send('a', '1', 'b', '1')
      wire.encoder.setPeerTableMax(40)
      wire.encoder.setPeerTableMax(4_096)
      assert.equal(wire.send('b', '1'), '\x3f\x09\x3f\xe1\x1f\xbe')
      assert.ok(!isIndexed(wire.send('a', '1')))
    })
  })
})

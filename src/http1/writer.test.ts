import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { BodyWriter, fieldLines, keepable, readBuffer } from './writer.ts'

/** Keeps what is written, call by call, as a socket would queue it. */
class Sink extends Writable {
  readonly chunks: Buffer[] = []
  readonly #stuck: boolean
  constructor(stuck = false) {
    super({ highWaterMark: 64 * 1024, decodeStrings: true })
    this.#stuck = stuck
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (!this.#stuck) done()
  }
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.chunks.push(chunk)
    if (!this.#stuck) done()
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1')
  }
}

const writer = (sink: Sink, length: number | undefined, chunked: boolean, head = 'HEAD\r\n\r\n'): BodyWriter =>
  new BodyWriter(sink as unknown as Socket, head, length, chunked)

describe('BodyWriter', () => {
  for (const size of [1, 15, 16, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 64 * 1024]) {
    it(`writes a piece of ${size} bytes the same way, counted, chunked and until close`, () => {
      const body = Buffer.alloc(size, 'x')
      const counted = new Sink()
      const one = writer(counted, size * 2, false)
      one.data(body)
      one.data(body)
      one.end(undefined)
      assert.equal(counted.text, `HEAD\r\n\r\n${'x'.repeat(size * 2)}`)
      assert.deepEqual([one.bytes, one.short, one.overrun], [size * 2, false, false])

      const chunked = new Sink()
      const two = writer(chunked, undefined, true)
      two.data(body)
      two.data(body)
      two.end(['X-Sum', '1'])
      const piece = `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`
      assert.equal(chunked.text, `HEAD\r\n\r\n${piece}${piece}0\r\nX-Sum: 1\r\n\r\n`)
      assert.equal(two.bytes, size * 2)

      const open = new Sink()
      const three = writer(open, undefined, false)
      three.data(body)
      three.end(['X-Sum', '1'])
      assert.equal(open.text, `HEAD\r\n\r\n${'x'.repeat(size)}`)
    })
  }

  it('sends head and small piece in one write', () => {
    const sink = new Sink()
    writer(sink, undefined, true).data(Buffer.from('abc'))
    assert.equal(sink.chunks.length, 1)
  })

  it('sends the head alone when nothing follows, once', () => {
    const sink = new Sink()
    const empty = writer(sink, undefined, true)
    empty.flush()
    empty.flush()
    empty.data(Buffer.alloc(0))
    empty.end(undefined)
    assert.equal(sink.text, 'HEAD\r\n\r\n0\r\n\r\n')
    const counted = new Sink()
    writer(counted, 0, false).end(undefined)
    assert.equal(counted.text, 'HEAD\r\n\r\n')
  })

  it('an empty piece is no last chunk', () => {
    const sink = new Sink()
    const body = writer(sink, undefined, true)
    body.data(Buffer.alloc(0))
    body.data(Buffer.from('a'))
    body.end(undefined)
    assert.equal(sink.text, 'HEAD\r\n\r\n1\r\na\r\n0\r\n\r\n')
  })

  it('knows too little and too much, and never writes too much', () => {
    const sink = new Sink()
    const body = writer(sink, 4, false, '')
    body.data(Buffer.from('abc'))
    assert.equal(body.short, true)
    body.data(Buffer.from('de'))
    assert.equal(body.overrun, true)
    assert.equal(sink.text, 'abc')
  })

  it('says when the socket is full', () => {
    const body = writer(new Sink(true), undefined, true)
    assert.equal(body.data(Buffer.alloc(10)), true)
    assert.equal(body.data(Buffer.alloc(70_000)), false)
    assert.equal(body.data(Buffer.alloc(0)), false)
  })

  for (const [at, size, chunked] of [
    [0, 64 * 1024, false],
    [100, 40_000, false],
    [100, 40_000, true],
    [5, 100, true],
  ] as const) {
    it(`keeps no view of the shared read buffer (${size} bytes at ${at}, ${chunked ? 'chunked' : 'counted'})`, () => {
      const sink = new Sink(true)
      readBuffer.fill('x')
      const body = writer(sink, chunked ? undefined : size, chunked, 'H')
      body.data(readBuffer.subarray(at, at + size))
      // The next read of any connection.
      readBuffer.fill('y')
      assert.doesNotMatch(sink.text, /y/)
      assert.equal(sink.text.split('x').length - 1, size)
    })
  }

  it('copies what is a view of the read buffer, and nothing else', () => {
    const own = Buffer.alloc(10)
    assert.equal(keepable(own), own)
    assert.notEqual(keepable(readBuffer.subarray(0, 10)).buffer, readBuffer.buffer)
    assert.notEqual(keepable(readBuffer).buffer, readBuffer.buffer)
  })
})

describe('fieldLines', () => {
  it('are the pairs in order', () => {
    assert.equal(fieldLines([]), '')
    assert.equal(fieldLines(['A', 'b', 'A', '']), 'A: b\r\nA: \r\n')
  })
})

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { settle } from '../../test/support/fake-clock.ts'
import { Output } from './output.ts'

/** Keeps what it is given, in the pieces in which it came; takes the next when it is told. */
function setUp(highWaterMark = 1 << 20) {
  const pieces: string[] = []
  let hold = false
  let held: (() => void) | undefined
  const take = (bytes: Buffer, done: () => void): void => {
    pieces.push(bytes.toString('latin1'))
    if (hold) held = done
    else done()
  }
  const socket = new Writable({
    highWaterMark,
    write: (chunk: Buffer, _encoding, done) => take(chunk, done),
    writev: (chunks, done) => take(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
  }) as unknown as Socket
  const output = new Output(socket)
  return {
    output,
    socket,
    pieces,
    hold: () => {
      hold = true
    },
    release: () => {
      hold = false
      held?.()
    },
  }
}

describe('what goes out', () => {
  it('leaves at the end of the turn, in one piece', async () => {
    const { output, pieces } = setUp()
    output.write('one')
    output.write(' two')
    assert.deepEqual(pieces, [])
    assert.equal(output.unread, 7)
    await settle()
    assert.deepEqual(pieces, ['one two'])
    assert.equal(output.unread, 0)
    output.write('three')
    await settle()
    assert.deepEqual(pieces, ['one two', 'three'])
  })

  it('text and buffers keep their order', async () => {
    const { output, pieces } = setUp()
    output.write('a')
    output.writeBytes('b', Buffer.from('\xff', 'latin1'))
    output.writeBytes('c', Buffer.from('\xfe', 'latin1'))
    output.write('d')
    output.write('\xfd')
    await settle()
    assert.equal(pieces.join(''), 'ab\xffc\xfed\xfd')
    assert.equal(pieces.length, 1)
  })

  it('a lot does not wait for the end of the turn, and what follows stays behind it', async () => {
    const { output, pieces } = setUp()
    output.write('first')
    output.writeBytes('head', Buffer.alloc(64 * 1024, 'x'))
    assert.equal(pieces.join('').length, 5 + 4 + 64 * 1024)
    output.write('last')
    await settle()
    assert.ok(pieces.join('').endsWith('xlast'))
  })

  it('copies of payloads keep their place between text and buffers, and nobody keeps what they were copied from', async () => {
    const { output, pieces } = setUp()
    const chunk = Buffer.from('..payload..')
    output.write('a')
    output.copyData(0x0102_0304, chunk, 2, 9)
    chunk.fill('!')
    output.write('b')
    assert.equal(output.unread, 1 + 9 + 7 + 1)
    assert.deepEqual(pieces, [])
    output.writeBytes('c', Buffer.from('d'))
    output.copyData(1, Buffer.from('e'), 0, 1)
    output.write('\xff')
    await settle()
    assert.equal(pieces.join(''), 'a\0\0\x07\0\0\x01\x02\x03\x04payloadbcd\0\0\x01\0\0\0\0\0\x01e\xff')
    assert.equal(output.unread, 0)
  })

  it('as many copies as come leave in their order, with text of any length between them', async () => {
    const { output, pieces } = setUp()
    let expected = ''
    for (let i = 0; i < 300; i++) {
      const payload = String(i % 10).repeat((i * 61) % 16_384)
      output.copyData(7, Buffer.from(payload), 0, payload.length)
      const { length } = payload
      expected += `\0${String.fromCharCode(length >>> 8, length & 0xff)}\0\0\0\0\0\x07${payload}`
      if (i % 50 > 0) continue
      const text = 't'.repeat(i * 1_000)
      output.write(text)
      expected += text
    }
    await settle()
    assert.ok(pieces.join('') === expected, 'what left is what came')
    assert.ok(pieces.length > 1 && pieces.length < 100, `${pieces.length} pieces`)
  })

  it('what a slow socket still has is not written over', async () => {
    const { output, hold, release, pieces, socket } = setUp(10)
    const filled = (text: string): void => output.copyData(1, Buffer.alloc(16_384, text), 0, 16_384)
    hold()
    filled('a')
    output.flush()
    filled('b')
    output.flush()
    filled('c')
    const drained = new Promise((resolve) => socket.once('drain', resolve))
    release()
    await drained
    await settle()
    const left = pieces.join('').replaceAll('\0@\0\0\0\0\0\0\x01', '')
    assert.ok(left === 'a'.repeat(16_384) + 'b'.repeat(16_384) + 'c'.repeat(16_384))
  })

  it('two connections do not hold each other', async () => {
    const [one, other] = [setUp(), setUp()]
    one.output.write('1')
    other.output.write('2')
    one.socket.destroy()
    await settle()
    assert.deepEqual([one.pieces, other.pieces], [[], ['2']])
  })

  it('is full when the socket is, and says what nobody has taken', async () => {
    const { output, socket, hold, release, pieces } = setUp(10)
    hold()
    output.write('0123456789')
    await settle()
    assert.equal(output.full, true)
    output.writeBytes('ab', Buffer.from('cd'))
    assert.equal(output.unread, 14)
    output.flush()
    assert.equal(output.unread, 14)
    const drained = new Promise((resolve) => socket.once('drain', resolve))
    release()
    await drained
    assert.equal(pieces.join(''), '0123456789abcd')
    assert.equal(output.unread, 0)
  })

  it('nothing is written after the end of the socket, nor to one that is destroyed', async () => {
    const { output, socket, pieces } = setUp()
    let failed: unknown
    socket.on('error', (error) => {
      failed = error
    })
    output.write('said')
    output.flush()
    socket.end()
    output.write('too late')
    output.writeBytes('too late', Buffer.from('too'))
    await settle()
    assert.deepEqual(pieces, ['said'])
    assert.equal(output.unread, 0)
    socket.destroy()
    output.write('much too late')
    await settle()
    assert.equal(failed, undefined)
  })
})

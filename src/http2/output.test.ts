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

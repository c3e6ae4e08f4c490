import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { pair } from '../../test/support/pair.ts'
import { StaticReads } from './static-reads.ts'

/** Everything that comes, marked by the way that it came. */
class Taken {
  readonly pieces: string[] = []
  #wake: () => void = () => {}

  add(way: 'stream' | 'static', text: string): void {
    const last = this.pieces.at(-1)
    if (last?.startsWith(`${way}:`) === true) this.pieces[this.pieces.length - 1] = last + text
    else this.pieces.push(`${way}:${text}`)
    this.#wake()
  }

  async until(text: string): Promise<void> {
    while (!this.pieces.join('').includes(text)) await new Promise<void>((resolve) => (this.#wake = resolve))
  }
}

const buffer = Buffer.alloc(1_024)

function begin(socket: Socket, taken: Taken): StaticReads | undefined {
  socket.on('data', (chunk: Buffer) => taken.add('stream', chunk.toString('latin1')))
  return StaticReads.begin(socket, buffer, (bytes) => {
    taken.add('static', buffer.toString('latin1', 0, bytes))
    return true
  })
}

test('this Node has what it takes: an accepted socket reads into the buffer', async () => {
  await using ends = await pair()
  const taken = new Taken()
  assert.notEqual(begin(ends.socket, taken), undefined)
  ends.socket.resume()
  ends.client.write('hello')
  await taken.until('hello')
  assert.deepEqual(taken.pieces, ['static:hello'])
})

test('what was read before comes first, as data', async () => {
  await using ends = await pair()
  ends.socket.unshift(Buffer.from('first'))
  const taken = new Taken()
  begin(ends.socket, taken)
  ends.client.write('second')
  ends.socket.resume()
  await taken.until('second')
  assert.deepEqual(taken.pieces, ['stream:first', 'static:second'])
})

test('a taker that returns false gets no more until resume', async () => {
  await using ends = await pair()
  const got: string[] = []
  let wake: () => void = () => {}
  StaticReads.begin(ends.socket, buffer, (bytes) => {
    got.push(buffer.toString('latin1', 0, bytes))
    wake()
    return false
  })
  ends.socket.resume()
  let came = new Promise<void>((resolve) => (wake = resolve))
  ends.client.write('one')
  await came
  ends.client.write('two')
  // Written, and two turns of the event loop: it would have been read.
  await new Promise<void>((resolve) => ends.client.write(' ', () => setImmediate(() => setImmediate(resolve))))
  assert.deepEqual(got, ['one'])
  came = new Promise<void>((resolve) => (wake = resolve))
  ends.socket.pause()
  ends.socket.resume()
  await came
  assert.equal(got.join('').trimEnd(), 'onetwo')
})

test('released, the socket is a stream again; the end still comes', async () => {
  await using ends = await pair()
  const taken = new Taken()
  const reads = begin(ends.socket, taken)
  ends.socket.resume()
  ends.client.write('mine')
  await taken.until('mine')
  reads?.release()
  const ended = once(ends.socket, 'end')
  ends.client.end('theirs')
  await ended
  assert.deepEqual(taken.pieces, ['static:mine', 'stream:theirs'])
})

test('without a handle it declines, and all comes as data', () => {
  const socket = new Socket()
  assert.equal(
    StaticReads.begin(socket, buffer, () => true),
    undefined,
  )
  assert.equal(
    StaticReads.begin(new Duplex() as Socket, buffer, () => true),
    undefined,
  )
})

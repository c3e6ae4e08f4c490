import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { pair, readAll } from '../../test/support/pair.ts'
import { writesDirectly, writeText } from './direct-writes.ts'
import { reset } from './reset.ts'

test('this Node has what it takes: the text goes past the stream', async () => {
  assert.equal(writesDirectly, true)
  await using ends = await pair()
  const seen: unknown[] = []
  const write = ends.socket.write.bind(ends.socket)
  ends.socket.write = ((...args: Parameters<typeof write>) => {
    seen.push(args[0])
    return write(...args)
  }) as typeof write
  assert.equal(writeText(ends.socket, 'h\u00e9llo'), true)
  ends.socket.end()
  assert.equal(await readAll(ends.client), 'h\u00e9llo')
  assert.deepEqual(seen, [])
})

test('what the kernel does not take at once is not lost, and what follows by either way stands behind it', async () => {
  await using ends = await pair()
  const { socket, client } = ends
  const sent: string[] = []
  let piece = 0
  const next = (): string => {
    const text = `${piece++}`.padStart(16_000, '.')
    sent.push(text)
    return text
  }
  while (writeText(socket, next())) {
    // Until the peer's window and our buffer are full.
  }
  const drained = once(socket, 'drain')
  for (let i = 0; i < 20; i++) {
    if (i % 3 === 0) socket.write(next(), 'latin1')
    else writeText(socket, next())
  }
  const all = readAll(client)
  await drained
  socket.end(next(), 'latin1')
  assert.equal(await all, sent.join(''))
})

test("'drain' comes although nothing ever went through the stream", async () => {
  await using ends = await pair()
  let bytes = 0
  do bytes += 16_000
  while (writeText(ends.socket, 'x'.repeat(16_000)))
  assert.equal(ends.socket.writableLength, 0)
  const drained = once(ends.socket, 'drain')
  const all = readAll(ends.client)
  await drained
  ends.socket.end()
  assert.equal((await all).length, bytes)
})

test('a long text, a socket that has something waiting, one that is ended or destroyed: all as the stream does it', async () => {
  await using ends = await pair()
  const { socket, client } = ends
  const long = 'y'.repeat(100_000)
  socket.cork()
  socket.write('first ', 'latin1')
  writeText(socket, 'second ')
  socket.uncork()
  writeText(socket, long)
  socket.end()
  assert.equal(await readAll(client), `first second ${long}`)
  const failed = once(socket, 'error') as Promise<[NodeJS.ErrnoException]>
  writeText(socket, 'late')
  assert.equal((await failed)[0].code, 'ERR_STREAM_WRITE_AFTER_END')
  assert.equal(writeText(socket, 'too late'), false)
})

test('a peer that is gone is an error of the socket, nothing more', async () => {
  await using ends = await pair()
  ends.socket.on('error', () => {}).resume()
  const closed = new Promise((resolve) => ends.socket.once('close', resolve))
  reset(ends.client)
  const tries = setInterval(() => writeText(ends.socket, 'z'), 1)
  await closed
  clearInterval(tries)
  assert.ok(['ECONNRESET', 'EPIPE'].includes((ends.socket.errored as NodeJS.ErrnoException | null)?.code ?? ''))
})

test('destroyed while the kernel still owes: the request ends quietly, the next socket is served', async () => {
  await using first = await pair()
  while (writeText(first.socket, 'x'.repeat(16_000))) {
    // Until it is full.
  }
  const closed = once(first.socket, 'close')
  first.socket.destroy()
  await closed
  await using second = await pair()
  assert.equal(writeText(second.socket, 'hello'), true)
  second.socket.end()
  assert.equal(await readAll(second.client), 'hello')
})

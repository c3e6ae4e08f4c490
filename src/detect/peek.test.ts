import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { pair, readAll, seen } from '../../test/support/pair.ts'
import { peek } from './peek.ts'

test('hands over at the byte that decides, with every byte back in the socket', async () => {
  await using ends = await pair()
  const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  ends.client.end('GET / HTTP/1.1\r\n\r\n')
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.deepEqual([found.protocol, found.cause, found.head.length], ['http1', 'bytes', 0])
  assert.equal(ends.socket.isPaused(), true)
  assert.equal(await readAll(ends.socket), 'GET / HTTP/1.1\r\n\r\n')
})

test('byte by byte', async () => {
  await using ends = await pair()
  const text = '\x16\x03\x01\x00\x20\x01rest'
  const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  for (let at = 0; at < text.length; at++) {
    ends.client.write(text[at]!, 'latin1')
    if (at < 6) await seen(ends.socket, at + 1)
  }
  ends.client.end()
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.equal(found.protocol, 'tls')
  assert.equal(await readAll(ends.socket), text)
})

test('a silent client is opaque when the time is over, and not a millisecond before', async () => {
  await using ends = await pair()
  const clock = new FakeClock()
  let done = false
  const peeked = peek(ends.socket, { clock, timeoutMs: 200 }).then((found) => {
    done = true
    return found
  })
  await clock.advance(199)
  assert.equal(done, false)
  await clock.advance(1)
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.deepEqual([found.protocol, found.cause], ['opaque', 'timeout'])
  ends.socket.write('220 ready\r\n')
  assert.equal(String((await once(ends.client, 'data'))[0]), '220 ready\r\n')
  ends.client.end('EHLO\r\n')
  assert.equal(await readAll(ends.socket), 'EHLO\r\n')
})

test('a request that comes too slowly goes to the engine that can time it out, not past it', async () => {
  await using ends = await pair()
  const clock = new FakeClock()
  const peeked = peek(ends.socket, { clock, timeoutMs: 200 })
  ends.client.write('GE')
  await seen(ends.socket, 2)
  await clock.advance(200)
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.deepEqual([found.protocol, found.cause], ['http1', 'timeout'])
  ends.client.end('T /')
  assert.equal(await readAll(ends.socket), 'GET /')
})

test('a half-close before the decision: opaque, the bytes as a head, and the other way still open', async () => {
  await using ends = await pair()
  const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  ends.client.end('GE')
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.deepEqual([found.protocol, found.cause, found.head.toString()], ['opaque', 'end', 'GE'])
  assert.equal(ends.socket.readableEnded, true)
  ends.socket.end('bye')
  assert.equal(await readAll(ends.client), 'bye')
})

test('a half-close with nothing said', async () => {
  await using ends = await pair()
  const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  ends.client.end()
  const found = await peeked
  assert.ok(found.is === 'detected')
  assert.deepEqual([found.protocol, found.cause, found.head.length], ['opaque', 'end', 0])
})

test('a half-close right behind the decision is kept for the next owner', async () => {
  await using ends = await pair()
  ends.client.end('\x00\x01')
  const found = await peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  assert.ok(found.is === 'detected')
  assert.equal(found.cause, 'bytes')
  await settle()
  assert.equal(await readAll(ends.socket), '\x00\x01')
})

test('a reset while we wait: gone, with the error', async () => {
  await using ends = await pair()
  const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  ends.client.write('G')
  await seen(ends.socket, 1)
  ends.client.resetAndDestroy()
  const found = await peeked
  assert.ok(found.is === 'gone')
  assert.equal((found.error as NodeJS.ErrnoException | undefined)?.code, 'ECONNRESET')
})

test('a reset after the hand-over does not end the process; the next owner finds it', async () => {
  await using ends = await pair()
  ends.client.write('GET / HTTP/1.1\r\n')
  await peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
  ends.client.resetAndDestroy()
  ends.socket.resume()
  await new Promise((resolve) => ends.socket.once('close', resolve))
  assert.equal((ends.socket.errored as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
})

test('a socket that is dead or ended already', async () => {
  await using ends = await pair()
  ends.socket.destroy()
  assert.deepEqual(await peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 }), {
    is: 'gone',
    error: undefined,
  })
  await using other = await pair()
  other.client.end()
  other.socket.resume()
  await once(other.socket, 'end')
  const found = await peek(other.socket, { clock: new FakeClock(), timeoutMs: 200 })
  assert.ok(found.is === 'detected' && found.cause === 'end')
})

test('leaves no timer and no listener of its own behind', async () => {
  await using ends = await pair()
  const clock = new FakeClock()
  ends.client.write('GET / HTTP/1.1\r\n')
  await peek(ends.socket, { clock, timeoutMs: 200 })
  assert.equal(clock.pendingTimers, 0)
  assert.equal(ends.socket.listenerCount('data'), 0)
  assert.equal(ends.socket.listenerCount('close'), 0)
})

test('property: however the bytes are cut, the next owner reads exactly what was sent', async () => {
  const piece = fc.string({
    unit: fc.constantFrom('G', 'E', 'T', ' ', '\r', '\n', '\x16', '\x03', '\0', 'x'),
    maxLength: 5,
  })
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
      await using ends = await pair()
      const peeked = peek(ends.socket, { clock: new FakeClock(), timeoutMs: 200 })
      for (const one of pieces) {
        ends.client.write(one, 'latin1')
        await settle()
      }
      ends.client.end()
      const found = await peeked
      assert.ok(found.is === 'detected')
      const rest = found.cause === 'end' ? '' : await readAll(ends.socket)
      assert.equal(found.head.toString('latin1') + rest, pieces.join(''))
    }),
    { numRuns: 60 },
  )
})

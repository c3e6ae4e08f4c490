import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { after, before, test } from 'node:test'
import { createSecureContext, type SecureContext, TLSSocket, connect as tlsConnect } from 'node:tls'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { selfSigned } from '../../test/support/self-signed.ts'
import { systemClock } from '../base/clock.ts'
import { type RelayOptions, type RelayResult, relay } from './relay.ts'
import { reset } from './reset.ts'

const calm: RelayOptions = { clock: new FakeClock(), idleTimeoutMs: 60_000 }

let server: Server
let secureContext: SecureContext
before(async () => {
  secureContext = createSecureContext({ ...(await selfSigned()), minVersion: 'TLSv1.3' })
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => server.close())

/** Two ends of a real connection: what the peer holds, and what the relay gets. */
async function pair(): Promise<[peer: Socket, socket: Socket]> {
  const { port } = server.address() as { port: number }
  const peer = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  const [[socket]] = (await Promise.all([once(server, 'connection'), once(peer, 'connect')])) as unknown as [[Socket]]
  return [peer, socket]
}

interface Rig {
  /** What the peers hold. */
  readonly left: Socket
  readonly right: Socket
  readonly result: Promise<RelayResult>
}

async function rig(options: RelayOptions = calm): Promise<Rig> {
  const [left, a] = await pair()
  const [right, b] = await pair()
  left.on('error', () => {})
  right.on('error', () => {})
  return { left, right, result: relay(a, b, options) }
}

async function readAll(socket: Duplex): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  await once(socket, 'end')
  return Buffer.concat(chunks).toString('latin1')
}

const closed = (socket: Duplex) => new Promise<void>((resolve) => void socket.once('close', () => resolve()))

test('one byte each way, and the ends', async () => {
  const { left, right, result } = await rig()
  left.end('q')
  assert.equal(await readAll(right), 'q')
  right.end('A')
  assert.equal(await readAll(left), 'A')
  assert.deepEqual(await result, { end: 'closed', bytesAToB: 1, bytesBToA: 1, error: undefined })
})

test('a reader that is slow gets all of it from a peer that has closed as it should', async () => {
  // Several sizes: what fits into which buffer decides when the sender's socket closes.
  for (const bytes of [500_000, 2_000_000, 5_400_000, 9_000_000]) {
    const { left, right, result } = await rig()
    left.pause()
    left.end()
    right.resume()
    await once(right, 'end')
    right.end(Buffer.alloc(bytes, 'x'))
    let read = 0
    left.on('data', (chunk: Buffer) => {
      read += chunk.length
      left.pause()
      setImmediate(() => left.resume())
    })
    left.resume()
    await once(left, 'end')
    assert.equal(read, bytes)
    assert.equal((await result).end, 'closed')
  }
})

test('after a half-close the other way stays open as long as it likes', async () => {
  const { left, right, result } = await rig()
  left.end()
  right.resume()
  await once(right, 'end')
  for (const word of ['still ', 'here ', 'yet']) {
    right.write(word)
    assert.equal(String((await once(left, 'data'))[0]), word)
  }
  right.end()
  assert.equal((await result).bytesBToA, 14)
})

test('100 MB arrive whole, and a reader that stands still holds the writer, not our memory', async () => {
  const { left, right, result } = await rig()
  const size = 100 * 2 ** 20
  const block = Buffer.alloc(2 ** 20)
  for (let at = 0; at < block.length; at += 4) block.writeUInt32LE(at, at)
  let sent = 0
  const send = () => {
    while (sent < size) {
      sent += block.length
      if (!left.write(block)) return void left.once('drain', send)
    }
    left.end()
  }
  send()
  let stuckAt = -1
  // Nobody reads: the writer must come to a stand once the kernel's buffers are full.
  while (sent !== stuckAt) {
    stuckAt = sent
    await new Promise((resolve) => void systemClock.after(150, () => resolve(undefined)))
  }
  assert.ok(sent < size / 2, `stood still after ${sent} bytes`)
  assert.ok(process.memoryUsage().external < 64 * 2 ** 20)
  let received = 0
  let wrong = 0
  right.on('data', (chunk: Buffer) => {
    for (let i = (4 - (received % 4)) % 4; i + 4 <= chunk.length; i += 4_096) {
      if (chunk.readUInt32LE(i) !== (received + i) % block.length) wrong++
    }
    received += chunk.length
  })
  await once(right, 'end')
  right.end()
  assert.deepEqual([received, wrong], [size, 0])
  assert.equal((await result).bytesAToB, size)
})

test('floods and single bytes by turns, both ways, into readers that stop now and then: every byte in its place', async () => {
  let seed = 20_261_127
  // Mulberry32.
  const random = (below: number): number => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t >>> 0) % below
  }
  // One after the other: a pair is made of the next connection that comes.
  const rigs: Rig[] = []
  while (rigs.length < 4) rigs.push(await rig())
  const ways = rigs.flatMap(({ left, right }) => [
    [left, right],
    [right, left],
  ]) as [Socket, Socket][]
  await Promise.all(
    ways.map(async ([from, to]) => {
      const sent = createHash('sha256')
      const got = createHash('sha256')
      to.on('data', (chunk: Buffer) => {
        got.update(chunk)
        if (random(20) > 0) return
        to.pause()
        setTimeout(() => to.resume(), random(8))
      })
      const ended = once(to, 'end')
      for (let i = 0; i < 60; i++) {
        const bytes = i % 3 === 0 ? 1 + random(40) : random(3) === 0 ? 2_000_000 : random(150_000)
        const piece = Buffer.allocUnsafe(bytes)
        for (let at = 0; at < bytes; at += 4_096) piece[at] = random(256)
        sent.update(piece)
        if (!from.write(piece)) await once(from, 'drain')
        else if (random(4) === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      from.end()
      await ended
      assert.equal(got.digest('hex'), sent.digest('hex'))
    }),
  )
  for (const { result } of rigs) assert.equal((await result).end, 'closed')
})

test('a reset of one side is a reset for the other, never an end', async () => {
  const { left, right, result } = await rig()
  left.write('half a mess')
  await once(right, 'data')
  let ended = false
  right.on('end', () => {
    ended = true
  })
  left.resetAndDestroy()
  await closed(right)
  assert.deepEqual([ended, (right.errored as NodeJS.ErrnoException | null)?.code], [false, 'ECONNRESET'])
  const { end, error } = await result
  assert.deepEqual([end, (error as NodeJS.ErrnoException | undefined)?.code], ['a', 'ECONNRESET'])
})

test('the same the other way round', async () => {
  const { left, right, result } = await rig()
  left.resume()
  right.resetAndDestroy()
  await closed(left)
  assert.equal((left.errored as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
  assert.equal((await result).end, 'b')
})

test('what a side said before it ended and then broke off is delivered whole, then the reset', async () => {
  const written: string[] = []
  const release: (() => void)[] = []
  const slow = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString())
      release.push(done)
    },
    final(done) {
      written.push('END')
      done()
    },
  })
  const [right, b] = await pair()
  right.on('error', () => {})
  const result = relay(slow, b, calm)
  right.end('answer')
  await once(b, 'end')
  // What we still send to a server that has closed is answered with a reset.
  right.destroy()
  await closed(right)
  const broken = closed(b)
  slow.push('more')
  slow.push('and more')
  await broken
  assert.equal(slow.destroyed, false)
  release[0]?.()
  const { end, bytesBToA } = await result
  assert.deepEqual([written, end, bytesBToA, slow.destroyed], [['answer', 'END'], 'b', 6, true])
})

test('a side that is destroyed by somebody else resets the other', async () => {
  const [left, a] = await pair()
  const [right, b] = await pair()
  right.on('error', () => {}).resume()
  const result = relay(a, b, calm)
  a.destroy()
  await closed(right)
  assert.equal((right.errored as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
  assert.equal((await result).end, 'a')
  left.destroy()
})

test('a side that is dead before we start', async () => {
  const [, a] = await pair()
  const [right, b] = await pair()
  right.on('error', () => {}).resume()
  a.destroy()
  assert.equal((await relay(a, b, calm)).end, 'a')
  await closed(right)
})

test('idle on both ways: both are reset; a byte in time keeps them', async () => {
  const clock = new FakeClock()
  const { left, right, result } = await rig({ clock, idleTimeoutMs: 1_000 })
  await clock.advance(900)
  left.write('x')
  await once(right, 'data')
  await clock.advance(900)
  right.write('y')
  await once(left, 'data')
  await clock.advance(999)
  assert.equal(left.destroyed, false)
  left.resume()
  right.resume()
  const both = Promise.all([closed(left), closed(right)])
  await clock.advance(1)
  await both
  assert.equal((left.errored as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
  assert.deepEqual(await result, { end: 'idle', bytesAToB: 1, bytesBToA: 1, error: undefined })
  assert.equal(clock.pendingTimers, 0)
})

test('early bytes go first, are counted and reported', async () => {
  const [left, a] = await pair()
  const [right, b] = await pair()
  const seen: string[] = []
  const result = relay(a, b, {
    ...calm,
    heads: { a: Buffer.from('early '), b: Buffer.from('hello ') },
    onBytes: (direction, bytes) => seen.push(`${direction} ${bytes}`),
  })
  left.end('bird')
  assert.equal(await readAll(right), 'early bird')
  right.end('you')
  assert.equal(await readAll(left), 'hello you')
  assert.equal((await result).bytesAToB, 10)
  assert.deepEqual(seen.slice(0, 2), ['a-to-b 6', 'b-to-a 6'])
})

test('a side that had half-closed before: its head, then the end', async () => {
  const [left, a] = await pair()
  const [right, b] = await pair()
  left.end()
  a.resume()
  await once(a, 'end')
  const result = relay(a, b, { ...calm, heads: { a: Buffer.from('GE') } })
  assert.equal(await readAll(right), 'GE')
  right.end('bye')
  assert.equal(await readAll(left), 'bye')
  assert.deepEqual(await result, { end: 'closed', bytesAToB: 2, bytesBToA: 3, error: undefined })
})

test('works between any Duplex streams', async () => {
  const [left, a] = memoryPair()
  const [right, b] = memoryPair()
  const result = relay(a, b, calm)
  left.end('ping')
  assert.equal(await readAll(right), 'ping')
  right.end('pong')
  assert.equal(await readAll(left), 'pong')
  assert.equal((await result).end, 'closed')
})

test('leaves nothing behind: no timer, both sockets destroyed', async () => {
  const clock = new FakeClock()
  const [left, a] = await pair()
  const [right, b] = await pair()
  const result = relay(a, b, { clock, idleTimeoutMs: 1_000 })
  left.end()
  right.end()
  left.resume()
  right.resume()
  await result
  await settle()
  assert.deepEqual([clock.pendingTimers, a.destroyed, b.destroyed], [0, true, true])
})

function memoryPair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      allowHalfOpen: true,
      read() {},
      write(chunk, _encoding, done) {
        other().push(chunk)
        done()
      },
      final(done) {
        other().push(null)
        done()
      },
    })
  const one: Duplex = make(() => two)
  const two: Duplex = make(() => one)
  return [one, two]
}

/** P-256, self-signed. */
async function tlsPair(): Promise<[peer: TLSSocket, socket: TLSSocket]> {
  const [peer, socket] = await pair()
  const inside = new TLSSocket(socket, { isServer: true, secureContext })
  const outside = tlsConnect({ socket: peer, rejectUnauthorized: false })
  inside.on('error', () => {})
  await once(outside, 'secureConnect')
  return [outside, inside]
}

test('TLS on one side: bytes, half-close and ends as in plain TCP', async () => {
  const [left, a] = await tlsPair()
  const [right, b] = await pair()
  left.allowHalfOpen = true
  const result = relay(a, b, calm)
  left.end('secret')
  assert.equal(await readAll(right), 'secret')
  right.end('answer')
  assert.equal(await readAll(left), 'answer')
  assert.deepEqual(await result, { end: 'closed', bytesAToB: 6, bytesBToA: 6, error: undefined })
})

test('TLS: a reset behind it is a reset, where destroy() alone would look like a whole message', async () => {
  const [left, a] = await tlsPair()
  const [right, b] = await pair()
  right.on('error', () => {})
  const result = relay(a, b, calm)
  right.write('half a mess')
  assert.equal(String((await once(left, 'data'))[0]), 'half a mess')
  let ended = false
  left
    .on('error', () => {})
    .on('end', () => {
      ended = true
    })
  right.resetAndDestroy()
  await closed(left)
  assert.deepEqual([ended, (left.errored as NodeJS.ErrnoException | null)?.code], [false, 'ECONNRESET'])
  assert.equal((await result).end, 'b')
})

test('reset works on a dialled TLS socket too, and twice', async () => {
  const [peer, socket] = await pair()
  const inside = new TLSSocket(socket, { isServer: true, secureContext })
  const outside = tlsConnect({ socket: peer, rejectUnauthorized: false })
  inside.on('error', () => {})
  await once(outside, 'secureConnect')
  inside.resume()
  outside.on('error', () => {})
  reset(outside)
  reset(outside)
  await closed(inside)
  assert.equal((inside.errored as NodeJS.ErrnoException | null)?.code, 'ECONNRESET')
})

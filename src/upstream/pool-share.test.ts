/** Pools of two threads to one endpoint: the limits are theirs together. */
import assert from 'node:assert/strict'
import type net from 'node:net'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { SharedTable, sharedMemory } from '../base/shared-table.ts'
import { http1Limits } from '../http1/limits.ts'
import { responseRules } from '../http1/response-head.ts'
import { readBuffer } from '../http1/writer.ts'
import type { DialOptions } from './connect.ts'
import { Pool } from './pool.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'
import { PoolShares } from './pool-share.ts'

/** Connects at once; answers when the test says so. */
class FakeConnection extends Duplex {
  asked = 0
  readonly #onread: net.OnReadOpts

  constructor(onread: net.OnReadOpts) {
    super({ allowHalfOpen: false })
    this.#onread = onread
  }

  answer(): void {
    const text = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
    readBuffer.write(text, 'latin1')
    this.#onread.callback(text.length, readBuffer)
  }

  override _read(): void {}

  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    this.asked++
    done()
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

function setUp(limits: Partial<PoolLimits>) {
  const clock = new FakeClock()
  const memory = sharedMemory(2)
  const open = new Set<FakeConnection>()
  let openMost = 0
  const shares: PoolShares[] = []
  const make = (thread: number) => {
    const connections: FakeConnection[] = []
    const share = new PoolShares(new SharedTable(memory, thread, clock), (name) => {
      // As a BroadcastChannel does: later, and to the others.
      setImmediate(() => {
        for (const other of shares) if (other !== share) other.hear(name)
      })
    })
    shares.push(share)
    const dial = (_to: unknown, options: DialOptions): Promise<net.Socket> => {
      const connection = new FakeConnection(options.onread!)
      connections.push(connection)
      open.add(connection)
      openMost = Math.max(openMost, open.size)
      connection.once('close', () => open.delete(connection))
      return Promise.resolve(connection as unknown as net.Socket)
    }
    const pool = new Pool(
      { key: '10.0.0.1:80', address: '10.0.0.1', port: 80, identity: '' },
      { dial },
      { clock, http1: http1Limits, rules: responseRules(http1Limits, { dropReserved: true }), shares: share },
    )
    pool.limits = { ...defaultPoolLimits, ...limits }
    const results: string[] = []
    const send = (): void => {
      const at = results.push('pending') - 1
      pool.send(exchange(), '').then(
        ({ status }) => (results[at] = String(status)),
        (error: { code: string }) => (results[at] = error.code),
      )
    }
    return { pool, send, results, connections, table: share.table }
  }
  return { clock, a: make(0), b: make(1), openMost: () => openMost, memory }
}

describe('one connection for two threads', () => {
  it('is given up by the one that has it idle', async () => {
    const { a, b, openMost } = setUp({ connectionsMax: 1 })
    a.send()
    await settle()
    a.connections[0]!.answer()
    await settle()
    assert.equal(a.pool.size.idle, 1)
    b.send()
    await settle()
    assert.equal(a.pool.size.open, 0)
    b.connections[0]!.answer()
    await settle()
    assert.deepEqual([a.results, b.results], [['200'], ['200']])
    assert.equal(openMost(), 1)
  })

  it('is waited for while it is busy, and then had', async () => {
    const { a, b } = setUp({ connectionsMax: 1 })
    a.send()
    b.send()
    await settle()
    assert.deepEqual([a.connections.length, b.connections.length], [1, 0])
    a.connections[0]!.answer()
    await settle()
    assert.deepEqual([a.pool.size.open, b.connections.length], [0, 1])
    b.connections[0]!.answer()
    await settle()
    assert.deepEqual(b.results, ['200'])
  })

  it('changes hands when its owner has had its turn, however many wait there', async () => {
    const { clock, a, b, openMost } = setUp({ connectionsMax: 1 })
    for (let i = 0; i < 10; i++) a.send()
    await settle()
    b.send()
    await settle()
    a.connections[0]!.answer()
    await settle()
    assert.equal(b.connections.length, 0)
    await clock.advance(20)
    a.connections[0]!.answer()
    await settle()
    assert.deepEqual([a.pool.size.open, b.connections.length], [0, 1])
    b.connections[0]!.answer()
    await clock.advance(5)
    await settle()
    // And back, because others wait for it there.
    assert.equal(a.connections.length, 2)
    for (let i = 0; i < 8; i++) {
      a.connections[1]!.answer()
      await settle()
    }
    assert.deepEqual(new Set([...a.results, ...b.results]), new Set(['200']))
    assert.equal(openMost(), 1)
  })

  it('that a thread took with it when it died is there again', async () => {
    const { clock, a, b, memory } = setUp({ connectionsMax: 1 })
    a.send()
    await settle()
    b.send()
    await settle()
    new SharedTable(memory, 2, clock).bury(0)
    b.pool.checkTime(clock.now())
    await settle()
    assert.equal(b.connections.length, 1)
  })
})

describe('limits of two threads', () => {
  it('are on requests that wait, and on all', async () => {
    const waiting = setUp({ connectionsMax: 1, pendingRequestsMax: 2 })
    waiting.a.send()
    await settle()
    for (const thread of [waiting.a, waiting.b, waiting.b]) thread.send()
    await settle()
    assert.deepEqual(waiting.b.results, ['pending', 'POOL_OVERFLOW'])
    const all = setUp({ requestsMax: 2 })
    for (const thread of [all.a, all.b, all.a]) thread.send()
    await settle()
    assert.deepEqual([all.a.results, all.b.results], [['pending', 'POOL_OVERFLOW'], ['pending']])
    all.b.connections[0]!.answer()
    await settle()
    all.a.send()
    await settle()
    assert.equal(all.a.results.at(-1), 'pending')
  })

  it('are free again when what waits goes away', async () => {
    const { a, b, clock } = setUp({ connectionsMax: 1, pendingRequestsMax: 1 })
    a.send()
    await settle()
    b.send()
    await settle()
    b.pool.close()
    await settle()
    assert.deepEqual(b.results, ['DRAINING'])
    // Nobody starves any more: it stays.
    a.connections[0]!.answer()
    await settle()
    assert.equal(a.pool.size.idle, 1)
    a.pool.checkTime(clock.now())
  })
})

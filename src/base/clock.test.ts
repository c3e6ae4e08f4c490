import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { afterAttended } from './attended.ts'
import { systemClock } from './clock.ts'

/** The whole thread stands still. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Two ends of one connection. */
async function pair(): Promise<{ a: net.Socket; b: net.Socket } & Disposable> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const a = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [b] = (await once(server, 'connection')) as [net.Socket]
  server.close()
  const dispose = (): void => {
    a.destroy()
    b.destroy()
  }
  return { a, b, [Symbol.dispose]: dispose }
}

describe('the system clock', () => {
  for (const kind of ['after', 'every'] as const) {
    test(`${kind}: what came while the loop stood still is read before a timeout fires`, async () => {
      using ends = await pair()
      const seen: string[] = []
      ends.b.on('data', () => seen.push('data'))
      const fired = Promise.withResolvers<void>()
      const timer = systemClock[kind](20, () => {
        seen.push('timeout')
        fired.resolve()
      })
      // The bytes are in the kernel when the thread stops.
      ends.a.write('x')
      await new Promise((resolve) => setImmediate(resolve))
      seen.length = 0
      ends.a.write('y')
      block(150)
      // Timers do not keep a process alive.
      const alive = setInterval(() => {}, 1_000)
      await fired.promise
      clearInterval(alive)
      timer.cancel()
      assert.deepEqual(seen, ['data', 'timeout'])
    })
  }

  test('a late one that is cancelled by what was read does not fire', async () => {
    using ends = await pair()
    let fired = false
    const timer = systemClock.after(20, () => {
      fired = true
    })
    const read = once(ends.b, 'data')
    ends.a.write('x')
    block(150)
    ends.b.once('data', () => timer.cancel())
    await read
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(fired, false)
  })

  test('it fires in time, once, and not when it was cancelled', async () => {
    let fired = 0
    systemClock.after(5, () => fired++)
    systemClock.after(5, () => fired++).cancel()
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(fired, 1)
  })
})

describe('attended time', () => {
  test('is the time itself while the loop runs', async () => {
    const clock = new FakeClock()
    let firedAt = 0
    afterAttended(clock, 5_000, () => {
      firedAt = clock.now() - 1_000
    })
    await clock.advance(4_999)
    assert.equal(firedAt, 0)
    await clock.advance(1)
    assert.equal(firedAt, 5_000)
    assert.equal(clock.pendingTimers, 0)
  })

  test('a stall of any length takes a fifth at most', async () => {
    const clock = new FakeClock()
    let fired = false
    afterAttended(clock, 5_000, () => {
      fired = true
    })
    await clock.advance(900)
    await clock.stall(3_600_000)
    await clock.advance(3_999)
    assert.equal(fired, false)
    await clock.advance(1)
    assert.equal(fired, true)
  })

  test('can be cancelled at any time', async () => {
    const clock = new FakeClock()
    for (const ms of [0, 1_500, 4_999]) {
      const timer = afterAttended(clock, 5_000, () => assert.fail('it was cancelled'))
      await clock.advance(ms)
      timer.cancel()
      assert.equal(clock.pendingTimers, 0)
    }
  })
})

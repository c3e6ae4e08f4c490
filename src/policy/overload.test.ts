import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import type { MeshError } from '../base/errors.ts'
import type { Response } from '../base/exchange.ts'
import { inFlight, OwnInFlight } from './in-flight.ts'
import { MemoryBound } from './memory-bound.ts'
import { type MemoryReading, Overload } from './overload.ts'

function setUp(ceiling = 1_000) {
  const clock = new FakeClock()
  const limit = new MemoryBound(new OwnInFlight(ceiling))
  const keepAlive: boolean[] = []
  const warnings: string[] = []
  let collected = 0
  let live = 100
  let reading: MemoryReading = { heap: 10, heapMax: 100, resident: 0, residentMax: 0 }
  const overload = new Overload({
    clock,
    inFlight: limit,
    read: () => reading,
    collect: () => {
      collected++
      reading = { ...reading, heap: Math.min(reading.heap, live) }
    },
    onKeepAlive: (off) => keepAlive.push(off),
    warn: (message) => warnings.push(message),
  })
  /** Memory is so, for so many looks. */
  const memory = async (over: Partial<MemoryReading>, looks = 1): Promise<void> => {
    reading = { ...reading, ...over }
    await clock.advance(100 * looks)
  }
  const garbageFrom = (heap: number): void => {
    live = heap
  }
  return { clock, limit, overload, keepAlive, warnings, memory, garbageFrom, collections: () => collected }
}

describe('memory', () => {
  test('nothing happens while there is enough', async () => {
    const { limit, overload, keepAlive, warnings, memory } = setUp()
    limit.count = 900
    await memory({ heap: 84 }, 50)
    assert.deepEqual([limit.max, overload.pressure, overload.refuses()], [1_000, 0.84, false])
    assert.deepEqual([keepAlive, warnings], [[], []])
  })

  test('first keep-alive goes off, then requests are refused, then connections', async () => {
    const { limit, overload, keepAlive, warnings, memory } = setUp()
    limit.count = 500
    await memory({ heap: 85 })
    assert.deepEqual([limit.max, keepAlive], [1_000, [true]])
    await memory({ heap: 90 })
    assert.deepEqual([limit.max, overload.refuses()], [450, false])
    assert.deepEqual(warnings, ['memory is at 90 % of its limit: requests are refused from here on'])
    await memory({ heap: 95 })
    assert.equal(overload.refuses(), true)
    assert.equal(warnings.length, 1)
  })

  test('a tenth at a time, and never so far that nobody is served', async () => {
    const { limit, memory } = setUp()
    limit.count = 500
    await memory({ heap: 96 }, 2)
    assert.equal(limit.max, 405)
    limit.count = 0
    await memory({ heap: 96 }, 200)
    assert.equal(limit.max, 16)
  })

  test('what was refused is let in again as memory is freed', async () => {
    const { limit, overload, keepAlive, warnings, memory } = setUp()
    limit.count = 500
    await memory({ heap: 99 })
    await memory({ heap: 87 })
    assert.deepEqual([limit.max, overload.refuses(), keepAlive.at(-1)], [450, false, true])
    await memory({ heap: 60 })
    assert.deepEqual([limit.max, keepAlive.at(-1)], [506, false])
    await memory({ heap: 60 }, 100)
    assert.equal(limit.max, 1_000)
    assert.equal(warnings.at(-1), 'memory is at 60 % of its limit: requests are taken again')
  })

  test('garbage that nobody collects does not keep it shedding; it is collected each second at most', async () => {
    const { limit, memory, garbageFrom, collections } = setUp()
    limit.count = 500
    await memory({ heap: 84 }, 20)
    assert.equal(collections(), 0)
    await memory({ heap: 96 }, 25)
    assert.equal(collections(), 3)
    garbageFrom(50)
    await memory({}, 150)
    assert.equal(limit.max, 1_000)
    assert.equal(collections(), 4)
  })

  test('the memory of the container counts where it has a limit', async () => {
    const { overload, memory } = setUp()
    await memory({ resident: 97, residentMax: 0 })
    assert.equal(overload.pressure, 0.1)
    await memory({ residentMax: 100 })
    assert.equal(overload.pressure, 0.97)
  })

  test('it is looked at while many requests or connections come in one turn of the event loop', async () => {
    const { limit, overload, memory } = setUp()
    await memory({})
    assert.equal(limit.many, 64)
    const hang = inFlight(limit)(() => new Promise<Response>(() => {}))
    void memory({ heap: 99 }, 0)
    for (let i = 0; i < 64; i++) void hang(exchange())
    assert.equal(limit.max, 57)
    assert.equal(limit.many, 8)
    const other = setUp()
    void other.memory({ heap: 99 }, 0)
    const refused = Array.from({ length: 100 }, () => other.overload.refuses()).indexOf(true)
    assert.equal(refused, 63)
    assert.equal(overload.pressure, 0.99)
  })

  test('who is refused is told', async () => {
    const { limit, memory } = setUp()
    const hang = inFlight(limit)(() => new Promise<Response>(() => {}))
    for (let i = 0; i < 100; i++) void hang(exchange())
    await memory({ heap: 96 })
    await assert.rejects(hang(exchange()), (error: MeshError) => {
      assert.equal(error.code, 'OVERLOADED')
      assert.equal(error.message, '90 requests are in flight already, and memory is short')
      return true
    })
    assert.equal(limit.count, 100)
  })
})

describe('the event loop', () => {
  test('a stall of a second is told and counted, a shorter one is not', async () => {
    const { clock, overload, warnings } = setUp()
    await clock.advance(1_000)
    await clock.stall(900)
    assert.equal(overload.stalls, 0)
    await clock.advance(1_000)
    await clock.stall(2_050)
    assert.equal(overload.stalls, 1)
    assert.ok(Math.abs(overload.stalledMs - 2_000) <= 100, String(overload.stalledMs))
    assert.match(warnings.join(), /^the event loop stood still for \d{4} ms/)
  })
})

test('closed, it has no timer; and the figures of this process are read', async () => {
  const { clock, overload } = setUp()
  overload.close()
  assert.equal(clock.pendingTimers, 0)
  const real = new FakeClock()
  const own = new Overload({
    clock: real,
    inFlight: new MemoryBound(new OwnInFlight(1)),
    onKeepAlive: () => {},
    warn: () => {},
  })
  await real.advance(100)
  assert.ok(own.pressure > 0 && own.pressure < 0.8, String(own.pressure))
})

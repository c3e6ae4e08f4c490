import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Cell, cellKey, probeWord, SharedCount, SharedTable, sharedMemory } from './shared-table.ts'
import { SharedWindow } from './shared-window.ts'

/** Two threads' view of one memory, and the process's. */
function setUp() {
  const memory = sharedMemory(2)
  const clock = new FakeClock()
  const [a, b, process] = [0, 1, 2].map((thread) => new SharedTable(memory, thread, clock))
  return { memory, clock, a: a!, b: b!, process: process! }
}

describe('shared cells', () => {
  test('one name is one cell, of one kind', () => {
    const { a, b } = setUp()
    a.claim('window', 'x').words[0] = 7
    assert.equal(b.claim('window', 'x').words[0], 7)
    assert.equal(b.claim('window', 'y').words[0], 0)
    assert.equal(b.claim('health', 'x').words[0], 0)
    assert.ok(a.has(cellKey('window', 'y')))
    assert.ok(!a.has(cellKey('window', 'z')))
  })

  test('the last that lets go empties it, and latecomers write to nobody', () => {
    const { a, b } = setUp()
    const first = a.claim('window', 'x')
    const second = b.claim('window', 'x')
    first.words[0] = 7
    a.release(first)
    first.words[0] = 8
    assert.equal(second.words[0], 7)
    b.release(second)
    second.words[0] = 9
    assert.ok(!a.has(cellKey('window', 'x')))
    // The same place in memory, for another name.
    assert.equal(a.claim('window', 'other').words[0], 0)
  })

  test('whatever is claimed and released, it is as if each had a map', () => {
    const step = fc.record({ thread: fc.nat(1), name: fc.nat(30), claim: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const { a, b } = setUp()
        const tables = [a, b]
        const held: Map<number, Cell>[] = [new Map(), new Map()]
        const model = new Map<number, number>()
        for (const [i, { thread, name, claim }] of steps.entries()) {
          const mine = held[thread]!
          if (claim && !mine.has(name)) {
            const cell = tables[thread]!.claim('window', String(name))
            mine.set(name, cell)
            assert.equal(cell.words[0], model.get(name) ?? 0)
            cell.words[0] = i + 1
            model.set(name, i + 1)
          } else if (!claim && mine.has(name)) {
            tables[thread]!.release(mine.get(name)!)
            mine.delete(name)
            if (!held[1 - thread]!.has(name)) model.delete(name)
          }
          for (let each = 0; each <= 30; each++) assert.equal(a.has(cellKey('window', String(each))), model.has(each))
        }
      }),
      { numRuns: 50 },
    )
  })

  test('what a thread held when it died is given back; what others hold stays', () => {
    const { a, b, process } = setUp()
    const countOf = (table: SharedTable) => new SharedCount(table, table.claim('counts', 'connections'), 1)
    const [ofA, ofB] = [countOf(a), countOf(b)]
    for (let i = 0; i < 3; i++) assert.ok(ofA.tryAdd(4))
    assert.ok(ofB.tryAdd(4))
    assert.ok(!ofB.tryAdd(4))
    const health = b.claim('health', 'breaker')
    health.words[probeWord] = (5 << 6) | 1
    a.claim('health', 'breaker')
    a.claim('window', 'its own')
    const { epoch } = b
    process.bury(0)
    assert.equal(ofB.total, 1)
    assert.equal(ofB.own, 1)
    assert.equal(health.words[probeWord], 0)
    assert.ok(!b.has(cellKey('window', 'its own')))
    assert.notEqual(b.epoch, epoch)
    // The next thread of that number begins with nothing.
    const next = countOf(a)
    assert.equal(next.own, 0)
    assert.ok(next.tryAdd(2))
    assert.ok(!next.tryAdd(2))
  })

  test('full, it goes on without sharing', () => {
    const { a, b } = setUp()
    for (let i = 0; i < 32_768; i++) a.claim('window', `x${i}`)
    a.claim('window', 'one more').words[0] = 1
    const other = b.claim('window', 'one more')
    assert.equal(other.words[0], 0)
    b.release(other)
  })

  test('threads at once: never more than the limit, and nothing is lost', async () => {
    const memory = sharedMemory(2)
    const program = `
      const { workerData } = require('node:worker_threads')
      import(workerData.module).then(({ SharedCount, SharedTable }) => {
        const table = new SharedTable(workerData.memory, workerData.thread, { now: () => 0 })
        const kept = new SharedCount(table, table.claim('counts', 'kept'), 0)
        // Both at once, or neither meets the other.
        const together = table.claim('window', 'start').words
        Atomics.add(together, 0, 1)
        while (Atomics.load(together, 0) < 2);
        // Claims are under one lock: what nobody holds any more is zero for the next.
        for (let i = 0; i < 20_000; i++) {
          const cell = table.claim('counts', 'x' + (i % 7))
          new SharedCount(table, cell, 0).add()
          table.release(cell)
          kept.add()
        }
        // Of two that want the last one, one gets it.
        const one = new SharedCount(table, table.claim('counts', 'one'), 0)
        const inside = table.claim('window', 'inside').words
        let met = 0
        for (let i = 0; i < 5_000_000; i++) {
          if (!one.tryAdd(1)) continue
          if (Atomics.add(inside, 0, 1) !== 0) met++
          Atomics.sub(inside, 0, 1)
          one.subtract()
        }
        require('node:worker_threads').parentPort.postMessage(met)
      })`
    const module = new URL('./shared-table.ts', import.meta.url).href
    const workers = [0, 1].map((thread) => new Worker(program, { eval: true, workerData: { memory, thread, module } }))
    const met = await Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [number])[0]))
    assert.deepEqual(met, [0, 0])
    const process = new SharedTable(memory, 2, new FakeClock())
    const reader = new SharedTable(memory, 1, new FakeClock())
    assert.equal(new SharedCount(reader, reader.claim('counts', 'kept'), 0).total, 40_000)
    for (let i = 0; i < 7; i++) assert.ok(!process.has(cellKey('counts', `x${i}`)))
  })
})

describe('a shared window', () => {
  test('counts what is younger than its time, whoever counted', () => {
    const { a, b } = setUp()
    const [mine, other] = [a, b].map((table) => new SharedWindow(table.claim('window', 'w'), 2, 10))
    for (let slot = 0; slot < 10; slot++) mine!.add(0, 1_000 * slot, 1_000)
    other!.add(1, 9_500, 1_000)
    assert.deepEqual([other!.sum(0, 9_999, 1_000), mine!.sum(1, 9_999, 1_000)], [10, 1])
    // A slot falls out as a whole.
    assert.equal(other!.sum(0, 10_000, 1_000), 9)
    mine!.add(0, 12_000, 1_000)
    assert.equal(other!.sum(0, 12_000, 1_000), 8)
    assert.deepEqual([mine!.sum(0, 60_000, 1_000), mine!.sum(1, 60_000, 1_000)], [0, 0])
    mine!.add(0, 60_000, 1_000)
    mine!.clear()
    assert.equal(other!.sum(0, 60_000, 1_000), 0)
  })
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Stream } from './stream.ts'
import { StreamTable } from './stream-table.ts'

function stream(id: number): Stream {
  return { id } as Stream
}

/** A repeatable row of numbers below `below`. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}

describe('StreamTable', () => {
  // Numbers far apart meet in one slot, whatever the length of the table: a peer may choose them.
  for (const apart of [2, 32, 64, 4_096, 1 << 20]) {
    test(`says what a Map says, with numbers that are ${apart} apart`, () => {
      const next = numbers(apart)
      const table = new StreamTable()
      const expected = new Map<number, Stream>()
      let id = 1
      for (let step = 0; step < 20_000; step++) {
        const ids = [...expected.keys()]
        const limit = step % 4_000 < 2_000 ? 100 : 5
        if (expected.size < limit && next(3) > 0) {
          const added = stream(id)
          id += apart * (1 + next(3))
          table.add(added)
          expected.set(added.id, added)
        } else if (ids.length > 0) {
          const gone = expected.get(ids[next(ids.length)]!)!
          assert.equal(table.delete(gone), true)
          assert.equal(table.delete(gone), false)
          expected.delete(gone.id)
        }
        assert.equal(table.size, expected.size)
        if (id > 2 ** 30) id = 1 + 2 * next(1_000)
        while (expected.has(id)) id += 2
        if (step % 50 > 0) continue
        for (const [key, value] of expected) assert.equal(table.get(key), value)
        for (let absent = 0; absent < 20; absent++) {
          const key = 1 + 2 * next(2 ** 29)
          assert.equal(table.get(key), expected.get(key))
        }
        const seen: number[] = []
        table.visitAll((one) => seen.push(one.id))
        assert.deepEqual(
          seen,
          [...expected.keys()].sort((a, b) => a - b),
        )
      }
    })
  }

  test('another stream of the same number is not the one that is there', () => {
    const table = new StreamTable()
    table.add(stream(7))
    assert.equal(table.delete(stream(7)), false)
    assert.equal(table.size, 1)
  })

  test('who is ended, or begun, while all are visited is not visited', () => {
    const table = new StreamTable()
    const all = Array.from({ length: 40 }, (_, i) => stream(2 * i + 1))
    for (const one of all) table.add(one)
    const seen: number[] = []
    table.visitAll((one) => {
      seen.push(one.id)
      table.delete(one)
      const behind = all.find(({ id }) => id === one.id + 2)
      if (behind !== undefined) table.delete(behind)
      table.add(stream(1_001 + one.id))
    })
    assert.deepEqual(
      seen,
      all.map(({ id }) => id).filter((id) => id % 4 === 1),
    )
    assert.equal(table.size, 20)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Debounce } from './debounce.ts'

function counted() {
  const clock = new FakeClock()
  const start = clock.now()
  const runs: number[] = []
  return { clock, runs, debounce: new Debounce(clock, 25, 500, () => runs.push(clock.now() - start)) }
}

test('a burst is one call, a quiet time after its last event', async () => {
  const { clock, runs, debounce } = counted()
  debounce.trigger()
  await clock.advance(20)
  debounce.trigger()
  await clock.advance(24)
  assert.deepEqual(runs, [])
  await clock.advance(1)
  assert.deepEqual(runs, [45])
  await clock.advance(1_000)
  assert.deepEqual(runs, [45])
})

test('events without end are a call every so often', async () => {
  const { clock, runs, debounce } = counted()
  for (let i = 0; i < 110; i++) {
    debounce.trigger()
    await clock.advance(10)
  }
  assert.equal(runs.length, 2)
  assert.equal(runs[0], 500)
  assert.ok(runs[1]! - runs[0]! <= 510)
})

test('a cancelled call does not come, a later one does', async () => {
  const { clock, runs, debounce } = counted()
  debounce.trigger()
  debounce.cancel()
  await clock.advance(1_000)
  assert.deepEqual(runs, [])
  debounce.trigger()
  await clock.advance(25)
  assert.deepEqual(runs, [1_025])
})

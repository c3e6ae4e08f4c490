import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../../src/base/clock.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { Patience } from './patience.ts'

test('a limit is over after its time, unless it was cancelled', async () => {
  const clock = new FakeClock()
  const patience = new Patience(clock)
  const over: string[] = []
  patience.after(600, () => over.push('a'))
  patience.after(600, () => over.push('b')).cancel()
  await clock.advance(580)
  assert.deepEqual(over, [])
  await clock.advance(20)
  assert.deepEqual(over, ['a'])
  await clock.advance(2_000)
  assert.deepEqual(over, ['a'])
})

test('the time in which this process was busy does not count', async () => {
  const patience = new Patience(systemClock)
  const { promise, resolve } = Promise.withResolvers<number>()
  const startedAt = systemClock.now()
  patience.after(100, () => resolve(systemClock.now() - startedAt))
  for (const until = startedAt + 150; systemClock.now() < until; );
  // The clock's timers keep nobody alive.
  const alive = new MessageChannel()
  alive.port1.on('message', () => {})
  const waited = await promise
  alive.port1.close()
  assert.ok(waited >= 220, `${waited} ms`)
})

import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Clock } from '../base/clock.ts'
import { LoopDelay, loopDelayBoundsSeconds } from './loop-delay.ts'
import { metricList } from './metrics.ts'
import { Histograms } from './series.ts'

/** A clock whose one timer fires when told, as late as told. */
function lateClock() {
  let now = 1_000
  let callback: (() => void) | undefined
  const clock: Clock = {
    now: () => now,
    wall: () => now,
    after: () => assert.fail('not asked for'),
    every: (_ms, given) => {
      callback = given
      return {
        cancel: () => {
          callback = undefined
        },
      }
    },
    random: () => 0,
  }
  const fire = (afterMs: number): void => {
    now += afterMs
    callback?.()
  }
  return { clock, fire }
}

it('counts what a timer is late, not what it waits', () => {
  const { clock, fire } = lateClock()
  const histogram = new Histograms(metricList.loopDelay, loopDelayBoundsSeconds)
  const delay = new LoopDelay(clock, histogram)
  fire(10_000)
  delay.watch(true)
  for (const afterMs of [20, 20.5, 19.5, 24, 20, 420]) {
    fire(afterMs)
    // Being told again does not begin anew.
    delay.watch(true)
  }
  delay.watch(false)
  fire(10_000)
  const samples = histogram.samples()
  const upTo = (le: string): number | undefined => samples.find(({ labels }) => labels['le'] === le)?.value
  assert.deepEqual([upTo('0.001'), upTo('0.003'), upTo('0.005'), upTo('0.25'), upTo('0.5')], [4, 4, 5, 5, 6])
  assert.equal(samples.find(({ metricName }) => metricName.endsWith('_count'))?.value, 6)
  assert.ok(Math.abs(samples.find(({ metricName }) => metricName.endsWith('_sum'))!.value - 0.4045) < 1e-9)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BenchFailure } from '../failure.ts'
import { readSoakOptions } from './options.ts'
import type { Sample } from './sample.ts'
import { growth, secondHalf, slope } from './trend.ts'
import { judgeSoak, type SoakResult } from './verdicts.ts'

test('the slope is that of the least-squares line', () => {
  assert.equal(slope([]), 0)
  assert.equal(slope([{ seconds: 1, value: 5 }]), 0)
  const line = [0, 10, 20, 30].map((seconds) => ({ seconds, value: 100 + 3 * seconds }))
  assert.equal(slope(line), 3)
  // Noise that has no direction changes nothing: by hand, of 1, 2, 2, 1 the slope is 0.
  assert.equal(slope([1, 2, 2, 1].map((value, seconds) => ({ seconds, value }))), 0)
  assert.equal(slope([0, 0, 1].map((value, seconds) => ({ seconds, value }))), 0.5)
})

test('the second half, and growth from the second quarter to the last', () => {
  assert.deepEqual(secondHalf([1, 2, 3, 4]), [3, 4])
  assert.equal(growth([90, 90, 10, 11, 10, 11, 12, 13]), 2)
  assert.equal(growth([10, 10, 10, 10, 99, 10, 10, 10]), 0, 'a peak in between is no growth')
})

/** A run of half an hour; RSS of the client rises by `rise` bytes in ten minutes, its timers by `timers` a sample. */
function run(changes: Partial<SoakResult>, rise = 0, timers = 0): SoakResult {
  const samples = (sign: number): Sample[] =>
    Array.from({ length: 180 }, (_, i) => ({
      seconds: i * 10,
      rss: 90e6 + sign * rise * (i / 60),
      uss: 0,
      counts: { descriptors: 80, timers: 40 + sign * timers * i },
    }))
  return {
    asked: 1_800_000,
    sent: 1_800_000,
    ok: 1_800_000,
    otherStatus: 0,
    failed: 0,
    firstFailure: undefined,
    changes: 1_800,
    revisions: 1_790,
    samples: { client: samples(1), server: samples(0) },
    ...changes,
  }
}

function missed(result: SoakResult): string[] {
  return judgeSoak(result, ['client', 'server']).flatMap(({ says, met }) => (met ? [] : [says]))
}

test('a steady run meets all', () => {
  assert.deepEqual(missed(run({})), [])
  assert.deepEqual(missed(run({}, 900_000)), [])
})

test('one lost request, a rise of memory, a leaked timer, changes that did not arrive: each is told', () => {
  assert.match(missed(run({ ok: 1_799_999, failed: 1, firstFailure: 'reset' }))[0] ?? '', /1 failed.*reset/)
  assert.match(missed(run({}, 1_100_000)).join(), /^client: RSS \+1\.10 MB in 10 minutes/)
  assert.match(missed(run({}, 0, 0.2)).join(), /^client: timers grew by/)
  assert.match(missed(run({ revisions: 3 })).join(), /3 revisions for 1800 changes/)
  assert.ok(missed(run({ samples: {} })).length >= 2, 'no samples are no proof')
})

test('options', () => {
  assert.deepEqual(readSoakOptions([]), { minutes: 30, perSecond: 1_000, json: undefined, build: true, help: false })
  assert.throws(() => readSoakOptions(['--minutes', '0']), BenchFailure)
  assert.throws(() => readSoakOptions(['--hours', '1']), /--hours/)
})

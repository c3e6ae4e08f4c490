import assert from 'node:assert/strict'
import { test } from 'node:test'
import { durationMs, isDuration } from './duration.ts'

test('the examples of GEP-2257', () => {
  const good: [string, number][] = [
    ['0s', 0],
    ['0ms', 0],
    ['1h', 3_600_000],
    ['1ms', 1],
    ['1m30s', 90_000],
    ['10s500ms', 10_500],
    ['2h30m', 9_000_000],
    ['150m', 9_000_000],
    ['99999ms', 99_999],
    ['1h2m3s4ms', 3_723_004],
    ['1s1s', 2_000],
  ]
  for (const [text, ms] of good) assert.equal(durationMs(text), ms, text)
})

test('what is not one', () => {
  const bad = [
    '',
    '1',
    '1.5h',
    '-1s',
    '+1s',
    '1 s',
    ' 1s',
    '1s ',
    '1d',
    '1us',
    '100000s',
    '1h1h1h1h1h',
    's',
    '1S',
    '1s\n',
    '٣s',
  ]
  for (const text of bad) {
    assert.equal(isDuration(text), false, text)
    assert.throws(() => durationMs(text), RangeError)
  }
})

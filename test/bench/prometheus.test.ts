import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bucketsOf, quantileBetween, seriesOf } from './prometheus.ts'

function scrape(counts: readonly number[]): string {
  const bounds = ['0.001', '0.005', '0.01', '+Inf']
  return [
    '# TYPE delay histogram',
    ...bounds.map((bound, i) => `delay_bucket{le="${bound}"} ${counts[i]}`),
    'delay_sum 1',
    `delay_count ${counts.at(-1)}`,
    'open{type="a"} 3',
    'open{type="b"} 4',
    'total 7',
    '',
  ].join('\n')
}

test('a quantile of what was counted in between, linear within its bucket', () => {
  const before = bucketsOf(scrape([1_000, 1_000, 1_000, 1_000]), 'delay')
  const after = bucketsOf(scrape([1_090, 1_098, 1_100, 1_100]), 'delay')
  assert.equal(quantileBetween(before, after, 0.9), 0.001)
  assert.equal(quantileBetween(before, after, 0.94).toFixed(6), '0.003000')
  assert.equal(quantileBetween(before, after, 0.99).toFixed(6), '0.007500')
})

test('nothing counted is no number, and above all bounds is the highest of them', () => {
  const before = bucketsOf(scrape([1, 1, 1, 1]), 'delay')
  assert.ok(Number.isNaN(quantileBetween(before, before, 0.99)))
  assert.equal(quantileBetween(before, bucketsOf(scrape([1, 1, 1, 9]), 'delay'), 0.99), 0.01)
})

test('a metric that is not there is an error', () => {
  assert.throws(() => bucketsOf(scrape([0, 0, 0, 0]), 'other'), /no other/)
})

test('series by labels', () => {
  const text = scrape([0, 0, 0, 0])
  assert.deepEqual(
    [...seriesOf(text, 'open')],
    [
      ['{type="a"}', 3],
      ['{type="b"}', 4],
    ],
  )
  assert.deepEqual([...seriesOf(text, 'total')], [['', 7]])
})

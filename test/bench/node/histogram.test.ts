import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Histogram } from './histogram.ts'

test('quantiles are right to 1 %, by rank', () => {
  const histogram = new Histogram()
  for (let us = 1; us <= 10_000; us++) histogram.add(us)
  for (const share of [0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = share * 10_000
    const found = histogram.quantile(share)
    assert.ok(found >= exact * 0.999 && found <= exact * 1.01, `${share}: ${found} for ${exact}`)
  }
  assert.equal(histogram.count, 10_000)
  assert.equal(histogram.max, 10_000)
})

test('one slow answer among few is the p99, not lost', () => {
  const histogram = new Histogram()
  for (let i = 0; i < 98; i++) histogram.add(100)
  histogram.add(50_000)
  histogram.add(50_000)
  assert.ok(histogram.quantile(0.98) <= 101)
  assert.ok(histogram.quantile(0.99) >= 49_500)
})

test('no values, values below and above the range', () => {
  const histogram = new Histogram()
  assert.ok(Number.isNaN(histogram.quantile(0.5)))
  histogram.add(0)
  assert.equal(histogram.quantile(0.5), 0)
  histogram.add(1e12)
  assert.ok(histogram.quantile(1) >= 99e6)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Latencies } from './latencies.ts'

test('percentiles are within two percent of the exact ones, the maximum is exact', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.05, max: 60_000, noNaN: true }), { minLength: 1 }),
      fc.integer({ min: 1, max: 100 }),
      (values, percent) => {
        const latencies = new Latencies()
        for (const value of values) latencies.record(value)
        const exact = values.toSorted((a, b) => a - b)[Math.ceil((percent / 100) * values.length) - 1] ?? 0
        const measured = latencies.percentile(percent)
        assert.ok(measured >= exact * 0.999 && measured <= exact * 1.021, `${measured} for ${exact}`)
        assert.equal(latencies.maxMs, Math.max(...values))
        assert.equal(latencies.count, values.length)
      },
    ),
  )
})

test('two histograms add up to the one of all values', () => {
  const [a, b, both] = [new Latencies(), new Latencies(), new Latencies()]
  for (const value of [1, 2, 300]) a.record(value)
  for (const value of [0.01, 5, 90]) b.record(value)
  for (const value of [1, 2, 300, 0.01, 5, 90]) both.record(value)
  a.add(b)
  for (const percent of [1, 17, 50, 84, 100]) assert.equal(a.percentile(percent), both.percentile(percent))
  assert.equal(a.count, 6)
})

test('nothing recorded', () => {
  assert.equal(new Latencies().percentile(99), 0)
  assert.equal(new Latencies().maxMs, 0)
})

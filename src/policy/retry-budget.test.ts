import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { defaultRetryLimits, OwnRetryBudget, type RetryBudget, retryLimitsOf } from './retry-budget.ts'

const limits = { percent: 20, intervalMs: 10_000, minPerSecond: 0 }

function spend(budget: RetryBudget, of: typeof limits, now: number): number {
  let retries = 0
  while (budget.tryRetry(of, now)) retries++
  return retries
}

test('the defaults are those of GEP-3388', () => {
  assert.deepEqual(retryLimitsOf(undefined), { percent: 20, intervalMs: 10_000, minPerSecond: 10 })
})

test('a share of the requests, and no more', () => {
  const budget = new OwnRetryBudget(10_000, 0)
  for (let i = 0; i < 1_000; i++) budget.request(0)
  assert.equal(spend(budget, limits, 0), 200)
})

test('without requests only the floor is left', () => {
  const budget = new OwnRetryBudget(10_000, 0)
  assert.equal(spend(budget, defaultRetryLimits, 0), 100)
  assert.equal(spend(new OwnRetryBudget(10_000, 0), limits, 0), 0)
})

test('the larger of share and floor holds, not their sum', () => {
  const budget = new OwnRetryBudget(10_000, 0)
  for (let i = 0; i < 1_000; i++) budget.request(0)
  assert.equal(spend(budget, defaultRetryLimits, 0), 200)
})

test('what is older than the interval is forgotten, by and by', () => {
  const budget = new OwnRetryBudget(10_000, 0)
  for (let i = 0; i < 100; i++) budget.request(0)
  assert.equal(spend(budget, limits, 0), 20)
  assert.equal(spend(budget, limits, 9_400), 0)
  assert.equal(budget.requests, 100)
  budget.request(10_000)
  assert.equal(budget.requests, 1)
  assert.equal(budget.retries, 0)
})

test('a long silence empties it', () => {
  const budget = new OwnRetryBudget(10_000, 0)
  for (let i = 0; i < 100; i++) budget.request(0)
  budget.request(1e9)
  assert.equal(budget.requests, 1)
})

test('over any history retries stay within max(share, floor) of the window', () => {
  const step = fc.record({ afterMs: fc.nat(1_500), requests: fc.nat(20), retries: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(100), fc.nat(5), (steps, percent, minPerSecond) => {
      const of = { percent, minPerSecond, intervalMs: 10_000 }
      const budget = new OwnRetryBudget(10_000, 0)
      let now = 0
      for (const { afterMs, requests, retries } of steps) {
        now += afterMs
        for (let i = 0; i < requests; i++) budget.request(now)
        for (let i = 0; i < retries; i++) {
          const granted = budget.tryRetry(of, now)
          if (granted) assert.ok(budget.retries <= Math.max((percent * budget.requests) / 100, minPerSecond * 10))
        }
      }
    }),
  )
})

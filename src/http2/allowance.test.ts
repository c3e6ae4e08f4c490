import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Allowance } from './allowance.ts'

/** How often it may be spent at that time. */
function spendable(allowance: Allowance, now: number): number {
  let times = 0
  while (times < 10_000 && allowance.spend(now)) times++
  return times
}

describe('an allowance', () => {
  it('so many at once, so many more a second', () => {
    const allowance = new Allowance(10, 5, 0)
    assert.equal(spendable(allowance, 0), 10)
    assert.equal(spendable(allowance, 0), 0)
  })

  it('is full again after enough time, and no fuller', () => {
    const allowance = new Allowance(10, 5, 0)
    for (let i = 0; i < 10; i++) assert.ok(allowance.spend(0))
    for (let i = 1; i <= 5; i++) assert.ok(allowance.spend(200 * i), `one each 200 ms: ${i}`)
    assert.equal(spendable(allowance, 1_000_000), 10)
  })

  it('who spends at the rate never runs out; who spends faster does, within the sum', () => {
    const steady = new Allowance(10, 50, 0)
    for (let now = 0; now < 100_000; now += 20) assert.ok(steady.spend(now), `at ${now}`)
    const fast = new Allowance(10, 50, 0)
    let times = 0
    for (let now = 0; now <= 10_000 && fast.spend(now); now += 10) times++
    // 10, and 50 of the 100 that are spent in a second.
    assert.ok(times >= 19 && times <= 22, `${times}`)
  })

  it('what is useful earns, up to the most there may be', () => {
    const allowance = new Allowance(10, 0, 0)
    for (let i = 0; i < 8; i++) allowance.spend(0)
    allowance.earn(3)
    assert.equal(spendable(allowance, 0), 5)
    allowance.earn(1_000)
    assert.ok(spendable(allowance, 0) <= 10)
  })
})

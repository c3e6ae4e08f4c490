import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cell } from './cell.ts'
import { type Goal, goals, judge } from './goals.ts'
import type { Figures, Round } from './round.ts'
import { type Results, spread, summarize } from './summary.ts'

function round(figures: Figures, reason?: string): Round {
  return { figures, disturbed: 0, noisy: false, void: reason }
}
const start: Cell['start'] = () => Promise.reject(new Error('not started in a test'))
const ours: Cell = { name: 'outrigger-on', group: 'plain', about: '', peers: { envoy: 'envoy-on' }, start }
const envoy: Cell = { name: 'envoy-on', group: 'plain', about: '', start }

test('spread of odd, even and no values', () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3 })
  assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
  assert.equal(spread([]), undefined)
})

test('figures have medians, and ratios are taken round by round', () => {
  const results: Results = new Map([
    ['outrigger-on', [round({ x: 50 }), round({ x: 100 }), round({ x: 50, alone: 1 })]],
    ['envoy-on', [round({ x: 100 }), round({ x: 100 }), round({ x: 200 })]],
  ])
  const [summary] = summarize([ours, envoy], results)
  assert.deepEqual(summary?.figures['x'], { median: 50, min: 50, max: 100 })
  assert.deepEqual(summary?.ratios.envoy?.['x'], { median: 0.5, min: 0.25, max: 1 })
  assert.equal(summary?.ratios.envoy?.['alone'], undefined)
})

test('a void round counts for nothing but is told', () => {
  const results: Results = new Map([
    ['outrigger-on', [round({ x: 1 }, '3 connect errors'), round({ x: 7 })]],
    ['envoy-on', [round({ x: 7 }), round({ x: 7 })]],
  ])
  const [summary] = summarize([ours, envoy], results)
  assert.deepEqual(summary?.ratios.envoy?.['x'], { median: 1, min: 1, max: 1 })
  assert.deepEqual(summary?.void, ['round 1: 3 connect errors'])
})

test('a cell of void rounds only has no figures and meets no goal', () => {
  const results: Results = new Map([
    ['outrigger-on', [round({ requestsPerCpuSecond: 1 }, 'no answer')]],
    ['envoy-on', [round({ requestsPerCpuSecond: 1 })]],
  ])
  const summaries = summarize([ours, envoy], results)
  assert.deepEqual(summaries[0]?.figures, {})
  assert.deepEqual(judge(summaries), [])
})

test('what a proxy adds is the difference to the baseline of the same round, and is compared as such', () => {
  const cells: Cell[] = [
    { ...ours, baseline: 'direct' },
    { ...envoy, baseline: 'direct' },
    { ...envoy, name: 'direct' },
  ]
  const results: Results = new Map([
    ['outrigger-on', [round({ p99: 5 }), round({ p99: 9 }), round({ p99: 9 })]],
    ['envoy-on', [round({ p99: 9 }), round({ p99: 13 }), round({ p99: 9 })]],
    ['direct', [round({ p99: 1 }), round({ p99: 5 }), round({ p99: 1 }, 'void')]],
  ])
  const [summary] = summarize(cells, results)
  assert.deepEqual(summary?.figures['added-p99'], { median: 4, min: 4, max: 4 })
  assert.deepEqual(summary?.ratios.envoy?.['added-p99'], { median: 0.5, min: 0.5, max: 0.5 })
  assert.equal(summary?.figures['p99']?.median, 9)
})

/** The verdict on one goal when its figure, or the ratio to its peer's, is `value`. */
function verdictOf(goal: Goal, value: number): boolean | undefined {
  const cell: Cell = { ...ours, name: goal.cell, peers: goal.to === undefined ? {} : { [goal.to]: 'peer' } }
  const figure = value * (goal.unit ?? 1)
  const results: Results = new Map([
    [goal.cell, [round({ [goal.figure]: figure })]],
    ['peer', [round({ [goal.figure]: 1 })]],
  ])
  return judge(summarize([cell, { ...envoy, name: 'peer' }], results)).find((verdict) => verdict.goal === goal)?.met
}

test('each goal is met at its bound and missed beyond it', () => {
  for (const goal of goals) {
    const bound = goal.atLeast ?? goal.atMost
    assert.ok(bound !== undefined, goal.says)
    const step = goal.atLeast === undefined ? bound * 0.01 : -bound * 0.01
    assert.equal(verdictOf(goal, bound), true, goal.says)
    assert.equal(verdictOf(goal, bound + step), false, goal.says)
  }
})

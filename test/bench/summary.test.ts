import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cell } from './cell.ts'
import { judge } from './goals.ts'
import type { Round } from './measure.ts'
import { spread, summarize } from './summary.ts'

const round: Round = {
  requests: 1_000,
  seconds: 10,
  cpuSeconds: 0.05,
  rssBytes: 100e6,
  ussBytes: 50e6,
  busy: 0.005,
  disturbed: 0,
  noisy: false,
  spans: 0,
  void: undefined,
}
const start: Cell['start'] = () => Promise.reject(new Error('not started in a test'))
const ours: Cell = { name: 'outrigger-on', group: 'plain', about: '', traced: true, envoy: 'envoy-on', start }
const envoy: Cell = { name: 'envoy-on', group: 'plain', about: '', traced: true, start }

test('spread of odd, even and no values', () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3 })
  assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
  assert.equal(spread([]), undefined)
})

test('CPU time per request, and the ratio round by round', () => {
  const results = new Map([
    ['outrigger-on', [round, { ...round, cpuSeconds: 0.1 }, round]],
    [
      'envoy-on',
      [
        { ...round, cpuSeconds: 0.1 },
        { ...round, cpuSeconds: 0.1 },
        { ...round, cpuSeconds: 0.2 },
      ],
    ],
  ])
  const [summary] = summarize([ours, envoy], results)
  assert.deepEqual(summary?.cpuUsPerRequest, { median: 50, min: 50, max: 100 })
  assert.deepEqual(summary?.toEnvoy, { median: 2, min: 1, max: 4 })
})

test('a void round counts for nothing but is told', () => {
  const results = new Map([
    ['outrigger-on', [{ ...round, cpuSeconds: 0.001, void: '3 connect errors' }, round]],
    ['envoy-on', [round, round]],
  ])
  const [summary] = summarize([ours, envoy], results)
  assert.deepEqual(summary?.toEnvoy, { median: 1, min: 1, max: 1 })
  assert.deepEqual(summary?.void, ['round 1: 3 connect errors'])
})

test('a cell of void rounds only has no figures and meets no goal', () => {
  const results = new Map([
    ['outrigger-on', [{ ...round, void: 'no answer' }]],
    ['envoy-on', [round]],
  ])
  const summaries = summarize([ours, envoy], results)
  assert.equal(summaries[0]?.requestsPerCpuSecond, undefined)
  assert.deepEqual(judge(summaries), [])
})

test('memory is compared by RSS, and a goal is missed when it is above its bound', () => {
  const memory = { ...ours, name: 'outrigger-memory', group: 'memory', envoy: 'envoy-memory' } as const
  const peer = { ...envoy, name: 'envoy-memory', group: 'memory' } as const
  const verdict = (rssBytes: number) =>
    judge(
      summarize(
        [memory, peer],
        new Map([
          ['outrigger-memory', [{ ...round, rssBytes }]],
          ['envoy-memory', [round]],
        ]),
      ),
    )[0]
  assert.equal(verdict(150e6)?.met, true)
  assert.equal(verdict(151e6)?.met, false)
})

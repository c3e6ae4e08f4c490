import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BenchFailure } from '../failure.ts'
import { controlPlaneGoals, judgeControlPlane } from '../goals.ts'
import { readControlPlaneOptions } from './options.ts'
import { percentiles } from './percentiles.ts'

test('percentiles are values that were measured', () => {
  const values = Array.from({ length: 200 }, (_, at) => 200 - at)
  assert.deepEqual(percentiles(values), { count: 200, p50: 100, p99: 198, max: 200 })
  assert.deepEqual(percentiles([3]), { count: 1, p50: 3, p99: 3, max: 3 })
  assert.equal(percentiles([1, 2, 9]).p99, 9)
})

test('a goal is met at its bound and missed above it, and by a figure that is none', () => {
  const values = Object.fromEntries(controlPlaneGoals.map(({ figure, atMost }) => [figure, atMost]))
  const judged = (changed: Record<string, number>): string[] =>
    judgeControlPlane({ ...values, ...changed } as Parameters<typeof judgeControlPlane>[0])
      .filter(({ met }) => !met)
      .map(({ goal }) => goal.figure)
  assert.deepEqual(judged({}), [])
  assert.deepEqual(judged({ changeP99Ms: 250.1 }), ['changeP99Ms'])
  assert.deepEqual(judged({ restartSeconds: Number.NaN }), ['restartSeconds'])
})

test('defaults are the goal: 1,000 sidecars, 150 changes', () => {
  const { sidecars, services, changes, build, model } = readControlPlaneOptions([])
  assert.deepEqual(
    { sidecars, services, changes, build, model },
    { sidecars: 1_000, services: 100, changes: 150, build: true, model: true },
  )
})

for (const [args, told] of [
  [['--sidecars', '10'], /--sidecars takes a whole number from 200 up, not '10'/],
  [['--changes', 'many'], /--changes .* not 'many'/],
  [['--cells', 'direct'], /'--cells'.*control-plane --help/],
] as const) {
  test(`${args.join(' ')} is refused by name`, () => {
    assert.throws(
      () => readControlPlaneOptions(args),
      (error: unknown) => error instanceof BenchFailure && told.test(error.message),
    )
  })
}

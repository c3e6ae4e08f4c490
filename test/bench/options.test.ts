import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BenchFailure } from './failure.ts'
import { readOptions } from './options.ts'
import { timingOf } from './timing.ts'

test('by default each group measures as long as it says', () => {
  const { rounds, seconds, warmupSeconds, connections, cells, build, gate } = readOptions([])
  assert.deepEqual(
    { rounds, seconds, warmupSeconds, connections, cells, build, gate },
    {
      rounds: undefined,
      seconds: undefined,
      warmupSeconds: undefined,
      connections: undefined,
      cells: undefined,
      build: true,
      gate: false,
    },
  )
  const own = { rounds: 3, seconds: 6, warmupSeconds: 4, connections: 50 }
  assert.deepEqual(timingOf(own, readOptions([])), own)
  const asked = readOptions(['--rounds', '1', '--seconds', '2', '--warmup', '1', '--connections', '5'])
  assert.deepEqual(timingOf(own, asked), { rounds: 1, seconds: 2, warmupSeconds: 1, connections: 5 })
})

test('cells are a list', () => {
  assert.deepEqual(readOptions(['--cells', 'direct, nginx']).cells, ['direct', 'nginx'])
})

for (const [args, told] of [
  [['--seconds', '0'], /--seconds takes a whole number from 1 up, not '0'/],
  [['--rounds', 'many'], /--rounds .* not 'many'/],
  [['--cell', 'direct'], /'--cell'/],
  [['direct'], /direct/],
] as const) {
  test(`${args.join(' ')} is refused by name`, () => {
    assert.throws(
      () => readOptions(args),
      (error: unknown) => error instanceof BenchFailure && told.test(error.message),
    )
  })
}

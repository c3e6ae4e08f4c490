import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BenchFailure } from './failure.ts'
import { readOptions } from './options.ts'

test('defaults are the protocol: 3 rounds of 10 s, 50 connections', () => {
  const { rounds, seconds, connections, cells, build, gate } = readOptions([])
  assert.deepEqual(
    { rounds, seconds, connections, cells, build, gate },
    { rounds: 3, seconds: 10, connections: 50, cells: undefined, build: true, gate: false },
  )
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

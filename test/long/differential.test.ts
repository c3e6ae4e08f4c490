/** A million inputs through our engine and five other parsers; what `npm test` does with thousands (test/peers). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Differential, differentialOptions, summary } from '../peers/parsers/differential.ts'
import { parsers } from '../peers/parsers/servers.ts'

test('a million inputs, five other parsers, no disagreement', { timeout: 7_000_000 }, async (t) => {
  await using differential = await Differential.start()
  const { seed, inputs } = differentialOptions(1_000_000)
  const started = performance.now()
  await differential.mutants(seed, inputs, (figures) => {
    const seconds = Math.round((performance.now() - started) / 1_000)
    process.stdout.write(`# ${seconds} s: ${summary(figures, seed)}\n`)
    for (const disagreement of figures.disagreements) process.stdout.write(`# ${disagreement}\n`)
  })
  t.diagnostic(`${Math.round((performance.now() - started) / 1_000)} s: ${summary(differential.figures, seed)}`)
  assert.deepEqual(differential.figures.disagreements, [], `seed ${seed}`)
  assert.equal(differential.figures.inputs, inputs)
  // Inputs that everybody refuses would prove nothing.
  for (const name of parsers) assert.ok(differential.figures.peers[name].agreed > inputs / 20)
})

/** The attack list and its mutants through our engine to nginx, HAProxy, h2o, Varnish and Traffic Server: all count as we do. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { vectors } from '../attack/vectors.ts'
import { Differential, differentialOptions, summary } from './parsers/differential.ts'
import { parsers } from './parsers/servers.ts'

describe('five other parsers behind the engine', () => {
  let differential: Differential
  before(async () => {
    differential = await Differential.start()
  })
  after(() => differential?.[Symbol.asyncDispose]())

  it('read what we send on of the attack list as we do', async () => {
    // Traffic Server needs seconds for hundreds of fields of one name.
    await differential.inputs(vectors.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 5_000))
    const { figures } = differential
    assert.deepEqual(figures.disagreements, [])
    for (const name of parsers) assert.ok(figures.peers[name].agreed > 80, `${name} takes ${JSON.stringify(figures)}`)
  })

  it('and of mutants of it', { timeout: 300_000 }, async (t) => {
    const { seed, inputs } = differentialOptions(4_000)
    await differential.mutants(seed, inputs)
    t.diagnostic(summary(differential.figures, seed))
    assert.deepEqual(differential.figures.disagreements, [], `seed ${seed}`)
  })
})

/** The attack list and its mutants through our engine to nginx, HAProxy, h2o, Varnish and Traffic Server: all count as we do. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { get, host, smuggled } from '../attack/vector.ts'
import { vectors } from '../attack/vectors.ts'
import { Differential, differentialOptions, summary } from './parsers/differential.ts'
import { parsers } from './parsers/servers.ts'

/** What mutants have shown, so that it is tried each time. */
const found: readonly string[] = [
  // Traffic Server 9.2 sends a part of a body that came right behind its head with Expect on twice.
  `GET / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: ${smuggled.length + 6}\r\n\r\n${smuggled}`,
  `POST / HTTP/1.1\r\n${host}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n${smuggled}`,
  `${get(host)}\r`,
]

describe('five other parsers behind the engine', () => {
  let differential: Differential
  before(async () => {
    differential = await Differential.start()
  })
  after(() => differential?.[Symbol.asyncDispose]())

  it('read what we send on of the attack list as we do', async () => {
    // Traffic Server needs seconds for hundreds of fields of one name.
    const list = vectors.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 5_000)
    await differential.inputs([...list, ...found])
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

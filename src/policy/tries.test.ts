import { test } from 'node:test'
import fc from 'fast-check'
import { checkTries, triesCase } from '../../test/support/tries-model.ts'

// test/long/tries.test.ts runs fifty times as many.
test('retries, hedging, deadlines and breakers keep their rules, whatever upstreams and clients do', async () => {
  await fc.assert(fc.asyncProperty(triesCase, checkTries), { numRuns: 2_000 })
})

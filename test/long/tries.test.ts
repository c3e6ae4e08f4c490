import { test } from 'node:test'
import fc from 'fast-check'
import { checkTries, triesCase } from '../support/tries-model.ts'

test('retries, hedging, deadlines and breakers keep their rules in 100,000 sequences', async () => {
  await fc.assert(fc.asyncProperty(triesCase, checkTries), { numRuns: 100_000 })
})

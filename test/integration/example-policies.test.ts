/** examples/policies: one document for each thing that a policy can say, which must be in order over the shop. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { validate } from '../../src/cli/validate.ts'

const examples = join(import.meta.dirname, '../..', 'examples')

async function problemsWith(...folders: string[]): Promise<readonly string[]> {
  const { problems } = await validate(
    folders.map((name) => join(examples, name)),
    (message) => assert.fail(message),
  )
  return problems.map(({ message }) => message)
}

test('the policies of examples/policies are in order over the shop, without a warning', async () => {
  assert.deepEqual(await problemsWith('shop', 'policies'), [])
})

test('and not without it: what they refer to is looked up', async () => {
  assert.ok((await problemsWith('policies')).length > 0)
})

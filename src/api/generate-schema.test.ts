import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { schemaFiles, schemaFolder } from './generate-schema.ts'
import type { JsonSchema } from './policy/json-schema.ts'
import { kindNames } from './policy/kinds.ts'

test('src/api/schema is what src/api/policy makes (run src/cli/outrigger-node src/api/generate-schema.ts)', () => {
  const files = schemaFiles()
  assert.deepEqual(readdirSync(schemaFolder).sort(), [...files.keys()].sort())
  const stale = [...files].filter(([name, text]) => readFileSync(`${schemaFolder}/${name}`, 'utf8') !== text)
  assert.deepEqual(
    stale.map(([name]) => name),
    [],
  )
})

test('each schema has its own $id under one base, and document.json refers to each', () => {
  const files = [...schemaFiles()].map(([name, text]) => ({
    name,
    schema: JSON.parse(text) as JsonSchema & { allOf?: { then: { $ref: string } }[] },
  }))
  for (const { name, schema } of files) {
    assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema')
    assert.equal(schema.$id, `https://outrigger.dev/schema/v1alpha1/${name}`)
  }
  const refs = files.find(({ name }) => name === 'document.json')?.schema.allOf?.map((part) => part.then.$ref)
  assert.equal(refs?.length, kindNames.length)
  for (const ref of refs ?? [])
    assert.ok(
      files.some(({ name }) => name === ref),
      ref,
    )
})

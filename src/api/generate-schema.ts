/* oxlint-disable unicorn/no-thenable -- "then" is a keyword of JSON Schema */
// Makes src/api/schema: one JSON Schema for each kind, and `document.json` for a file of any of them. Run it after a
// change of src/api/policy: `src/cli/outrigger-node src/api/generate-schema.ts`; a test tells when it was forgotten.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type JsonSchema, jsonSchemaOf } from './policy/json-schema.ts'
import { kindNames, kinds } from './policy/kinds.ts'

/** Where the schemas lie. */
export const schemaFolder = fileURLToPath(new URL('./schema', import.meta.url))

const idBase = 'https://outrigger.dev/schema/v1alpha1/'

/** Name and text of every file of src/api/schema. */
export function schemaFiles(): Map<string, string> {
  const files = new Map<string, string>()
  for (const kind of kindNames) {
    const { $schema, ...schema } = jsonSchemaOf(kind)
    files.set(fileName(kind), text({ $schema: $schema!, $id: idBase + fileName(kind), title: kind, ...schema }))
  }
  files.set('document.json', text(anyDocument()))
  return files
}

function anyDocument(): object {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `${idBase}document.json`,
    title: 'Document',
    description: 'Any document that the mesh reads; its kind decides the rest.',
    type: 'object',
    properties: {
      apiVersion: { enum: [...new Set(kindNames.map((kind) => kinds[kind].apiVersion))] },
      kind: { enum: kindNames },
    },
    required: ['apiVersion', 'kind', 'metadata'],
    allOf: kindNames.map((kind) => ({
      if: { properties: { kind: { const: kind } }, required: ['kind'] },
      // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema.
      then: { $ref: fileName(kind) },
    })),
  }
}

function fileName(kind: string): string {
  return `${kind.replaceAll(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '-').toLowerCase()}.json`
}

function text(schema: JsonSchema | object): string {
  return `${JSON.stringify(schema, null, 2)}\n`
}

if (import.meta.main) {
  const files = schemaFiles()
  mkdirSync(schemaFolder, { recursive: true })
  for (const name of readdirSync(schemaFolder)) if (!files.has(name)) rmSync(`${schemaFolder}/${name}`)
  for (const [name, content] of files) writeFileSync(`${schemaFolder}/${name}`, content)
}

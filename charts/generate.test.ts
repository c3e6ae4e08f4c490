/** The generated files are those of their sources, and say what the rest of the tree says. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { generatedFiles } from './generate.ts'
import { valuesSchema } from './values.ts'
import { valuesJsonSchema, valuesOf } from './values-text.ts'

const read = (name: string): string => readFileSync(fileURLToPath(new URL(name, import.meta.url)), 'utf8')

for (const [name, text] of generatedFiles()) {
  it(`${name} is up to date: src/cli/outrigger-node charts/generate.ts`, () => assert.equal(read(name), text))
}

it('values.yaml has every default, and the schema takes it', () => {
  const values = valuesSchema.parse(parse(read('outrigger/values.yaml'), { version: '1.1' }))
  assert.deepEqual(values, valuesSchema.parse({}))
})

it('the values of every profile can be', () => {
  for (const file of [
    'values-ha',
    'ci/restricted-values',
    'ci/cert-manager-values',
    'ci/prometheus-operator-values',
    'ci/try-out-values',
  ]) {
    valuesSchema.parse(parse(read(`outrigger/${file}.yaml`), { version: '1.1' }))
  }
})

it('every value says what it means', () => {
  for (const { path, schema } of valuesOf(valuesJsonSchema())) {
    assert.ok(
      (schema.description ?? '').length > 3,
      `${path.join('.')}: describe it in charts/values.ts or control-plane/config.ts`,
    )
  }
})

it("the charts' versions are the package's", () => {
  const { version } = JSON.parse(read('../package.json')) as { version: string }
  for (const chart of ['outrigger', 'outrigger-crds']) {
    const { version: own, appVersion } = parse(read(`${chart}/Chart.yaml`)) as Record<string, string>
    assert.deepEqual([own, appVersion], [version, version], chart)
  }
})

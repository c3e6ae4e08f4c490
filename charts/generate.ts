// Writes what is generated in this folder: values.yaml, values.schema.json, the table of values in the README and the dashboards.
// `src/cli/outrigger-node charts/generate.ts`; a test tells when it was forgotten.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { dashboards } from './dashboards/all.ts'
import { valuesJsonSchema, valuesTable, valuesYaml } from './values-text.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))

/** Name, from this folder, and text of every file. */
export function generatedFiles(): Map<string, string> {
  const schema = valuesJsonSchema()
  const readme = 'outrigger/README.md'
  return new Map([
    ['outrigger/values.schema.json', `${JSON.stringify(schema, null, 2)}\n`],
    ['outrigger/values.yaml', valuesYaml(schema)],
    [readme, withTable(readFileSync(`${folder}/${readme}`, 'utf8'), 'values', valuesTable(schema))],
    ...dashboards.map(
      (dashboard) => [`outrigger/dashboards/${dashboard.uid}.json`, `${JSON.stringify(dashboard, null, 1)}\n`] as const,
    ),
  ])
}

/** A text in which the part between two marks is replaced. */
function withTable(text: string, name: string, table: string): string {
  const [begin, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`]
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) throw new Error(`the README has no place for its table: ${begin.trim()} ... ${end}`)
  return `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`
}

if (import.meta.main) for (const [name, text] of generatedFiles()) writeFileSync(`${folder}/${name}`, text)

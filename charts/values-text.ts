/** The chart's values as Helm's JSON Schema, as values.yaml and as a table. */
import { stringify } from 'yaml'
import { z } from 'zod'
import { valuesSchema } from './values.ts'

/** As much of JSON Schema as the values use. */
export interface ValueSchema {
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, ValueSchema>>
  readonly [keyword: string]: unknown
}

/** Draft 7: what every Helm that can install the chart understands. */
export function valuesJsonSchema(): ValueSchema {
  return tidy(z.toJSONSchema(valuesSchema, { target: 'draft-7', io: 'input' })) as ValueSchema
}

/** Without what says nothing: the default of an object whose fields have theirs, and the largest number that there is. */
function tidy(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(tidy)
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => {
        if (key === 'maximum') return value !== Number.MAX_SAFE_INTEGER
        return !(key === 'default' && 'properties' in node && Object.keys(value as object).length === 0)
      })
      .map(([key, value]) => [key, tidy(value)]),
  )
}

/** One value that people set. */
export interface Value {
  readonly path: readonly string[]
  readonly default: unknown
  readonly schema: ValueSchema
}

/** Every value: what has a meaning of its own, and its default, which an object around it may have said. */
export function* valuesOf(schema: ValueSchema, path: readonly string[] = [], outer: unknown = {}): Iterable<Value> {
  for (const [name, part] of Object.entries(schema.properties ?? {})) {
    const value = part.default ?? (outer as Readonly<Record<string, unknown>> | undefined)?.[name]
    const whole = part.properties === undefined || (part.description !== undefined && part.default !== undefined)
    if (whole) yield { path: [...path, name], default: value, schema: part }
    else yield* valuesOf(part, [...path, name], value)
  }
}

const width = 118

/** Every value with its default and, above it, what it means. */
export function valuesYaml(schema: ValueSchema): string {
  return ['# Generated from charts/values.ts.', '', ...yamlLines(schema, '', {})].join('\n')
}

function* yamlLines(schema: ValueSchema, indent: string, outer: unknown): Iterable<string> {
  for (const [name, part] of Object.entries(schema.properties ?? {})) {
    const value = part.default ?? (outer as Readonly<Record<string, unknown>> | undefined)?.[name]
    yield* comment(part, indent)
    if (part.properties === undefined || (part.description !== undefined && part.default !== undefined)) {
      // Helm reads YAML 1.1, where a bare off is false.
      const text = stringify({ [name]: value }, { lineWidth: 0, version: '1.1' })
      yield* text
        .trimEnd()
        .split('\n')
        .map((line) => indent + line)
    } else {
      yield `${indent}${name}:`
      yield* yamlLines(part, `${indent}  `, value)
    }
    if (indent === '') yield ''
  }
}

function* comment(schema: ValueSchema, indent: string): Iterable<string> {
  let line = ''
  for (const word of meaning(schema).split(' ')) {
    if (line !== '' && indent.length + line.length + word.length + 3 > width) {
      yield `${indent}# ${line}`
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  if (line !== '') yield `${indent}# ${line}`
}

/** What a value means, and between what people choose. */
function meaning({ description = '', enum: choices }: ValueSchema): string {
  return choices === undefined ? description : `${description} (${choices.join(', ')})`
}

/** A row for every value. */
export function valuesTable(schema: ValueSchema): string {
  const rows = [...valuesOf(schema)].map(
    ({ path, default: value, schema: part }) =>
      `| \`${path.join('.')}\` | \`${JSON.stringify(value)}\` | ${meaning(part).replaceAll('|', '\\|')} |`,
  )
  return ['| value | default | meaning |', '|---|---|---|', ...rows, ''].join('\n')
}

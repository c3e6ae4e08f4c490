import { type Command, Option } from 'commander'
import { closest } from '../api/documents/closest.ts'
import { expectation, type JsonSchema, jsonSchemaOf, schemaAt, unwrap } from '../api/policy/json-schema.ts'
import { findKind, type Kind, type KindTraits, kindNames, kinds } from '../api/policy/kinds.ts'

/** One field of a kind, as `outrigger explain` tells it. */
export interface FieldInfo {
  readonly name: string
  readonly type: string
  readonly required: boolean
  readonly default?: unknown
  readonly description: string
}

/** A kind, or one of its fields with what is inside it. */
export interface Explanation {
  readonly kind: Kind
  readonly apiVersion: string
  /** `spec.retry`; empty for the kind itself. */
  readonly path: string
  readonly type: string
  readonly description: string
  readonly default?: unknown
  readonly fields: readonly FieldInfo[]
}

/** Adds `outrigger explain`, the words and the columns of `kubectl explain`. */
export function registerExplain(program: Command): void {
  const command: Command = program
    .command('explain [kind.field.path]')
    .description('Say what a kind or one of its fields means: type, default, description. Without one: list the kinds.')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger explain\n  outrigger explain BackendPolicy\n  outrigger explain httproute.spec.rules.retry\n',
    )
    .action((words: string | undefined, { output }: { output: 'text' | 'json' }) => {
      if (words === undefined) return write(output === 'json' ? JSON.stringify(kindList(), null, 2) : kindTable())
      const explanation = explain(words)
      if (typeof explanation === 'string') command.error(`error: ${explanation}`, { exitCode: 2 })
      write(output === 'json' ? JSON.stringify(explanation, null, 2) : explanationText(explanation))
    })
}

/** Looks up `Kind.field.path` (also `kind.list[0].field`). A string is the reason why there is no answer. */
export function explain(words: string): Explanation | string {
  const [word = '', ...rawPath] = words.replaceAll(/\[[0-9]*\]/g, '').split('.')
  const kind = findKind(word)
  if (kind === undefined) return unknown('kind', word, kindNames)
  let schema = jsonSchemaOf(kind)
  const path: string[] = []
  for (const field of rawPath) {
    const around = schema
    const next = schemaAt(elementOf(around), [field])
    const known = fieldsOf(around)
    if (next === undefined)
      return unknown(
        `field of ${[kind, ...path].join('.')}`,
        field,
        known.map(({ name }) => name),
      )
    path.push(field)
    schema = next
  }
  return {
    kind,
    apiVersion: kinds[kind].apiVersion,
    path: path.join('.'),
    type: typeOf(schema),
    description: schema.description ?? '',
    ...(schema.default !== undefined && { default: schema.default }),
    fields: fieldsOf(schema),
  }
}

// The fields of a list are those of its items, as kubectl has it.
function elementOf(schema: JsonSchema): JsonSchema {
  return schema.items === undefined ? schema : elementOf(unwrap(schema.items))
}

function fieldsOf(schema: JsonSchema): FieldInfo[] {
  const { properties = {}, required = [], additionalProperties } = elementOf(schema)
  const fields = Object.entries(properties)
    .map(([name, field]) => ({ name, field: unwrap(field) }))
    .filter(({ field }) => field.not === undefined)
    .map(({ name, field }) => fieldInfo(name, field, required.includes(name)))
  const ofKeys =
    Object.keys(properties).length === 0 && typeof additionalProperties === 'object' ? additionalProperties : undefined
  return ofKeys?.properties === undefined ? fields : fieldsOf(ofKeys)
}

function fieldInfo(name: string, field: JsonSchema, required: boolean): FieldInfo {
  const info = { name, type: typeOf(field), required, description: field.description ?? '' }
  return field.default === undefined ? info : { ...info, default: field.default }
}

function typeOf(schema: JsonSchema): string {
  if (schema.items !== undefined) {
    const item = unwrap(schema.items)
    return `list of ${item.type === 'object' ? 'maps' : (expectation(item) ?? 'anything').replace(/^a string$/, 'strings')}`
  }
  if (schema.type === 'object' && schema.properties === undefined && typeof schema.additionalProperties === 'object') {
    return `map of ${schema.additionalProperties.type === 'string' ? 'strings' : 'maps'} by key`
  }
  return (expectation(schema) ?? 'anything').replace(/^an? /, '')
}

function unknown(what: string, word: string, known: readonly string[]): string {
  const meant = closest(word, known)
  if (meant !== undefined) return `unknown ${what}: "${word}"; did you mean ${meant}?`
  return `unknown ${what}: "${word}"; ${known.length === 0 ? 'it has none' : `known are ${known.join(', ')}`}`
}

function explanationText({ kind, apiVersion, path, type, description, default: value, fields }: Explanation): string {
  const lines = [`KIND:     ${kind}`, `VERSION:  ${apiVersion}`]
  if (path !== '') lines.push(`FIELD:    ${path} <${type}>`)
  if (value !== undefined) lines.push(`DEFAULT:  ${JSON.stringify(value)}`)
  if (description !== '') lines.push('', 'DESCRIPTION:', `  ${description}`)
  if (fields.length > 0) lines.push('', 'FIELDS:', ...fields.flatMap(fieldLines))
  return lines.join('\n')
}

function fieldLines({ name, type, required, default: value, description }: FieldInfo): string[] {
  const notes = [
    required ? 'required' : undefined,
    value === undefined ? undefined : `default ${JSON.stringify(value)}`,
  ]
  const head = [`  ${name} <${type}>`, ...notes.filter((note) => note !== undefined)].join('  ')
  return description === '' ? [head] : [head, `    ${description}`]
}

function kindList() {
  return kindNames.map((kind) => {
    const { apiVersion, plural, shortNames, scope }: KindTraits = kinds[kind]
    return { kind, apiVersion, plural, shortNames, scope, description: jsonSchemaOf(kind).description }
  })
}

function kindTable(): string {
  const rows = kindList().map(({ kind, shortNames, apiVersion }) => [kind, shortNames.join(), apiVersion])
  const table = [['KIND', 'SHORT', 'VERSION'], ...rows]
  const widths = [0, 1].map((at) => Math.max(...table.map((row) => row[at]!.length)))
  return table
    .map(([kind, short, version]) => `${kind!.padEnd(widths[0]!)}  ${short!.padEnd(widths[1]!)}  ${version}`)
    .join('\n')
}

function write(text: string): void {
  process.stdout.write(`${text}\n`)
}

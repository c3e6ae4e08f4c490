// The JSON Schema of a kind, made from zod: for editors, for `outrigger explain`, and for the words of messages.
import { z } from 'zod'
import { type Kind, kinds } from './kinds.ts'

/** The part of JSON Schema (draft 2020-12) that our schemas use. */
export interface JsonSchema {
  readonly $schema?: string
  readonly $id?: string
  readonly title?: string
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: string | number | boolean | null
  readonly anyOf?: readonly JsonSchema[]
  readonly not?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | JsonSchema
  readonly items?: JsonSchema
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly format?: string
}

const made = new Map<Kind, JsonSchema>()

/** JSON Schema of what a person may write for a kind (input: fields with a default are not required). */
export function jsonSchemaOf(kind: Kind): JsonSchema {
  let schema = made.get(kind)
  if (schema === undefined) {
    schema = z.toJSONSchema(kinds[kind].schema, { io: 'input', target: 'draft-2020-12' }) as JsonSchema
    made.set(kind, schema)
  }
  return schema
}

/** Schema of a value inside a document, or undefined when the schema says nothing about it. */
export function schemaAt(root: JsonSchema, path: readonly (string | number)[]): JsonSchema | undefined {
  let schema: JsonSchema | undefined = unwrap(root)
  for (const step of path) {
    const next: JsonSchema | undefined = typeof step === 'number' ? schema.items : fieldOf(schema, step)
    if (next === undefined) return undefined
    schema = unwrap(next)
  }
  return schema
}

/** What a nullable schema says about the value that is not null; a real choice stays. */
export function unwrap(schema: JsonSchema): JsonSchema {
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type: string) => type !== 'null')
    return types.length === 1 ? { ...schema, type: types[0]! } : schema
  }
  const real = schema.anyOf?.filter(({ type }) => type !== 'null') ?? []
  if (real.length !== 1) return schema
  const { anyOf: _, ...around } = schema
  return { ...unwrap(real[0]!), ...around }
}

// An object with named fields that takes others too (core kinds) says nothing about those.
function fieldOf(schema: JsonSchema, name: string): JsonSchema | undefined {
  if (schema.properties !== undefined)
    return Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
}

/** What the schema expects, in words: `a whole number from 1 to 65535`. */
export function expectation(schema: JsonSchema): string | undefined {
  const inner = unwrap(schema)
  if (inner.enum !== undefined) return `one of ${inner.enum.map(String).join(', ')}`
  if (inner.const !== undefined) return inner.const === '' ? '""' : String(inner.const)
  if (inner.format === 'duration-gep2257') return 'a duration such as 250ms, 5s or 1m30s'
  if (inner.anyOf !== undefined) return inner.anyOf.map(expectation).join(' or ')
  switch (inner.type) {
    case 'integer':
      return `a whole number${bounds(inner)}`
    case 'number':
      return `a number${bounds(inner)}`
    case 'string':
      return inner.format === 'date-time' ? 'an RFC 3339 time such as 2030-01-31T12:00:00Z' : 'a string'
    case 'boolean':
      return 'true or false'
    case 'array':
      return inner.maxItems === undefined ? 'a list' : `a list of at most ${inner.maxItems}`
    case 'object':
      return 'a map'
    default:
      return undefined
  }
}

function bounds({ minimum, maximum }: JsonSchema): string {
  const hasMaximum = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER
  const hasMinimum = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER
  if (hasMinimum && hasMaximum) return ` from ${minimum} to ${maximum}`
  if (hasMinimum) return ` of at least ${minimum}`
  return hasMaximum ? ` of at most ${maximum}` : ''
}

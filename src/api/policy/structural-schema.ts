/**
 * A kind's zod schema in the form that a custom resource definition takes: a structural schema (no $ref, no choice of
 * types, no `additionalProperties: false`; unknown fields are refused by the API server's own field validation), and the
 * rules over several fields in CEL.
 */
import { z } from 'zod'
import { type Admission, admission, type CelRule, rawText } from './admission.ts'

/** A node of `openAPIV3Schema`. */
export type StructuralSchema = Readonly<Record<string, unknown>>

type Node = Record<string, unknown>

const rulesKeyword = 'x-kubernetes-validations'

/** What is copied as it is. Any other keyword is a fault of ours: it would be lost without a word. */
const copied = new Set([
  'type',
  'description',
  'default',
  'enum',
  'required',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'maxProperties',
  'anyOf',
  rulesKeyword,
])

/** The structural schema of a value. Throws an Error that names a keyword which a definition cannot say. */
export function structuralSchema(schema: z.ZodType): StructuralSchema {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-2020-12',
    reused: 'inline',
    override: ({ zodSchema, jsonSchema }) => override(zodSchema, jsonSchema),
  })
  const { $schema: _, ...root } = json
  return structural(root)
}

function override(schema: z.core.$ZodTypes, json: Node): void {
  const { type } = schema._zod.def
  // A default that stands in the documentation only ("Default: the sidecar's") is not filled in.
  if (json['default'] !== undefined && type !== 'default' && type !== 'prefault') delete json['default']
  const { rules, schema: more }: Admission = admission.get(schema) ?? {}
  if (rules !== undefined) json[rulesKeyword] = rules
  if (more !== undefined) Object.assign(json, more)
}

function structural(json: Node): StructuralSchema {
  const out: Node = {}
  for (const [keyword, value] of Object.entries(json)) {
    if (copied.has(keyword)) out[keyword] = value
    else if (keyword === 'const') out['enum'] = [value]
    else if (keyword === 'items') out['items'] = structural(value as Node)
    else if (keyword === 'properties') out['properties'] = mapped(value as Readonly<Record<string, Node>>)
    else if (keyword === 'additionalProperties') {
      if (value !== false) out['additionalProperties'] = structural(value as Node)
    } else if (keyword !== 'format' && keyword !== 'propertyNames') {
      throw new Error(`a custom resource definition cannot say "${keyword}": ${JSON.stringify(json).slice(0, 200)}`)
    }
  }
  return json['format'] === 'date-time' ? asTime(out) : out
}

function mapped(properties: Readonly<Record<string, Node>>): StructuralSchema {
  return Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, structural(value)]))
}

/** The pattern knows every February; as a rule it has a message that people can read. */
function asTime({ pattern, ...rest }: Node): Node {
  const rule: CelRule = {
    rule: `self.matches(${rawText(String(pattern))})`,
    message: 'not an RFC 3339 time such as 2030-01-31T12:00:00Z',
  }
  return { ...rest, [rulesKeyword]: [rule] }
}

// What the API server checks beyond the JSON Schema of a kind: rules in CEL, which stand beside the rules of zod.
import { z } from 'zod'

/** One of `x-kubernetes-validations`. */
export interface CelRule {
  readonly rule: string
  /** The words of our own check, as far as they can be had without the value. */
  readonly message: string
  /** The same with the value in it. */
  readonly messageExpression?: string
  /** `.name` of the field that is at fault; default: the object itself. */
  readonly fieldPath?: string
}

/** What a custom resource definition says of a value that its JSON Schema does not say. */
export interface Admission {
  readonly rules?: readonly CelRule[]
  /** Further keywords of a structural schema. */
  readonly schema?: Readonly<Record<string, unknown>>
}

/** By schema: `schema.register(admission, { rules: [...] })`, or `admitted(schema, ...)` where only rules are added. */
export const admission = z.registry<Admission>()

/** The schema itself, known to be checked by these rules at admission. */
export function admitted<S extends z.ZodType>(schema: S, ...rules: readonly CelRule[]): S {
  admission.add(schema, { rules })
  return schema
}

/** "set exactly one of a, b" */
export function exactlyOne(...fields: readonly string[]): CelRule {
  return {
    rule: `[${fields.map(set).join(', ')}].exists_one(is, is)`,
    message: `set exactly one of ${fields.join(', ')}`,
  }
}

/** At least one of the fields is set. */
export function atLeastOne(fields: readonly string[], message: string): CelRule {
  return { rule: fields.map(set).join(' || '), message }
}

/** One field or the other, or neither; the second is at fault. */
export function notBoth(first: string, second: string, message: string): CelRule {
  return { rule: `!(${set(first)} && ${set(second)})`, message, fieldPath: `.${second}` }
}

/** A string of CEL that takes backslashes as they are. No quote may stand in it. */
export function rawText(text: string): string {
  if (text.includes("'")) throw new Error(`a raw string of CEL cannot hold a quote: ${text}`)
  return `r'${text}'`
}

function set(field: string): string {
  return `has(self.${field})`
}

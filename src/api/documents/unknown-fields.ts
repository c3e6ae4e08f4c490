import { type JsonSchema, unwrap } from '../policy/json-schema.ts'
import type { Path } from './problem.ts'

/** Paths of fields that a loose schema does not name: they load, and get a warning. */
export function unknownFields(value: unknown, schema: JsonSchema, path: Path = []): Path[] {
  const inner = unwrap(schema)
  if (Array.isArray(value)) {
    const { items } = inner
    return items === undefined ? [] : value.flatMap((item, at) => unknownFields(item, items, [...path, at]))
  }
  const { properties } = inner
  if (typeof value !== 'object' || value === null || properties === undefined) return []
  return Object.entries(value).flatMap(([key, field]) => {
    const next = Object.hasOwn(properties, key) ? properties[key] : undefined
    return next === undefined ? [[...path, key]] : unknownFields(field, next, [...path, key])
  })
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type JsonSchema, jsonSchemaOf, schemaAt, unwrap } from './json-schema.ts'
import { findKind, isKind, type KindTraits, kindNames, kinds } from './kinds.ts'

test('a kind is found by its name, plural and short name, without case', () => {
  for (const word of ['BackendPolicy', 'backendpolicy', 'backendpolicies', 'BEP'])
    assert.equal(findKind(word), 'BackendPolicy')
  for (const word of ['', 'toString', '__proto__', 'backend']) assert.equal(findKind(word), undefined)
})

test('names that every object has are no kinds', () => {
  for (const word of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) assert.equal(isKind(word), false)
})

test('no word means two kinds', () => {
  const words = kindNames.flatMap((kind) => {
    const { plural, shortNames }: KindTraits = kinds[kind]
    return [kind.toLowerCase(), plural, ...shortNames]
  })
  assert.deepEqual(
    words.filter((word, at) => words.indexOf(word) !== at),
    [],
  )
})

test('every field of every kind is described, and only core kinds take unknown ones', () => {
  const silent: string[] = []
  const loose: string[] = []
  for (const kind of kindNames) {
    const { unknownFields }: KindTraits = kinds[kind]
    walk(jsonSchemaOf(kind), kind, (schema, path) => {
      if (schema.description === undefined) silent.push(path)
      if (schema.properties !== undefined && schema.additionalProperties !== false && unknownFields === 'strict')
        loose.push(path)
    })
  }
  assert.deepEqual(silent, [])
  assert.deepEqual(loose, [])
})

test('each of our kinds takes mode, and Enforce is the default', () => {
  const own = kindNames.filter((kind) => kinds[kind].apiVersion === 'outrigger.dev/v1alpha1')
  assert.equal(own.length, 5)
  for (const kind of own) {
    const mode = schemaAt(jsonSchemaOf(kind), ['spec', 'mode'])
    assert.deepEqual([mode?.enum, mode?.default], [['Enforce', 'Shadow'], 'Enforce'], kind)
  }
})

function walk(schema: JsonSchema, path: string, visit: (schema: JsonSchema, path: string) => void): void {
  const inner = unwrap(schema)
  if (!path.endsWith('[]')) visit(inner, path)
  if (inner.items !== undefined) walk(inner.items, `${path}[]`, visit)
  for (const [name, field] of Object.entries(inner.properties ?? {})) {
    if (field.not === undefined) walk(field, `${path}.${name}`, visit)
  }
}

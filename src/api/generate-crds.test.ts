import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { parse } from 'yaml'
import { brokenPolicies } from '../../test/support/broken-policies.ts'
import { goodPolicies } from '../../test/support/policies.ts'
import { structuralFaults } from '../../test/support/structural-faults.ts'
import { loadDocuments } from './documents/load-documents.ts'
import { crdFiles, crdFolder, definition, ownKinds } from './generate-crds.ts'
import type { StructuralSchema } from './policy/structural-schema.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const schemas = new Map<string, StructuralSchema>(
  ownKinds.map((kind) => [kind, definition(kind).spec.versions[0]!.schema.openAPIV3Schema]),
)
const schemaOf = (kind: string): StructuralSchema => schemas.get(kind)!

test('charts/outrigger-crds/templates is what src/api/policy makes (run npm run generate)', () => {
  const files = crdFiles()
  assert.deepEqual(readdirSync(crdFolder).sort(), [...files.keys()].sort())
  const stale = [...files].filter(([name, text]) => readFileSync(`${crdFolder}/${name}`, 'utf8') !== text)
  assert.deepEqual(
    stale.map(([name]) => name),
    [],
  )
})

describe('each definition', () => {
  for (const [name, text] of crdFiles()) {
    test(`${name} is YAML that kubectl reads alike, and nothing that Helm would fill in`, () => {
      assert.doesNotMatch(text, /\{\{/)
      assert.deepEqual(parse(text, { version: '1.1' }), parse(text))
    })
  }

  for (const kind of ownKinds) {
    test(`${kind} has a structural schema`, () => {
      const seen = new Set<string>()
      walk(schemaOf(kind), (node, path) => {
        for (const keyword of Object.keys(node)) seen.add(keyword)
        assert.ok(typeof node['type'] === 'string', `${path} has no type`)
        for (const keyword of ['$ref', 'oneOf', 'allOf', 'not', 'patternProperties', 'propertyNames', 'nullable'])
          assert.ok(!(keyword in node), `${path} has ${keyword}`)
        assert.notEqual(node['additionalProperties'], false, path)
        assert.ok(!('properties' in node && 'additionalProperties' in node), `${path} has named fields and others`)
        for (const part of (node['anyOf'] ?? []) as object[])
          assert.deepEqual(Object.keys(part), ['format'], `${path}: a choice of types`)
        // Without a bound the API server reckons with 3 MB, and refuses the rule for what it would cost.
        const rules = (node['x-kubernetes-validations'] ?? []) as { message?: string; rule: string }[]
        for (const { message, rule } of rules) assert.ok(message !== undefined && !/\n/.test(message + rule), path)
        if (rules.length > 0 && node['type'] === 'string') assert.ok('maxLength' in node, `${path} needs maxLength`)
        if (node['type'] === 'array') assert.ok('maxItems' in node || 'enum' in items(node), `${path} needs maxItems`)
      })
      assert.ok(seen.has('x-kubernetes-validations'))
    })

    test(`${kind}: only what zod fills in is a default`, () => {
      const { spec } = schemaOf(kind)['properties'] as Record<string, StructuralSchema>
      walk(spec!, (node, path) => {
        if (/\.(attempts|retryOn|maxBodyBytes|methods|path)$/.test(path)) assert.ok(!('default' in node), path)
      })
    })
  }
})

describe('what is in order passes', () => {
  for (const [kind, name, spec] of goodPolicies)
    test(`${kind}: ${name}`, () => assert.deepEqual(structuralFaults(schemaOf(kind), { spec }), []))

  const files = readdirSync(`${root}/examples`, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.yaml'),
  )
  test('every document under examples', () => {
    const texts = files
      .map((path) => ({ path, text: readFileSync(`${root}/examples/${path}`, 'utf8') }))
      .filter(({ text }) => /^kind: /m.test(text))
    const kindsSeen = new Set<string>()
    for (const file of texts) {
      const { documents, problems } = loadDocuments([file])
      // A cluster has more kinds than the mesh reads.
      const ours = problems.filter(({ code }) => code !== 'unknown-kind')
      assert.deepEqual(ours, [], file.path)
      for (const document of documents) {
        if (!ownKinds.includes(document.kind)) continue
        kindsSeen.add(document.kind)
        assert.deepEqual(structuralFaults(schemaOf(document.kind), document.value), [], file.path)
      }
    }
    assert.deepEqual([...kindsSeen].sort(), [...ownKinds].sort())
  })
})

test('what is broken does not pass, unless there is a rule for it, whose language only the API server speaks', () => {
  const passed = brokenPolicies.filter(([kind, spec]) => structuralFaults(schemaOf(kind), { spec }).length === 0)
  assert.ok(passed.length < brokenPolicies.length / 2)
  for (const [kind, , fault] of passed) {
    const path = /^[^:]*(?:\["[^"]*"\])?/.exec(fault ?? '')![0]
    assert.ok(rulesOn(schemaOf(kind), path).length > 0, `${kind} ${fault}: no rule`)
  }
})

describe('patterns of AuthorizationPolicy say what the checks say', () => {
  const fields = {
    principals: ['from', 'spiffe://a/ns/b', 'sp*'],
    namespaces: ['from', 'team-a', 'team-*'],
    paths: ['to', '/a/b', '/a*'],
    hosts: ['to', 'a.b:80', '[::1]:80'],
    methods: ['to', 'GET', 'M-SEARCH'],
  } as const
  for (const [field, [side, ...seeds]] of Object.entries(fields)) {
    test(field, () => {
      const text = fc.oneof(
        fc.string({ unit: fc.constantFrom(...'*/spife:ab-A.[]`~ \n'), minLength: 1, maxLength: 12 }),
        fc
          .tuple(fc.constantFrom(...seeds), fc.nat(), fc.constantFrom('*', '', 'a', '\n', '/', 'A'))
          .map(([seed, at, piece]) => {
            const cut = at % (seed.length + 1)
            return seed.slice(0, cut) + piece + seed.slice(cut)
          }),
      )
      fc.assert(
        fc.property(text, (value) => {
          const spec = { rules: [{ [side]: [{ [field]: [value] }] }] }
          const document = {
            apiVersion: 'outrigger.dev/v1alpha1',
            kind: 'AuthorizationPolicy',
            metadata: { name: 'p' },
            spec,
          }
          const refused = loadDocuments([{ path: 'x', text: JSON.stringify(document) }]).problems.length > 0
          assert.equal(
            structuralFaults(schemaOf('AuthorizationPolicy'), { spec }).length > 0,
            refused,
            JSON.stringify(value),
          )
        }),
        { numRuns: 300 },
      )
    })
  }
})

/** Rules, and choices of formats, on the way to a value. */
function rulesOn(schema: StructuralSchema, path: string): unknown[] {
  const rules: unknown[] = []
  let node: StructuralSchema | undefined = schema
  for (const step of path.split(/[.[]/)) {
    const named = node['properties'] as Readonly<Record<string, StructuralSchema>> | undefined
    node = /^\d+\]$/.test(step) ? items(node) : (named?.[step] ?? (node['additionalProperties'] as StructuralSchema))
    if (node === undefined) break
    rules.push(...((node['x-kubernetes-validations'] ?? node['anyOf'] ?? []) as unknown[]))
  }
  return rules
}

function items(node: StructuralSchema): StructuralSchema {
  return node['items'] as StructuralSchema
}

function walk(node: StructuralSchema, visit: (node: StructuralSchema, path: string) => void, path = ''): void {
  // metadata is the API server's own.
  if (path !== '.metadata') visit(node, path)
  for (const [name, child] of Object.entries((node['properties'] ?? {}) as Record<string, StructuralSchema>))
    walk(child, visit, `${path}.${name}`)
  if (node['items'] !== undefined) walk(node['items'] as StructuralSchema, visit, `${path}[]`)
  if (node['additionalProperties'] !== undefined)
    walk(node['additionalProperties'] as StructuralSchema, visit, `${path}{}`)
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatProblem } from './format-problem.ts'
import { loadDocuments, type SourceFile } from './load-documents.ts'

const good = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, labels: &l {a: b}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - name: canary
    matches: [{path: {type: PathPrefix, value: /api}, method: GET}]
    filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}, percent: 10}}
    timeouts: {request: 2s, backendRequest: 500ms}
    retry: {codes: [502], attempts: 2, backoff: 50ms}
    backendRefs: [{name: a, port: 80, weight: 90}]
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: *l}
`

const pieces = [
  'apiVersion: v1\n',
  'kind: ',
  'Service\n',
  'HTTPRoute\n',
  'metadata: ',
  '{name: x}\n',
  'spec:\n',
  '  ',
  '\t',
  '- ',
  '---\n',
  '...\n',
  '{',
  '}',
  '[',
  ']',
  ':',
  ' ',
  '\n',
  '&a ',
  '*a',
  '!!binary ',
  '? ',
  '| \n',
  '>-\n',
  '"',
  "'",
  '<<: ',
  '#',
  '%YAML 1.1\n',
  '__proto__: ',
  'items: ',
  'null',
  '~',
  '1e999',
  '.nan',
  '0x',
  '\0',
  '\uFEFF',
  '\u2028',
  '\uD800',
]

function check(file: SourceFile): void {
  const { documents, problems } = loadDocuments([file])
  for (const problem of problems) {
    assert.ok(problem.line >= 1 && problem.column >= 1)
    assert.ok(problem.message !== '')
    assert.doesNotMatch(formatProblem(problem), /\p{Cc}|undefined/u)
  }
  for (const document of documents) document.locate(['spec', 'rules', 0, 'x'])
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
}

test('no bytes make loading throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => check({ path: 'x', bytes })),
    { numRuns: 1_000 },
  )
})

test('no text made of pieces of YAML makes loading throw', () => {
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, (yaml) => check({ path: 'x', text: yaml })),
    { numRuns: 1_000 },
  )
})

test('a good file with a piece cut out or put in never throws, and one cut off is told or is a shorter good one', () => {
  const edit = fc.record({ at: fc.nat(good.length), length: fc.nat(40), piece: fc.constantFrom('', ...pieces) })
  const run = ({ at, length, piece }: { at: number; length: number; piece: string }) =>
    check({ path: 'x', text: good.slice(0, at) + piece + good.slice(at + length) })
  fc.assert(fc.property(edit, run), { numRuns: 1_000 })
  assert.equal(
    loadDocuments([{ path: 'x', text: good }]).documents.length,
    1,
    'an alias does not reach into the next document',
  )
})

test('values of any shape under a known kind never throw', () => {
  const kind = fc.constantFrom(
    'HTTPRoute',
    'BackendPolicy',
    'FaultInjection',
    'PeerAuthentication',
    'AuthorizationPolicy',
    'TelemetryPolicy',
  )
  const run = (name: string, spec: unknown) => {
    const apiVersion = name === 'HTTPRoute' ? 'gateway.networking.k8s.io/v1' : 'outrigger.dev/v1alpha1'
    check({ path: 'x', text: JSON.stringify({ apiVersion, kind: name, metadata: { name: 'a' }, spec }) })
  }
  const field = fc.constantFrom(
    'rules',
    'parentRefs',
    'matches',
    'filters',
    'backendRefs',
    'retry',
    'timeouts',
    'targetRefs',
    'selector',
    'matchLabels',
    'mtls',
    'mode',
    'from',
    'to',
    'principals',
    'delay',
    'abort',
    'fixed',
    'range',
    'path',
    'type',
    'value',
    'circuitBreaker',
  )
  const spec = fc.dictionary(field, fc.anything({ key: field, maxDepth: 4, withNullPrototype: false }), { maxKeys: 6 })
  fc.assert(fc.property(kind, spec, run), { numRuns: 1_000 })
})

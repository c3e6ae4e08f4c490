import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { readText } from '../../src/api/documents/read-text.ts'
import { documentKey } from '../model/document-key.ts'
import type { Reading } from './file-state.ts'
import { fileGaps, type Gap } from './protection.ts'

const service = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n'
const deny = (name: string, action = 'DENY') =>
  `apiVersion: outrigger.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: test}\nspec: {action: ${action}, rules: [{}]}\n`
const typo = (name: string) => deny(name, 'DENI')

function reading(...documents: string[]): Reading {
  const text = readText({ path: 'x.yaml', text: documents.join('---\n') })
  return typeof text === 'string'
    ? { ...loadDocuments([{ path: 'x.yaml', text }]), text }
    : { documents: [], problems: [text], refused: [], unidentified: true, text: undefined }
}

/** `last`: what the file held before, all of it kept so far as the new reading lacks it. */
function gaps(now: Reading, last: Reading = reading('# nothing')): Gap[] {
  const read = new Set(now.documents.map(documentKey))
  const kept = last.documents.filter((document) => !read.has(documentKey(document)))
  const inForce = new Set([...read, ...kept.map(documentKey)])
  return fileGaps('x.yaml', now, kept, (key) => inForce.has(key))
}

test('what reads leaves no gap, nor does another kind that does not', () => {
  assert.deepEqual(gaps(reading(service, deny('x'))), [])
  assert.deepEqual(gaps(reading(service.replace('80', 'eighty'), deny('x'))), [])
})

test('each kind that protects is a gap when it is refused, with its own problem', () => {
  const peers =
    'apiVersion: outrigger.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRIKT}}\n'
  const pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {serviceAccountName: 7}\n'
  const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: 7}\n'
  const found = gaps(reading(service.replace('80', 'eighty'), typo('x'), peers, pod, namespace))
  assert.deepEqual(
    found.map(({ what, problem }) => `${what} ${problem.line}`),
    ['AuthorizationPolicy test/x 9', 'PeerAuthentication default/p 14', 'Pod default/web 19', 'Namespace shop 23'],
  )
})

test('a version in force, old or of another file, closes it', () => {
  assert.deepEqual(gaps(reading(typo('x')), reading(deny('x'))), [])
  assert.equal(gaps(reading(typo('x')), reading(deny('y')))[0]?.id, 'AuthorizationPolicy/test/x')
})

test('a second document of one name is a gap of its own', () => {
  const [gap] = gaps(reading(deny('x'), deny('x')))
  assert.equal(gap?.what, 'the second AuthorizationPolicy test/x')
  assert.deepEqual(gaps(reading(service, service)), [])
})

test('what does not even say who it is counts as protecting, unless it clearly is something else', () => {
  const protectsOrMay = [
    deny('x').replace('DENY', '['),
    deny('x').replace('AuthorizationPolicy', 'AuthorisationPolicy'),
    deny('x').replace('name: x', 'nam: x'),
    deny('x').replace('kind', 'knd'),
    'apiVersion: outrigger.dev/v1alpha1\nkind: Auth',
    'apiVersion: outr',
    '{"apiVersion": "outrigger.dev/v1alpha1", "kind": "AuthorizationPolicy", "metadata": {',
    '- kind: AuthorizationPolicy',
    '',
    '\0\0',
  ]
  for (const text of protectsOrMay) assert.equal(gaps(reading(text)).length, 1, JSON.stringify(text))
  const others = [
    service.replace('{port: 80}', '{port: 80'),
    service.replace('name: a', 'nam: a'),
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n',
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Name }}}\n',
    'replicas: 3\nimage: web\n',
  ]
  for (const text of others) assert.deepEqual(gaps(reading(text)), [], JSON.stringify(text))
})

test('a damaged part is the newest version of a document that is kept; one more is a gap', () => {
  const broken = (name: string) => deny(name).replace('DENY', '[')
  assert.deepEqual(gaps(reading(service, broken('x')), reading(service, deny('x'))), [])
  assert.deepEqual(gaps(reading('ki'), reading(service)), [])
  assert.deepEqual(gaps(reading('\0'), reading(service, deny('x'))), [])
  assert.equal(gaps(reading(service, broken('x')), reading(service))[0]?.problem.line, 9)
  assert.equal(gaps(reading(broken('x'), broken('y')), reading(deny('x'))).length, 1)
  assert.equal(gaps(reading(typo('x'), broken('y')), reading(deny('x'))).length, 1, 'x is accounted for, y is not')
})

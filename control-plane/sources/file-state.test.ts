import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { type FileState, goneMs, nextFileState, type Reading } from './file-state.ts'

const service = (name: string, port = 80) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: ${port}}]}\n`
const invalid = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: eighty}]}\n'

function reading(...documents: string[]): Reading {
  return loadDocuments([{ path: 'x.yaml', text: documents.join('---\n') || '# none' }])
}

function inForce(state: FileState): string[] {
  return [...state.read, ...state.kept].map((document) =>
    document.kind === 'Service' ? `${document.name}:${document.value.spec.ports[0]?.port}` : document.kind,
  )
}

test('a first reading uses what is in order and tells the rest', () => {
  const state = nextFileState(undefined, reading(invalid, service('b')), 0)
  assert.deepEqual(inForce(state), ['b:80'])
  assert.equal(state.problems.length, 1)
})

test('a document that became invalid stays in force as it was, its neighbours move on', () => {
  const first = nextFileState(undefined, reading(service('a'), service('b')), 0)
  const second = nextFileState(first, reading(invalid, service('b', 81)), 1)
  assert.deepEqual(inForce(second), ['b:81', 'a:80'])
  assert.equal(second.problems.length, 1)
  const later = nextFileState(second, reading(invalid, service('b', 82)), 1_000_000)
  assert.deepEqual(inForce(later), ['b:82', 'a:80'], 'for as long as it takes')
  const repaired = nextFileState(later, reading(service('a', 90), service('b', 82)), 1_000_001)
  assert.deepEqual(inForce(repaired), ['a:90', 'b:82'])
  assert.deepEqual(repaired.problems, [])
})

test('an empty, a binary and a broken file delete nothing', () => {
  const first = nextFileState(undefined, reading(service('a')), 0)
  for (const bytes of ['', '\0\0\0', 'apiVersion: v1\nkind: Serv', 'a: [1, 2']) {
    const state = nextFileState(first, loadDocuments([{ path: 'x.yaml', text: bytes }]), goneMs * 10)
    assert.deepEqual(inForce(state), ['a:80'], JSON.stringify(bytes))
    assert.equal(state.problems.length, 1, JSON.stringify(bytes))
  }
})

test('a document that is gone without an error is believed to be gone after a while', () => {
  const first = nextFileState(undefined, reading(service('a'), service('b')), 0)
  const cut = nextFileState(first, reading(service('a')), 1_000)
  assert.deepEqual(inForce(cut), ['a:80', 'b:80'])
  assert.equal(cut.goneSinceMs, 1_000)
  const early = nextFileState(cut, reading(service('a')), 1_000 + goneMs - 1)
  assert.deepEqual(inForce(early), ['a:80', 'b:80'])
  const late = nextFileState(early, reading(service('a')), 1_000 + goneMs)
  assert.deepEqual(inForce(late), ['a:80'])
  assert.equal(late.goneSinceMs, undefined)
})

test('a document that comes back in time was never away', () => {
  const first = nextFileState(undefined, reading(service('a'), service('b')), 0)
  const cut = nextFileState(first, reading(service('a')), 1_000)
  const whole = nextFileState(cut, reading(service('a'), service('b', 81)), 1_010)
  assert.deepEqual(inForce(whole), ['a:80', 'b:81'])
  assert.equal(whole.goneSinceMs, undefined)
})

test('a file that is gone takes its documents and problems with it, after the same while', () => {
  const first = nextFileState(undefined, reading(invalid, service('b')), 0)
  const gone = nextFileState(first, undefined, 1_000)
  assert.deepEqual(inForce(gone), ['b:80'])
  const believed = nextFileState(gone, undefined, 1_000 + goneMs)
  assert.deepEqual(inForce(believed), [])
  assert.deepEqual(believed.problems, [])
})

test('a file that lost only what was already kept loses it when its error goes', () => {
  const first = nextFileState(undefined, reading(service('a'), service('b')), 0)
  const broken = nextFileState(first, reading(invalid, service('b')), 1)
  const deleted = nextFileState(broken, reading(service('b')), 2)
  assert.deepEqual(inForce(deleted), ['b:80', 'a:80'])
  assert.deepEqual(inForce(nextFileState(deleted, reading(service('b')), 2 + goneMs)), ['b:80'])
})

test('a document that is refused in another file has moved there and stays, until that file is in order', () => {
  const first = nextFileState(undefined, reading(service('a'), service('b')), 0)
  const isRefused = (key: string): boolean => key === 'Service/default/a'
  const cut = nextFileState(first, reading(), 1_000, isRefused)
  assert.deepEqual(inForce(cut), ['a:80', 'b:80'])
  const late = nextFileState(cut, reading(), 1_000 + goneMs, isRefused)
  assert.deepEqual(inForce(late), ['a:80'])
  assert.equal(late.goneSinceMs, undefined)
  const muchLater = nextFileState(late, undefined, 1_000_000, isRefused)
  assert.deepEqual(inForce(muchLater), ['a:80'])
  const inOrder = nextFileState(muchLater, undefined, 1_000_001)
  assert.deepEqual(inForce(nextFileState(inOrder, undefined, 1_000_001 + goneMs)), [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closest, editDistance } from './closest.ts'

const cases: [word: string, candidates: string[], meant: string | undefined][] = [
  ['perTryTimout', ['perTryTimeout', 'backoff'], 'perTryTimeout'],
  ['maxConnections', ['connectionsMax', 'requestsMax'], 'connectionsMax'],
  ['strict', ['STRICT', 'PERMISSIVE'], 'STRICT'],
  ['wieght', ['weight', 'name'], 'weight'],
  ['timeout', ['backoff', 'codes'], undefined],
  ['x', ['y'], 'y'],
  ['ab', ['xy'], undefined],
  ['', ['a'], undefined],
  ['a'.repeat(65), ['a'.repeat(64)], undefined],
]

test('the word that was probably meant', () => {
  for (const [word, candidates, meant] of cases) assert.equal(closest(word, candidates), meant, word)
})

test('of two near ones the nearer', () => {
  assert.equal(closest('retri', ['retries', 'retry']), 'retry')
})

test('edit distance counts a swap of neighbours as one', () => {
  assert.equal(editDistance('', ''), 0)
  assert.equal(editDistance('abc', ''), 3)
  assert.equal(editDistance('kitten', 'sitting'), 3)
  assert.equal(editDistance('retyr', 'retry'), 1)
})

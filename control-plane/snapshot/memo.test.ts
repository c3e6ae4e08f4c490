import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Document } from '../../src/api/documents/document.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { SnapshotCache } from './snapshot-cache.ts'

const settings = {
  trustDomain: 'mesh.test',
  trustBundle: 'roots',
  clusterDomain: 'cluster.local',
  outboundPolicy: 'ALLOW_ANY',
} as const

/** Every document of every golden case: many have the same name and say something else. */
function everyDocument(): Document[] {
  const folder = join(import.meta.dirname, 'testdata', 'in')
  return readdirSync(folder).flatMap(
    (path) => loadDocuments([{ path, text: readFileSync(join(folder, path), 'utf8') }]).documents,
  )
}

function said(cache: SnapshotCache): [string, string][] {
  return [...cache.names()].map((name) => [name, cache.get(name)!.version])
}

test('whatever came before, the same documents give the same resources, and every change is told', () => {
  const pool = everyDocument()
  assert.ok(pool.length > 100, `${pool.length} documents`)
  const positions = fc.array(fc.nat(pool.length - 1), { maxLength: 6 })
  // Each step takes some documents away, puts some in front, where they replace those of their name, and some behind.
  const step = fc.record({ gone: positions, first: positions, last: positions })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const cache = new SnapshotCache(settings)
      const heard = new Map<string, string>()
      cache.subscribe((changed) => {
        for (const name of changed) {
          const entry = cache.get(name)
          assert.notEqual(entry?.version, heard.get(name), `${name} was told and is the same`)
          if (entry === undefined) heard.delete(name)
          else heard.set(name, entry.version)
        }
      })
      let documents = pool
      for (const { gone, first, last } of [{ gone: [], first: [], last: [] }, ...steps]) {
        const at = (numbers: number[]): Document[] => numbers.map((number) => pool[number]!)
        const out = new Set(at(gone))
        documents = [...at(first), ...documents.filter((document) => !out.has(document)), ...at(last)]
        cache.setDocuments(documents)
        const fresh = new SnapshotCache(settings)
        fresh.setDocuments(documents)
        assert.deepEqual(said(cache), said(fresh))
        assert.deepEqual(new Map(said(cache)), heard)
      }
    }),
    { numRuns: 60 },
  )
})

test('what a change does not touch is not even encoded again', () => {
  const documents = everyDocument()
  const cache = new SnapshotCache(settings)
  cache.setDocuments(documents)
  const before = new Map([...cache.names()].map((name) => [name, cache.get(name)]))
  const route = documents.find(({ kind }) => kind === 'HTTPRoute')!
  cache.setDocuments(documents.filter((document) => document !== route))
  const changed = [...before].filter(([name, entry]) => cache.get(name) !== entry).map(([name]) => name)
  assert.ok(changed.length >= 1 && changed.length <= 5, changed.join(', '))
})

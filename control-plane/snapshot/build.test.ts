import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { create, toJson } from '@bufbuild/protobuf'
import { stringify } from 'yaml'
import { formatProblem } from '../../src/api/documents/format-problem.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { ResourceSchema } from '../../src/api/gen/outrigger_pb.ts'
import { checkModel } from '../model/check.ts'
import { indexDocuments } from '../model/document-index.ts'
import { buildSnapshot } from './build.ts'

// One case is one file: testdata/in/CASE.yaml gives testdata/out/CASE.yaml. UPDATE_GOLDEN=1 writes the latter.
const folder = join(import.meta.dirname, 'testdata')
const update = process.env['UPDATE_GOLDEN'] === '1'
const clock = { wall: () => Date.UTC(2026, 0, 1) }
const settings = {
  trustDomain: 'mesh.test',
  trustBundle: '-----BEGIN CERTIFICATE-----',
  clusterDomain: 'cluster.local',
  outboundPolicy: 'REGISTRY_ONLY',
} as const

/** What the documents of a case become, as text. */
function outcome(name: string): string {
  const text = readFileSync(join(folder, 'in', name), 'utf8')
  const { documents, problems } = loadDocuments([{ path: name, text }])
  assert.deepEqual(
    problems.map((problem) => formatProblem(problem)),
    [],
    'the case itself must load',
  )
  const resources: Record<string, unknown> = {}
  for (const [resource, body] of buildSnapshot(indexDocuments(documents), settings)) {
    const { name: _, ...json } = toJson(ResourceSchema, create(ResourceSchema, { name: resource, body })) as Record<
      string,
      unknown
    >
    resources[resource] = Object.values(json)[0]
  }
  // What every case has in common is told by one of them only.
  if (name !== 'mesh.yaml') delete resources['mesh']
  const found = checkModel(documents, clock).map((problem) => formatProblem(problem))
  return stringify({ resources, problems: found }, { lineWidth: 0 })
}

const cases = readdirSync(join(folder, 'in')).sort()

for (const name of cases) {
  test(`snapshot of ${name}`, () => {
    const actual = outcome(name)
    const golden = join(folder, 'out', name)
    if (update) writeFileSync(golden, actual)
    assert.ok(existsSync(golden), `${golden} is missing: run with UPDATE_GOLDEN=1 and read what it wrote`)
    assert.equal(actual, readFileSync(golden, 'utf8'))
  })
}

test('every golden file has its case', () => {
  assert.deepEqual(readdirSync(join(folder, 'out')).sort(), cases)
})

test('the order of documents says nothing', () => {
  for (const name of cases) {
    const text = readFileSync(join(folder, 'in', name), 'utf8')
    const { documents } = loadDocuments([{ path: name, text }])
    const forward = buildSnapshot(indexDocuments(documents), settings)
    const backward = buildSnapshot(indexDocuments(documents.toReversed()), settings)
    assert.deepEqual([...backward], [...forward], name)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkModel } from '../../../control-plane/model/check.ts'
import { SnapshotCache } from '../../../control-plane/snapshot/snapshot-cache.ts'
import { formatProblem } from '../../../src/api/documents/format-problem.ts'
import { loadDocuments } from '../../../src/api/documents/load-documents.ts'
import { keyOf, Mesh } from './mesh.ts'
import { resourceReader } from './resource-reader.ts'

const mesh = new Mesh({ pods: 200, services: 20 })
const settings = { trustDomain: 'a.b', trustBundle: '', clusterDomain: 'c', outboundPolicy: 'ALLOW_ANY' } as const

test('the documents are in order, each for itself and together', () => {
  const { documents, problems } = loadDocuments(mesh.files(''))
  assert.deepEqual(
    problems.map((problem) => formatProblem(problem)),
    [],
  )
  assert.deepEqual(
    checkModel(documents).map((problem) => formatProblem(problem)),
    [],
  )
})

test('a sidecar asks for what there is: two resources, and three for each of ten Services', () => {
  const cache = new SnapshotCache(settings)
  cache.setDocuments(loadDocuments(mesh.files('')).documents)
  for (const workload of mesh.workloads) {
    const names = new Set(mesh.names(workload))
    assert.equal(names.size, 32)
    for (const name of names) assert.ok(cache.get(name) !== undefined, `${name} of ${workload.name}`)
  }
})

test('each kind of change changes one resource that says its number', () => {
  const read = resourceReader()
  const { documents } = loadDocuments(mesh.files(''))
  const workload = mesh.workloads[33]!
  const edits = [
    [mesh.route(0, 7), `service/${keyOf(0)}`],
    [mesh.endpoints(workload.service, 8), `endpoints/${keyOf(workload.service)}`],
    [mesh.guard(workload, 9), `workload/${workload.namespace}/${workload.name}`],
  ] as const
  for (const [at, [text, name]] of edits.entries()) {
    const cache = new SnapshotCache(settings)
    cache.setDocuments(documents)
    const changed: string[] = []
    cache.subscribe((names) => changed.push(...names))
    cache.setDocuments([...loadDocuments([{ path: 'x.yaml', text }]).documents, ...documents])
    // An endpoint has an address of its own, which says the same.
    assert.deepEqual(
      changed.filter((one) => !one.startsWith('address/')),
      [name],
    )
    assert.equal(read(cache.get(name)!.bytes).mark, 7 + at)
  }
})

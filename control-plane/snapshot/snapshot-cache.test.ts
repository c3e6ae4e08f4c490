import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { ResourceSchema } from '../../src/api/gen/outrigger_pb.ts'
import { SnapshotCache } from './snapshot-cache.ts'

const settings = {
  trustDomain: 'mesh.test',
  trustBundle: 'roots',
  clusterDomain: 'cluster.local',
  outboundPolicy: 'ALLOW_ANY',
} as const

const service = (name: string, port = 80) => `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{port: ${port}}]}
---`

function documents(...texts: string[]) {
  return loadDocuments([{ path: 'x.yaml', text: texts.join('\n') || '# none' }]).documents
}

function watched(cache: SnapshotCache): string[][] {
  const changes: string[][] = []
  cache.subscribe((changed) => changes.push([...changed].sort()))
  return changes
}

test('nothing is there before the first documents', () => {
  const cache = new SnapshotCache(settings)
  assert.equal(cache.synced, false)
  assert.equal(cache.revision, 0n)
  cache.setSettings({ ...settings, trustBundle: 'new' })
  assert.equal(cache.get('mesh'), undefined)
  cache.setDocuments([])
  assert.equal(cache.synced, true)
  assert.equal(cache.revision, 1n)
  assert.deepEqual([...cache.names()], ['mesh'])
})

test('an entry decodes to its name, version and body', () => {
  const cache = new SnapshotCache(settings)
  cache.setDocuments(documents(service('a')))
  const entry = cache.get('service/shop/a')
  const resource = fromBinary(ResourceSchema, entry!.bytes)
  assert.equal(resource.name, 'service/shop/a')
  assert.equal(resource.version, entry!.version)
  assert.match(resource.version, /^[0-9a-f]{16}$/)
  assert.equal(resource.body.case === 'service' && resource.body.value.name, 'a')
  assert.equal(cache.get('service/shop/none'), undefined)
})

test('listeners hear what changed, and only that', () => {
  const cache = new SnapshotCache(settings)
  cache.setDocuments(documents(service('a'), service('b')))
  const changes = watched(cache)
  const kept = cache.get('service/shop/a')
  cache.setDocuments(documents(service('a'), service('b', 81)))
  assert.deepEqual(changes, [['address/10.0.0.1:81', 'service/shop/b']])
  assert.equal(cache.revision, 2n)
  assert.equal(cache.get('service/shop/a'), kept, 'an unchanged resource keeps its identity, and so its bytes')
})

test('the same documents again are no change', () => {
  const cache = new SnapshotCache(settings)
  cache.setDocuments(documents(service('a')))
  const changes = watched(cache)
  cache.setDocuments(documents('# a comment moves every line', service('a')))
  assert.deepEqual(changes, [])
  assert.equal(cache.revision, 1n)
})

test('what is gone is a change, and answers undefined', () => {
  const cache = new SnapshotCache(settings)
  cache.setDocuments(documents(service('a')))
  const changes = watched(cache)
  cache.setDocuments(documents())
  assert.deepEqual(changes, [['address/10.0.0.1:80', 'endpoints/shop/a', 'service/shop/a']])
  assert.equal(cache.get('service/shop/a'), undefined)
})

test('a version is the same in another process, and another content has another one', () => {
  const [one, two, three] = [new SnapshotCache(settings), new SnapshotCache(settings), new SnapshotCache(settings)]
  one.setDocuments(documents(service('a'), service('b')))
  two.setDocuments(documents(service('b'), service('a')))
  three.setDocuments(documents(service('a', 81)))
  assert.equal(one.get('service/shop/a')!.version, two.get('service/shop/a')!.version)
  assert.notEqual(one.get('service/shop/a')!.version, three.get('service/shop/a')!.version)
})

test('new settings change the mesh alone, a new trust domain the identities too', () => {
  const cache = new SnapshotCache(settings)
  const pod = `
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, labels: {outrigger.dev/inject: "true"}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a, namespace: shop, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.1.0.1], targetRef: {name: a}}]`
  cache.setDocuments(documents(service('a'), pod))
  const changes = watched(cache)
  cache.setSettings({ ...settings, trustBundle: 'old and new' })
  cache.setSettings({ ...settings, trustBundle: 'old and new', trustDomain: 'other.test' })
  assert.deepEqual(changes, [['mesh'], ['address/10.1.0.1:80', 'endpoints/shop/a', 'mesh']])
})

test('a disposed listener hears nothing', () => {
  const cache = new SnapshotCache(settings)
  const changes: unknown[] = []
  cache.subscribe((changed) => changes.push(changed))[Symbol.dispose]()
  cache.setDocuments([])
  assert.deepEqual(changes, [])
})

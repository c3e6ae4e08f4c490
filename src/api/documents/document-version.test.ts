import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentVersion } from './document-version.ts'

const document = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'a', labels: { x: '1', y: '2' } },
  spec: { ports: [1, 2] },
}

test('the generation counts where there is one', () => {
  assert.equal(documentVersion({ ...document, metadata: { name: 'a', generation: 7 } }), '7')
})

test('otherwise a hash: what the document says counts, its order and what the API server notes do not', () => {
  const version = documentVersion(document)
  assert.match(version, /^[0-9a-f]{8}$/)
  const { metadata, spec } = document
  const reordered = {
    spec,
    metadata: { labels: { y: '2', x: '1' }, name: 'a', resourceVersion: '9' },
    kind: 'Service',
    apiVersion: 'v1',
    status: { a: 1 },
  }
  assert.equal(documentVersion(reordered), version)
  assert.notEqual(documentVersion({ ...document, spec: { ports: [2, 1] } }), version)
  assert.notEqual(documentVersion({ ...document, metadata: { ...metadata, labels: { x: '1' } } }), version)
  assert.equal(documentVersion({ ...document, metadata: { ...metadata, generation: 0 } }), version)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RealMesh } from '../support/real-mesh.ts'
import { rollingRestarts } from '../support/rolling-restarts.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`

test('F27: 0 of 20,000 requests are lost over 20 restarts', { timeout: 1_200_000 }, async () => {
  await using mesh = await RealMesh.start(policies)
  const answered = await rollingRestarts(mesh, { turns: 20, requests: 20_000 })
  assert.ok(answered >= 20_000)
})

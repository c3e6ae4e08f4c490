/** The list of hostile requests against running sidecars: outbound in plaintext, inbound in plaintext (PERMISSIVE) and over mTLS. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { Connector } from '../../src/upstream/connect.ts'
import { judge } from '../attack/judge.ts'
import { type Vector, vectors } from '../attack/vectors.ts'
import { credentialsOf, Mesh } from '../support/mesh.ts'
import { converse, Recording } from '../support/raw.ts'

/** What a proved peer may say and a stranger may not. */
const fromProvedPeer = new Set([
  'nominating our own',
  'reserved fields are dropped',
  'who the peer is, said by the peer',
  'who the peer is, in trailers',
])

/** The vectors name their host `app.test`: so does the mesh, to the byte. */
const serviceOnPort80 = (address: string): string => `apiVersion: v1
kind: Service
metadata: { name: app, namespace: test }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: app, namespace: test, labels: { kubernetes.io/service-name: app } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints:
  - { addresses: [${address}], targetRef: { kind: Pod, name: server }, conditions: { ready: true } }
`

describe('sidecars against hostile requests', () => {
  let mesh: Mesh
  const recording = new Recording()
  before(async () => {
    mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'server', tcp: recording.accept }] })
    await mesh.addDocument('app.yaml', serviceOnPort80(mesh.get('server').address))
  })
  after(() => mesh[Symbol.asyncDispose]())

  /** All of them are tried before it is said which fail. */
  async function tryAll(list: readonly Vector[], open: () => Promise<net.Socket>) {
    const problems: string[] = []
    for (const vector of list) {
      recording.clear()
      const got = await converse(await open(), vector.bytes)
      try {
        judge(vector, got, recording, vector.sidecar ?? vector.verdict)
        if (vector.verdict !== 'served') assert.match(got.text, /x-outrigger-reason: [A-Z_]+; by=test\//i, vector.name)
      } catch (error) {
        problems.push(String(error))
      }
    }
    assert.deepEqual(problems, [])
  }

  it('inbound in plaintext under PERMISSIVE', async () => {
    const { address } = mesh.get('server')
    await tryAll(vectors, async () => net.connect(8080, address))
  })

  it('outbound in plaintext', async () => {
    const { outbound } = mesh.get('client')
    await tryAll(
      // CONNECT is served on this listener.
      vectors.filter(({ name }) => !name.startsWith('CONNECT')),
      async () => net.connect(outbound.port, outbound.host),
    )
  })

  it('inbound over mTLS, from a peer of the mesh that turned hostile', async () => {
    const { address } = mesh.get('server')
    const credentials = credentialsOf(mesh.get('client'))
    const connector = new Connector(systemClock, new Live<Credentials | undefined>(credentials))
    const to = { key: 'server', address, port: 8080, identity: 'spiffe://cluster.local/ns/test/sa/server' }
    await tryAll(
      vectors.filter(({ name }) => !fromProvedPeer.has(name)),
      async () => {
        const socket = await connector.dial(to, { inside: 'outrigger/http1', timeoutMs: 2_000 })
        assert.ok(socket instanceof tls.TLSSocket)
        return socket
      },
    )
  })
})

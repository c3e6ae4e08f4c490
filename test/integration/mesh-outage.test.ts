/** The mesh without its control plane: what runs goes on, what starts comes up on what lies on disk. */
import assert from 'node:assert/strict'
import type http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import { call, Mesh } from '../support/mesh.ts'

const strict = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`
const spec = {
  workloads: [
    { name: 'client' },
    { name: 'server', app: (_req: http.IncomingMessage, res: http.ServerResponse) => void res.end('ok') },
    { name: 'other', app: (_req: http.IncomingMessage, res: http.ServerResponse) => void res.end('other') },
  ],
  policies: strict,
}

describe('control plane outage', () => {
  it('traffic with new connections goes on, and all is in sync again after a restart', async () => {
    await using mesh = await Mesh.start(spec)
    const client = mesh.get('client')
    assert.equal((await call(client, 'http://server:8080/')).status, 200)
    await mesh.stopControlPlane()
    for (let i = 0; i < 200; i++) assert.equal((await call(client, 'http://server:8080/')).status, 200)
    await mesh.startControlPlane()
    await mesh.settled()
    assert.equal((await call(client, 'http://other:8080/')).status, 200)
  })

  it('a service that was never called is refused with a reason of its own', async () => {
    await using mesh = await Mesh.start(spec)
    await call(mesh.get('client'), 'http://server:8080/')
    await mesh.stopControlPlane()
    const answer = await call(mesh.get('client'), 'http://other:8080/')
    assert.equal(answer.status, 503)
    assert.match(String(answer.headers['x-outrigger-reason']), /^POLICY_UNAVAILABLE; /)
    await mesh.startControlPlane()
    await mesh.settled()
  })

  it('a sidecar that starts during the outage serves STRICT on its last good policy and its certificate from disk', async () => {
    await using mesh = await Mesh.start(spec)
    const client = mesh.get('client')
    const server = mesh.get('server')
    assert.equal((await call(client, 'http://server:8080/')).status, 200)
    await mesh.stopControlPlane()
    await server.restart()
    await client.restart()
    await mesh.ready()
    assert.equal((await call(client, 'http://server:8080/')).status, 200)
    // STRICT still holds: plaintext gets nothing.
    const seen = server.seen
    const socket = net.connect(8080, server.address)
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    await new Promise((resolve) => socket.on('close', resolve))
    assert.equal(text, '')
    assert.equal(server.seen, seen)
    await mesh.startControlPlane()
    await mesh.settled()
  })
})

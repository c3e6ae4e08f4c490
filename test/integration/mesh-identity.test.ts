/** Who may speak to whom: mTLS modes, wrong certificates, rotation. Every refusal leaves the application without a byte. */
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import tls from 'node:tls'
import { Authority } from '../../control-plane/identity/authority.ts'
import { systemClock } from '../../src/base/clock.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { newPrivateKeyPem, signingRequest } from '../../src/identity/signing-request.ts'
import { temporaryFolder } from '../support/control.ts'
import { call, credentialsOf, Mesh, type RunningWorkload } from '../support/mesh.ts'

const mode = (value: string, ports = ''): string => `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec:
  mtls: { mode: ${value} }
  ${ports}
`
const workloads = [
  { name: 'client' },
  { name: 'server', app: (_req: http.IncomingMessage, res: http.ServerResponse) => void res.end('ok') },
]

/** What a plaintext client gets: the response, or '' if the connection was refused. */
async function plaintext(to: RunningWorkload): Promise<string> {
  const socket = net.connect(8080, to.address)
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n')
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  await new Promise((resolve) => socket.on('close', resolve))
  return text
}

/** What a TLS client with this certificate gets. */
async function withCertificate(to: RunningWorkload, options: tls.ConnectionOptions): Promise<string> {
  const socket = tls.connect({
    host: to.address,
    port: 8080,
    ALPNProtocols: ['outrigger/http1'],
    rejectUnauthorized: false,
    ...options,
  })
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n')
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  await new Promise((resolve) => socket.on('close', resolve))
  return text
}

describe('mTLS', () => {
  it('STRICT refuses plaintext, PERMISSIVE serves it, meshed traffic does not notice', async () => {
    await using mesh = await Mesh.start({ workloads, policies: mode('STRICT') })
    const server = mesh.get('server')
    assert.equal(await plaintext(server), '')
    assert.equal(server.seen, 0)
    assert.equal((await call(mesh.get('client'), 'http://server:8080/')).status, 200)
    await mesh.setPolicies(mode('PERMISSIVE'))
    assert.match(await plaintext(server), /^HTTP\/1\.1 200 /)
    assert.equal((await call(mesh.get('client'), 'http://server:8080/')).status, 200)
    await mesh.setPolicies(
      mode('PERMISSIVE', 'selector: { matchLabels: { app: server } }\n  portLevelMtls: { 8080: { mode: STRICT } }'),
    )
    assert.equal(await plaintext(server), '')
  })

  it('speaks TLS 1.3 only, and asks every client for its certificate', async () => {
    await using mesh = await Mesh.start({ workloads, policies: mode('STRICT') })
    const server = mesh.get('server')
    assert.equal(await withCertificate(server, {}), '', 'no certificate')
    const own = credentialsOf(mesh.get('client'))
    const good = { key: own.privateKeyPem, cert: own.certificateChainPem }
    assert.match(await withCertificate(server, good), /^HTTP\/1\.1 200 /)
    assert.equal(await withCertificate(server, { ...good, maxVersion: 'TLSv1.2' }), '', 'TLS 1.2')
    assert.equal(server.seen, 1)
  })

  it('a certificate of another authority, or of another trust domain of the same root, reaches nothing', async () => {
    await using mesh = await Mesh.start({ workloads, policies: mode('STRICT') })
    const server = mesh.get('server')
    for (const trustDomain of ['cluster.local', 'evil.test']) {
      using folder = temporaryFolder()
      using state = StateFolder.open(folder.path)
      const foreign = await Authority.open({ clock: systemClock, state, trustDomain, certificateLifetimeMs: 3_600_000 })
      const key = await newPrivateKeyPem()
      const id = { trustDomain, namespace: 'test', serviceAccount: 'client' }
      const { certificateChainPem } = await foreign.signRequest(signingRequest(key), id)
      assert.equal(await withCertificate(server, { key, cert: certificateChainPem }), '', trustDomain)
    }
    assert.equal(server.seen, 0)
  })

  it('the caller refuses a peer that is not who the control plane says it is', async () => {
    await using mesh = await Mesh.start({
      workloads,
      policies: `apiVersion: v1
kind: Service
metadata: { name: masked, namespace: test }
spec: { ports: [{ name: http, port: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: masked, namespace: test, labels: { outrigger.dev/inject: "true" } }
spec: { serviceAccountName: masked }
`,
    })
    const server = mesh.get('server')
    // The document says that "masked" listens where "server" does.
    await mesh.addDocument(
      'masked.yaml',
      `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: masked, namespace: test, labels: { kubernetes.io/service-name: masked } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [${server.address}], targetRef: { kind: Pod, name: masked } }]
`,
    )
    const answer = await call(mesh.get('client'), 'http://masked:8080/')
    assert.equal(answer.status, 503)
    assert.match(String(answer.headers['x-outrigger-reason']), /^UPSTREAM_IDENTITY; /)
    assert.equal(server.seen, 0)
  })

  it('rotates certificates under load without a failed request or a dropped connection', async () => {
    await using mesh = await Mesh.start({
      workloads,
      policies: mode('STRICT'),
      controlPlane: { certificateLifetimeMs: 4_000 },
    })
    const client = mesh.get('client')
    const first = credentialsOf(client).certificateChainPem
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
    let requests = 0
    const sockets = new Set<unknown>()
    agent.on('free', (socket) => sockets.add(socket))
    while (
      credentialsOf(client).certificateChainPem === first ||
      credentialsOf(mesh.get('server')).certificateChainPem === first ||
      requests < 200
    ) {
      const answer = await call(client, 'http://server:8080/', { agent })
      assert.equal(answer.status, 200, String(answer.headers['x-outrigger-reason']))
      assert.equal((await call(client, 'http://server:8080/')).status, 200)
      requests += 2
    }
    agent.destroy()
    assert.equal(sockets.size, 1, 'the kept connection stayed')
  })
})

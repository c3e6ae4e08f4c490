/** Certificates, sessions and greetings that a sidecar must not be taken in by, on the wire (rows 33, 34 and 35). */
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { authorityFiles } from '../../control-plane/identity/authority.ts'
import { clientHello, serverNames } from '../attack/client-hello.ts'
import { RecordingApp } from '../support/attack-lanes.ts'
import {
  badCertificates,
  type CertificateIssuer,
  type CertificateRecipe,
  certificateOf,
  goodCertificates,
  newKeys,
  signingKey,
} from '../support/certificate-recipes.ts'
import { call, credentialsOf, Mesh } from '../support/mesh.ts'
import { readUntil } from '../support/raw.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`
const request = 'GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n'
const idOf = (account: string): string => `spiffe://cluster.local/ns/test/sa/${account}`

describe('TLS of running sidecars', () => {
  const app = new RecordingApp()
  let mesh: Mesh
  /** The mesh's own authority, which has lost its mind. */
  let root: CertificateIssuer
  let rootPem: string
  before(async () => {
    mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'app', tcp: app.serve }], policies })
    const folder = join(mesh.folder, 'control-plane')
    rootPem = readFileSync(join(folder, authorityFiles.root), 'utf8')
    root = await issuerOf(rootPem, readFileSync(join(folder, authorityFiles.key), 'utf8'))
  })
  after(() => mesh[Symbol.asyncDispose]())

  /** What a client that shows this gets of the application. */
  async function withCertificate(options: tls.ConnectionOptions): Promise<string> {
    const socket = tls.connect({
      host: mesh.get('app').address,
      port: 8080,
      ALPNProtocols: ['outrigger/http1'],
      rejectUnauthorized: false,
      ...options,
    })
    socket.on('error', () => {})
    socket.write(request)
    return (await readUntil(socket, /^$/)).text
  }

  for (const alpn of ['outrigger/http1', 'outrigger/tcp']) {
    it(`a client with a bad certificate that the mesh's own root has signed gets nothing (${alpn})`, async () => {
      const keys = await newKeys()
      const key = await privatePem(keys.privateKey)
      const present = async (recipe: CertificateRecipe): Promise<string> => {
        const der = await certificateOf(recipe, idOf('client'), keys.publicKey, root, Date.now())
        return withCertificate({ key, cert: pemOf(der), ALPNProtocols: [alpn] })
      }
      const kinds = badCertificates(idOf('client'), Date.now()).filter(({ of }) => of !== 'server')
      assert.ok(kinds.length >= 20)
      for (const { what, recipe } of kinds) assert.equal(await present(recipe), '', what)
      assert.equal(app.take(), '', 'no byte to the application')
      for (const { what, recipe } of goodCertificates(idOf('client')).filter(({ of }) => of !== 'server'))
        assert.match(await present(recipe), /^HTTP\/1\.1 200 /, what)
      app.take()
    })
  }

  it('nor does one whose certificate leads elsewhere, or nowhere', async () => {
    const keys = await newKeys()
    const key = await privatePem(keys.privateKey)
    const own = credentialsOf(mesh.get('client'))
    const stranger: CertificateIssuer = { name: root.name, key: (await newKeys()).privateKey }
    const leaf = await issuerOf(own.certificateChainPem, own.privateKeyPem)
    const issued = async (issuer: CertificateIssuer): Promise<string> =>
      pemOf(await certificateOf({}, idOf('client'), keys.publicKey, issuer, Date.now()))
    const kinds: Record<string, tls.ConnectionOptions> = {
      'no certificate': {},
      'another root of the same name': { key, cert: await issued(stranger) },
      'signed by itself': { key, cert: await issued({ name: '', key: keys.privateKey }) },
      'signed by a workload': { key, cert: `${await issued(leaf)}\n${own.certificateChainPem}` },
      'TLS 1.2': { key: own.privateKeyPem, cert: own.certificateChainPem, maxVersion: 'TLSv1.2' },
    }
    for (const [what, options] of Object.entries(kinds)) assert.equal(await withCertificate(options), '', what)
    assert.equal(app.take(), '')
  })

  it('a server with a bad certificate gets no byte of a request', async () => {
    const keys = await newKeys()
    const key = await privatePem(keys.privateKey)
    let received = ''
    const server = tls.createServer({ ALPNProtocols: ['outrigger/http1'], minVersion: 'TLSv1.3' }, (socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1')
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      })
    })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      await mesh.addDocument('masked.yaml', maskedService((server.address() as AddressInfo).port))
      const present = async (recipe: CertificateRecipe) => {
        const der = await certificateOf(recipe, idOf('masked'), keys.publicKey, root, Date.now())
        server.setSecureContext({ key, cert: pemOf(der) })
        return call(mesh.get('client'), 'http://masked:8080/')
      }
      for (const { what, recipe } of badCertificates(idOf('masked'), Date.now())) {
        if (what.endsWith('of a client')) continue
        const { status, headers } = await present(recipe)
        assert.equal(status, 503, what)
        assert.match(String(headers['x-outrigger-reason']), /^UPSTREAM_(?:TLS|IDENTITY); /, what)
      }
      assert.equal(received, '')
      assert.equal((await present({})).status, 200, 'and one that is right is served')
    } finally {
      server.close()
    }
  })

  it('no session is resumed: every connection proves itself (CVE-2022-21654)', async () => {
    const own = credentialsOf(mesh.get('client'))
    const options = {
      host: mesh.get('app').address,
      port: 8080,
      ALPNProtocols: ['outrigger/http1'],
      rejectUnauthorized: false,
      key: own.privateKeyPem,
      cert: own.certificateChainPem,
    }
    const first = tls.connect(options)
    const sessions: Buffer[] = []
    first.on('session', (session: Buffer) => sessions.push(session))
    first.write(request)
    assert.match((await readUntil(first, /ok$/)).text, /^HTTP\/1\.1 200 /)
    const offered = [...sessions, first.getSession()].filter((session) => session !== undefined)
    assert.ok(offered.length > 0)
    for (const session of offered) {
      const second = tls.connect({ ...options, session })
      await once(second, 'secureConnect')
      assert.equal(second.isSessionReused(), false)
      second.write(request)
      assert.match((await readUntil(second, /ok$/)).text, /^HTTP\/1\.1 200 /)
    }
    app.take()
  })

  it('whatever a greeting says whom it is for, the sidecar lives and the application hears nothing', async () => {
    const { address } = mesh.get('app')
    const greet = async (hello: Buffer): Promise<void> => {
      const socket = net.connect(8080, address)
      socket.on('error', () => {})
      socket.write(hello)
      // A good one is answered; then it stops, as a scanner does.
      await readUntil(socket, /[\s\S]/)
    }
    for (const [, names] of serverNames) await greet(clientHello(names))
    const before = process.memoryUsage().rss
    for (let round = 0; round < 8; round++) await Promise.all(serverNames.map(([, names]) => greet(clientHello(names))))
    const grown = process.memoryUsage().rss - before
    assert.ok(
      grown < 64 * 1024 * 1024,
      `${Math.round(grown / 1024 / 1024)} MiB after ${8 * serverNames.length} greetings`,
    )
    assert.equal(app.take(), '')
    assert.equal((await call(mesh.get('client'), 'http://app:8080/')).status, 200)
  })
})

async function issuerOf(certificatePem: string, keyPem: string): Promise<CertificateIssuer> {
  return { name: new X509Certificate(certificatePem).subject ?? '', key: await signingKey(keyPem) }
}

function pemOf(der: Buffer): string {
  return new X509Certificate(der).toString()
}

async function privatePem(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
}

/** A Service of the mesh whose one endpoint is somebody else. */
function maskedService(port: number): string {
  return `apiVersion: v1
kind: Service
metadata: { name: masked, namespace: test }
spec: { ports: [{ name: http, port: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: masked, namespace: test, labels: { outrigger.dev/inject: "true" } }
spec: { serviceAccountName: masked }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: masked, namespace: test, labels: { kubernetes.io/service-name: masked } }
addressType: IPv4
ports: [{ name: http, port: ${port} }]
endpoints: [{ addresses: [127.0.0.1], targetRef: { kind: Pod, name: masked } }]
`
}

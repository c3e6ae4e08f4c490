/** TLS of the application's own: relayed by the server name that it asks for, read by nobody on the way. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { hello, realHello, records, serverNames } from '../support/client-hellos.ts'
import { eventually } from '../support/control.ts'
import { Mesh, type RunningWorkload } from '../support/mesh.ts'
import { selfSigned } from '../support/self-signed.ts'
import { openClient, type RawClient } from '../support/upstream.ts'

const strict = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: test }
spec: { mtls: { mode: STRICT } }
`
const unrecognizedName = Buffer.from([0x15, 3, 3, 0, 2, 2, 112]).toString('latin1')

/** A ServerHello has come: somebody has read the ClientHello to its end. */
const answered = (raw: RawClient): Promise<void> =>
  eventually(() => raw.text().startsWith('\x16\x03\x03'), 'a ServerHello comes')

describe('TLS passthrough', { timeout: 60_000 }, () => {
  let mesh: Mesh
  let client: RunningWorkload
  let certificate: { key: string; cert: string }
  let server: tls.Server
  before(async () => {
    certificate = await selfSigned('secure.test')
    server = tls.createServer({ ...certificate, ALPNProtocols: ['h2', 'http/1.1'], allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {})
      socket.write(`${socket.servername || 'nobody'} by ${socket.alpnProtocol || 'nothing'}: `)
      socket.pipe(socket)
    })
    const secure = { portName: 'tls', tcp: (socket: net.Socket) => void server.emit('connection', socket) }
    mesh = await Mesh.start({
      workloads: [
        { name: 'client', env: { OUTRIGGER_UPSTREAM: '127.0.0.1:0=plain:8080' } },
        { name: 'secure', ...secure },
        { name: 'plain', app: (_req, res) => void res.end('ok') },
      ],
      policies: strict,
    })
    client = mesh.get('client')
  })
  after(async () => {
    await mesh[Symbol.asyncDispose]()
    server.close()
  })

  const open = (options: tls.ConnectionOptions): tls.TLSSocket =>
    tls.connect({ ...client.outbound, ca: certificate.cert, checkServerIdentity: () => undefined, ...options })

  /** All that comes back from a TLS client that says `more` and ends; rejects if it is refused. */
  async function said(options: tls.ConnectionOptions, more = 'hello'): Promise<string> {
    const socket = open(options)
    socket.end(more)
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    return text
  }

  const refused = async (): Promise<Record<string, number>> => {
    const text = await (await fetch(`${client.metrics}/metrics`)).text()
    const lines = text.matchAll(/^outrigger_downstream_refused_total\{[^}]*code="(\w+)"[^}]*\} (\d+)$/gm)
    return Object.fromEntries([...lines].map(([, code, count]) => [code, Number(count)]))
  }

  it('reaches the Service of that name, which ends TLS itself: certificate, ALPN, bytes and half-close are its own', async () => {
    assert.equal(await said({ servername: 'secure' }), 'secure by nothing: hello')
    assert.equal(await said({ servername: 'secure', ALPNProtocols: ['h2'] }), 'secure by h2: hello')
    assert.equal(await said({ servername: 'secure', maxVersion: 'TLSv1.2' }), 'secure by nothing: hello')
    const socket = open({ servername: 'secure' })
    await once(socket, 'secureConnect')
    const shown = socket.getPeerX509Certificate()
    assert.equal(shown?.subject, 'CN=secure.test')
    socket.destroy()
  })

  it('reads names as it reads Host', async () => {
    for (const servername of ['secure.test', 'secure.test.svc', 'SECURE.test.svc.cluster.local']) {
      assert.equal(await said({ servername }), `${servername} by nothing: hello`)
    }
  })

  it('takes a ClientHello in any pieces', async () => {
    const whole = await realHello({ servername: 'secure' })
    const inRecords = records(whole.subarray(5), 40)
    for (const [what, bytes] of [
      ['bytes', whole],
      ['records', inRecords],
    ] as const) {
      using raw = await openClient(client.outbound)
      for (const byte of bytes) {
        raw.socket.write(Buffer.from([byte]))
        if (what === 'bytes') await new Promise((resolve) => setImmediate(resolve))
      }
      await answered(raw)
    }
  })

  it('a large transfer is whole', async () => {
    const sent = 'x'.repeat(8 * 1024 * 1024)
    assert.equal((await said({ servername: 'secure' }, sent)).length, 'secure by nothing: '.length + sent.length)
  })

  const unknown: [what: string, bytes: () => Buffer, code: string][] = [
    ['a name that no Service has', () => records(hello([serverNames('unknown.example')])), 'UNKNOWN_DESTINATION'],
    ['a Service that is not there', () => records(hello([serverNames('absent.test')])), 'UNKNOWN_DESTINATION'],
    ['no name', () => records(hello([])), 'UNKNOWN_DESTINATION'],
    ['a Service without TLS', () => records(hello([serverNames('plain')])), 'NO_ROUTE'],
  ]
  for (const [what, bytes, code] of unknown) {
    it(`${what}: refused in words of TLS, and counted`, async () => {
      const before = (await refused())[code] ?? 0
      using raw = await openClient(client.outbound)
      raw.socket.write(bytes())
      assert.equal(await raw.ended, 'end')
      assert.equal(raw.text(), unrecognizedName)
      assert.equal((await refused())[code], before + 1)
    })
  }

  it('a client of OpenSSL says what is wrong', async () => {
    await assert.rejects(said({ servername: 'unknown.example' }), /unrecognized name/)
    await assert.rejects(said({}), /unrecognized name/)
  })

  it('nonsense is reset, and nobody gets a byte', async () => {
    const [secure, plain] = [mesh.get('secure').seen, mesh.get('plain').seen]
    const nonsense = [
      records(hello([serverNames('secure'), serverNames('plain')])),
      records(hello([serverNames('secure\0.test')])),
      records(hello([serverNames('10.0.0.1')])),
      Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0]),
      Buffer.from([0x16, 3, 1, 0, 0]),
      Buffer.from([0x16, ...Buffer.from('GET / HTTP/1.1\r\nHost: plain\r\n\r\n')]),
    ]
    for (const bytes of nonsense) {
      using raw = await openClient(client.outbound)
      raw.socket.write(bytes)
      assert.equal(await raw.ended, 'reset')
      assert.equal(raw.text(), '')
    }
    assert.deepEqual([mesh.get('secure').seen, mesh.get('plain').seen], [secure, plain])
  })

  it('TLS behind a request, or to a port that is for one Service, is no request', async () => {
    const bytes = records(hello([serverNames('secure')])).toString('latin1')
    using raw = await openClient(client.outbound)
    raw.socket.write('GET / HTTP/1.1\r\nHost: plain:8080\r\n\r\n')
    await raw.seen(/ok$/)
    raw.socket.write(bytes, 'latin1')
    await raw.seen(/HTTP\/1\.1 400 /)
    using fixed = await openClient(client.running.addresses.get('upstream0')!)
    fixed.socket.write(bytes, 'latin1')
    await fixed.seen(/^HTTP\/1\.1 400 /)
  })

  it('HTTP and CONNECT go on as before', async () => {
    using raw = await openClient(client.outbound)
    raw.socket.write('CONNECT secure:8080 HTTP/1.1\r\nHost: secure:8080\r\n\r\n')
    await raw.seen(/^HTTP\/1\.1 200 Connection established\r\n\r\n$/)
    const socket = tls.connect({ socket: raw.socket, servername: 'inside', rejectUnauthorized: false })
    assert.match(String((await once(socket, 'data'))[0]), /^inside by nothing/)
  })
})

describe('TLS of the application from outside the mesh', { timeout: 60_000 }, () => {
  const mesh = async (policies?: string): Promise<Mesh> => {
    const certificate = await selfSigned('secure.test')
    const server = tls.createServer(certificate, (socket) => {
      socket.on('error', () => {})
      socket.end(`for ${socket.servername || 'nobody'}`)
    })
    const tcp = (socket: net.Socket): void => void server.emit('connection', socket)
    return Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'secure', portName: 'tls', tcp },
        { name: 'loose', portName: 'any', tcp },
        { name: 'web', app: (_req, res) => void res.end('ok') },
      ],
      ...(policies !== undefined && { policies }),
    })
  }
  const outside = async (to: RunningWorkload, options: tls.ConnectionOptions = {}): Promise<string> => {
    const socket = tls.connect({ host: to.address, port: 8080, rejectUnauthorized: false, ...options })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += String(chunk)
    })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('close', resolve))
    return text
  }

  it('PERMISSIVE: reaches the application, beside the mTLS of sidecars', async () => {
    await using running = await mesh()
    for (const name of ['secure', 'loose']) {
      assert.equal(await outside(running.get(name), { servername: 'a.test' }), 'for a.test', name)
      assert.equal(await outside(running.get(name), { ALPNProtocols: ['h2'] }), 'for nobody', name)
      using raw = await openClient(running.get('client').outbound)
      raw.socket.write(`CONNECT ${name}:8080 HTTP/1.1\r\nHost: ${name}:8080\r\n\r\n`)
      await raw.seen(/^HTTP\/1\.1 200 Connection established\r\n\r\n$/)
      const inside = tls.connect({ socket: raw.socket, servername: 'inside.test', rejectUnauthorized: false })
      assert.equal(String((await once(inside, 'data'))[0]), 'for inside.test', name)
    }
    assert.equal(await outside(running.get('web')), '', 'a port that is declared HTTP has no TLS of its own')
    // In pieces, and cut short.
    const whole = await realHello({ servername: 'a.test' })
    using raw = await openClient({ host: running.get('secure').address, port: 8080 })
    for (const byte of whole) {
      raw.socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await answered(raw)
    const before = running.get('secure').seen
    using cut = await openClient({ host: running.get('secure').address, port: 8080 })
    cut.socket.end(whole.subarray(0, 100))
    await eventually(() => running.get('secure').seen === before + 1, 'what to make of it is for the application')
  })

  it('has no identity: policy by identity and STRICT refuse it', async () => {
    await using running = await mesh(`apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: mesh-only, namespace: test }
spec: { rules: [{ from: [{ namespaces: [test] }] }] }
`)
    for (const name of ['secure', 'loose']) assert.equal(await outside(running.get(name)), '', name)
    await running.setPolicies(strict)
    for (const name of ['secure', 'loose']) assert.equal(await outside(running.get(name)), '', name)
    assert.deepEqual([running.get('secure').seen, running.get('loose').seen], [0, 0])
  })
})

describe('TLS passthrough, ALLOW_ANY', () => {
  it('a name of this machine is no way into it', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client' }],
      controlPlane: { outboundPolicy: 'ALLOW_ANY' },
    })
    using raw = await openClient(mesh.get('client').outbound)
    raw.socket.write(records(hello([serverNames('localhost')])))
    assert.equal(await raw.ended, 'end')
    assert.equal(raw.text(), unrecognizedName)
  })
})

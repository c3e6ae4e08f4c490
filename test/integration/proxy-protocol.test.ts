/** Whose connection it is, by PROXY protocol: believed from whom a policy names, required there, and bytes from anybody else. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { call, credentialsOf, Mesh, type RunningWorkload } from '../support/mesh.ts'
import { binary, tcp4 } from '../support/proxy-headers.ts'

const balancer = '127.0.0.9'
const stranger = '127.0.0.8'
const line = (client: string): string => `PROXY TCP4 ${client} 127.0.0.1 50000 80\r\n`
const request = 'GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n'

const peers = (app: string, mode: string, port = 8080): string => `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: ${app}, namespace: test }
spec:
  selector: { matchLabels: { app: ${app} } }
  mtls: { mode: ${mode} }
  proxyProtocol: [{ ports: [${port}], from: ["${balancer}"] }]
`
const blocked = `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: blocked, namespace: test }
spec:
  action: DENY
  rules: [{ from: [{ ipBlocks: [203.0.113.0/24, 2001:db8::/32] }] }]
`

/** What comes back on a connection from `from` that sends these bytes; '' if it was reset. */
async function exchange(to: RunningWorkload, from: string, bytes: string | Buffer, end = false): Promise<string> {
  const socket = net.connect({ port: 8080, host: to.address, localAddress: from, allowHalfOpen: true })
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.on('end', () => socket.end())
  if (end) socket.end(bytes)
  else socket.write(bytes)
  await new Promise((resolve) => socket.once('close', resolve))
  return text
}

describe('PROXY protocol', () => {
  let mesh: Mesh
  let server: RunningWorkload
  let plain: RunningWorkload
  let tcp: RunningWorkload
  before(async () => {
    const app = (req: http.IncomingMessage, res: http.ServerResponse) =>
      void res.end(`for ${req.headers['x-forwarded-for'] ?? 'nobody'}`)
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'server', app },
        { name: 'plain', app },
        { name: 'tcp', portName: 'tcp', tcp: (socket) => void socket.pipe(socket) },
      ],
      policies: [peers('server', 'PERMISSIVE'), peers('tcp', 'PERMISSIVE'), blocked].join('---\n'),
    })
    server = mesh.get('server')
    plain = mesh.get('plain')
    tcp = mesh.get('tcp')
  })
  after(() => mesh[Symbol.asyncDispose]())

  /** The application saw nothing of what `send` sent. */
  async function unseen(workload: RunningWorkload, send: () => Promise<string>, what: string): Promise<void> {
    const before = workload.seen
    assert.equal(await send(), '', what)
    assert.equal(workload.seen, before, what)
  }

  it('names the client, to the application and to policy, in both versions', async () => {
    const answer = await exchange(server, balancer, line('198.51.100.7') + request)
    assert.match(answer, /^HTTP\/1\.1 200 [^]*for 198\.51\.100\.7$/)
    const two = Buffer.concat([tcp4('198.51.100.8', 50_000), Buffer.from(request)])
    assert.match(await exchange(server, balancer, two), /^HTTP\/1\.1 200 [^]*for 198\.51\.100\.8$/)
    const before = server.seen
    for (const client of ['TCP4 203.0.113.5 127.0.0.1', 'TCP6 2001:db8::5 ::1', 'TCP6 ::ffff:cb00:7105 ::1']) {
      const denied = await exchange(server, balancer, `PROXY ${client} 50000 80\r\n${request}`)
      assert.match(denied, /^HTTP\/1\.1 403 [^]*DENIED; policy=AuthorizationPolicy\/test\/blocked/, client)
    }
    assert.equal(server.seen, before)
  })

  it('what the client says of itself stands before what the load balancer says', async () => {
    const spoofed = request.replace('\r\n\r\n', '\r\nX-Forwarded-For: 10.1.1.1\r\nx-forwarded-for: 10.2.2.2\r\n\r\n')
    const answer = await exchange(server, balancer, line('198.51.100.7') + spoofed)
    assert.match(answer, /for 10\.1\.1\.1, 10\.2\.2\.2, 198\.51\.100\.7$/)
  })

  it('a connection of the load balancer itself is its own', async () => {
    for (const header of [binary(0x20, 0), binary(0x21, 0), Buffer.from('PROXY UNKNOWN\r\n')]) {
      const answer = await exchange(server, balancer, Buffer.concat([header, Buffer.from(request)]))
      assert.match(answer, /^HTTP\/1\.1 200 [^]*for nobody$/)
    }
  })

  it('is required from the load balancer, whole and well', async () => {
    for (const bytes of [request, line('1.2.3.04') + request, 'PROXY TCP4 1.2', `\x16\x03\x01\x00\x20\x01${request}`]) {
      await unseen(server, () => exchange(server, balancer, bytes, true), bytes)
    }
    const cut = tcp4('198.51.100.7', 1).subarray(0, 20)
    await unseen(server, () => exchange(server, balancer, cut, true), 'cut')
    await unseen(server, () => exchange(server, balancer, '', true), 'nothing, as a plain health check does')
    const stats = (await (await fetch(`${server.metrics}/metrics`)).text()).split('\n')
    const refused = stats.find((text) => /^outrigger_downstream_refused_total\{.*BAD_REQUEST/.test(text))
    assert.match(refused ?? '', / 5$/, 'each refusal is counted; the health check is none')
  })

  it('is bytes like any others from anybody else', async () => {
    const before = server.seen + plain.seen
    assert.match(await exchange(server, stranger, line('198.51.100.7') + request), /^HTTP\/1\.1 400 /)
    assert.match(await exchange(plain, balancer, line('198.51.100.7') + request), /^HTTP\/1\.1 400 /, 'no policy')
    const two = Buffer.concat([tcp4('198.51.100.8', 50_000), Buffer.from(request)])
    assert.match(await exchange(server, stranger, two), /^HTTP\/1\.1 400 /)
    // Twice: the second is the client's own.
    const twice = line('198.51.100.7') + line('127.0.0.1') + request
    assert.match(await exchange(server, balancer, twice), /^HTTP\/1\.1 400 /)
    assert.equal(server.seen + plain.seen, before)
    assert.match(await exchange(server, stranger, request), /^HTTP\/1\.1 200 [^]*for nobody$/)
  })

  it('on an opaque port: the header goes, the rest is relayed, byte by byte too', async () => {
    const header = line('198.51.100.7')
    assert.equal(await exchange(tcp, balancer, `${header}PROXY and more`, true), 'PROXY and more')
    assert.equal(await exchange(tcp, stranger, `${header}more`, true), `${header}more`, 'nobody believes it: relayed')
    await unseen(tcp, () => exchange(tcp, balancer, `${line('203.0.113.5')}more`, true), 'denied by its address')
    const socket = net.connect({ port: 8080, host: tcp.address, localAddress: balancer, noDelay: true })
    for (const char of `${header}slow`) {
      socket.write(char)
      await new Promise((resolve) => setImmediate(resolve))
    }
    let text = ''
    while (text.length < 4) text += String((await once(socket, 'data'))[0])
    assert.equal(text, 'slow')
    socket.destroy()
  })

  it('mesh peers go on as before, and mTLS can stand behind a header', async () => {
    await mesh.setPolicies([peers('server', 'STRICT'), blocked].join('---\n'))
    assert.equal((await call(mesh.get('client'), 'http://server:8080/')).status, 200)
    await unseen(server, () => exchange(server, balancer, line('198.51.100.7') + request), 'plaintext under STRICT')
    const own = credentialsOf(mesh.get('client'))
    const answer = async (client: string): Promise<string> => {
      const raw = net.connect({ port: 8080, host: server.address, localAddress: balancer })
      await once(raw, 'connect')
      raw.write(line(client))
      const socket = tls.connect({
        socket: raw,
        key: own.privateKeyPem,
        cert: own.certificateChainPem,
        rejectUnauthorized: false,
        ALPNProtocols: ['outrigger/http1'],
      })
      socket.write(request)
      let text = ''
      for await (const chunk of socket) text += String(chunk)
      return text
    }
    assert.match(await answer('198.51.100.7'), /^HTTP\/1\.1 200 [^]*for 198\.51\.100\.7$/)
    assert.match(await answer('203.0.113.5'), /^HTTP\/1\.1 403 /)
  })

  it('a change of policy holds for the next connection, and each port has its own', async () => {
    await mesh.setPolicies([peers('server', 'PERMISSIVE', 8081), blocked].join('---\n'))
    assert.match(await exchange(server, balancer, line('198.51.100.7') + request), /^HTTP\/1\.1 400 /)
    await mesh.setPolicies([peers('server', 'PERMISSIVE'), blocked].join('---\n'))
    assert.match(await exchange(server, balancer, line('198.51.100.7') + request), /^HTTP\/1\.1 200 /)
  })
})

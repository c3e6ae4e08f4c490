/** The list of hostile requests against running sidecars: outbound in plaintext, inbound in plaintext (PERMISSIVE) and over mTLS. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, it } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { Connector } from '../../src/upstream/connect.ts'
import { vectors as all, headOnly } from '../attack/vectors.ts'
import { credentialsOf, Mesh } from '../support/mesh.ts'
import { sendRaw } from '../support/raw.ts'

// What fails in its body has sent a part upstream before; it comes last, so that nothing of it arrives late.
const vectors = [...all.filter(headOnly), ...all.filter((vector) => !headOnly(vector))]

describe('sidecars against hostile requests', () => {
  let mesh: Mesh
  let received = ''
  beforeEach(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        {
          name: 'app',
          tcp: (socket) => {
            socket.on('error', () => {})
            socket.on('data', (chunk) => {
              const text = chunk.toString('latin1')
              received += text
              if (/\r\n\r\n/.test(text)) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
            })
            socket.on('end', () => socket.end())
          },
        },
      ],
    })
  })
  afterEach(() => mesh[Symbol.asyncDispose]())

  /** The vectors name their host as the shop's attacker would; here it must be the service. */
  const aimed = (bytes: string): string =>
    bytes.replaceAll('app.test', 'app.test:8080').replaceAll(/app\.test:8080:/g, 'app.test:')

  it('inbound in plaintext under PERMISSIVE', async () => {
    const app = mesh.get('app')
    for (const vector of vectors) {
      received = ''
      const got = await sendRaw({ port: 8080, host: app.address }, vector.bytes)
      if (vector.verdict === 'served') continue
      assert.equal(got.status, vector.verdict, `${vector.name}: ${got.text.slice(0, 200)}`)
      assert.match(got.text, /x-outrigger-reason: [A-Z_]+; by=test\/app/i, vector.name)
      if (headOnly(vector)) assert.equal(received, '', `${vector.name}: zero bytes to the application`)
    }
  })

  it('outbound in plaintext', async () => {
    const { outbound } = mesh.get('client')
    for (const vector of vectors) {
      // CONNECT is served on this listener.
      if (vector.name.startsWith('CONNECT')) continue
      received = ''
      const got = await sendRaw(outbound, aimed(vector.bytes))
      if (vector.verdict === 'served') continue
      assert.equal(got.status, vector.verdict, `${vector.name}: ${got.text.slice(0, 200)}`)
      if (headOnly(vector)) assert.equal(received, '', `${vector.name}: zero bytes upstream`)
    }
  })

  it('inbound over mTLS, from a peer of the mesh that turned hostile', async () => {
    const app = mesh.get('app')
    const credentials = credentialsOf(mesh.get('client'))
    const connector = new Connector(systemClock, new Live<Credentials | undefined>(credentials))
    for (const vector of vectors) {
      // A proved peer may send reserved fields, so these two say other things here.
      if (vector.verdict === 'served' || vector.name.startsWith('nominating our own')) continue
      received = ''
      const socket = await connector.dial(
        { key: 'app', address: app.address, port: 8080, identity: 'spiffe://cluster.local/ns/test/sa/app' },
        { inside: 'outrigger/http1', timeoutMs: 2_000 },
      )
      assert.ok(socket instanceof tls.TLSSocket)
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
      })
      socket.on('error', () => {})
      socket.write(Buffer.from(vector.bytes, 'latin1'))
      while (!text.includes('\r\n\r\n') && !socket.closed)
        await Promise.race([once(socket, 'data'), once(socket, 'close')])
      socket.destroy()
      assert.match(text, new RegExp(`^HTTP/1\\.1 ${vector.verdict} `), vector.name)
      if (headOnly(vector)) assert.equal(received, '', `${vector.name}: zero bytes to the application`)
    }
  })
})

/** Row 25: gRPC messages that are too large, or become so, at the control plane. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { signCertificateMethod, watchMethod } from '../../src/api/services.ts'
import { eventually, startControl, startSidecar, temporaryFolder } from '../support/control.ts'

const MiB = 1_048_576
const methods = [signCertificateMethod.path, watchMethod.path] as const

/** The prefix of a message of gRPC: whether it is compressed, and its length. */
function prefix(compressed: boolean, length: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes[0] = compressed ? 1 : 0
  bytes.writeUInt32BE(length, 1)
  return bytes
}

/** 512 MiB of nothing: a gzip file may consist of many, one behind the other (RFC 1952 section 2.2). */
const part = gzipSync(Buffer.alloc(MiB))
const bomb = Buffer.concat(Array.from({ length: 512 }, () => part))
const block = Buffer.alloc(65_536)

const attacks: readonly (readonly [what: string, encoding: string, pieces: () => Iterable<Buffer>])[] = [
  [
    'a message of 64 MiB',
    'identity',
    function* () {
      yield prefix(false, 64 * MiB)
      for (let sent = 0; sent < 64 * MiB; sent += block.length) yield block
    },
  ],
  [
    'a message that says it has 4 GiB',
    'identity',
    function* () {
      yield prefix(false, 0xffff_ffff)
      yield block
    },
  ],
  [
    'a message of 600 KB that becomes one of 512 MiB',
    'gzip',
    function* () {
      yield prefix(true, bomb.length)
      yield bomb
    },
  ],
]

test('row 25: messages past the limit of the control plane end their call with RESOURCE_EXHAUSTED, and cost it no memory', {
  timeout: 60_000,
}, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  // A member of the mesh: its certificate opens the policy stream.
  await using member = await startSidecar({ control })
  await eventually(() => member.certificate.credentials.current !== undefined, 'it has its certificate')
  const { certificateChainPem, privateKeyPem } = member.certificate.credentials.current!
  const session = http2.connect(`https://${control.address}`, {
    ca: control.authority.trustBundlePem,
    cert: certificateChainPem,
    key: privateKeyPem,
    checkServerIdentity: () => undefined,
  })
  await once(session, 'connect')

  async function call(method: string, encoding: string, pieces: Iterable<Buffer>): Promise<string> {
    const stream = session.request({
      ':method': 'POST',
      ':path': method,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-encoding': encoding,
    })
    stream.on('error', () => {})
    let status: unknown
    const seen = (headers: http2.IncomingHttpHeaders): void => void (status ??= headers['grpc-status'])
    stream.on('response', seen)
    stream.on('trailers', seen)
    stream.resume()
    const ended = once(stream, 'close')
    for (const piece of pieces) {
      if (stream.destroyed || !stream.writable) break
      if (!stream.write(piece)) await Promise.race([once(stream, 'drain'), ended])
    }
    stream.end()
    await ended
    return String(status)
  }

  // What it costs to have done it once stays.
  for (const [, encoding, pieces] of attacks) await call(methods[0], encoding, pieces())
  for (const method of methods) {
    for (const [what, encoding, pieces] of attacks) {
      const before = process.memoryUsage().rss
      let most = before
      const watching = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5)
      const status = await call(method, encoding, pieces())
      clearInterval(watching)
      assert.equal(status, '8', `${method}, ${what}: RESOURCE_EXHAUSTED`)
      const grown = (most - before) / MiB
      assert.ok(grown < 48, `${method}, ${what}: ${grown.toFixed(1)} MiB more`)
    }
  }
  session.destroy()
})

/** h2spec against the listeners of a sidecar: every case of it, and of its stricter set. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { dialAsPeer } from '../support/attack-lanes.ts'
import { freePort } from '../support/free-port.ts'
import { Http2App } from '../support/http2/app.ts'
import { Mesh } from '../support/mesh.ts'
import { runPeer } from './programs.ts'

/** The 145 of h2spec 2.2.1, and the one that --strict adds. */
const cases = 146
/** Seconds that it waits for anything. A few cases want to see that nothing comes. */
const patience = 5

describe('h2spec', { timeout: 240_000, concurrency: 3 }, () => {
  let app: Http2App
  let mesh: Mesh
  let bridge: net.Server
  const ports = { outbound: 0, mtls: 0 }
  before(async () => {
    app = await Http2App.start()
    // Some cases want DATA, and some answers before the end of the request.
    app.handle = (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/plain' })
      stream.end('a body of some bytes')
    }
    ports.outbound = await freePort()
    mesh = await Mesh.start({
      workloads: [
        // It cannot say whom it calls: a port of its own stands for the Service.
        { name: 'client', env: { OUTRIGGER_UPSTREAM: `127.0.0.1:${ports.outbound}=app:8080` } },
        { name: 'app', runsAt: app.port, portName: 'http2' },
      ],
    })
    // Nor has it a certificate of the mesh.
    bridge = net.createServer((socket) => {
      socket.on('error', () => {})
      dialAsPeer(mesh, 'app', 'outrigger/h2').then(
        (peer) => {
          peer.on('close', () => socket.destroy())
          socket.on('close', () => peer.destroy())
          socket.pipe(peer).pipe(socket)
        },
        () => socket.destroy(),
      )
    })
    ports.mtls = await freePort()
    await new Promise<void>((resolve) => bridge.listen(ports.mtls, '127.0.0.1', resolve))
  })
  after(async () => {
    bridge?.close()
    await mesh?.[Symbol.asyncDispose]()
    await app?.[Symbol.asyncDispose]()
  })

  const doors = {
    'outbound in plaintext': () => ({ host: '127.0.0.1', port: ports.outbound }),
    'inbound in plaintext': () => ({ host: mesh.get('app').address, port: 8_080 }),
    'inbound over mTLS': () => ({ host: '127.0.0.1', port: ports.mtls }),
  } as const
  for (const [door, at] of Object.entries(doors)) {
    it(`${door}: ${cases} cases, none failed, none skipped`, async () => {
      const { host, port } = at()
      const args = ['--host', host, '--port', String(port), '--timeout', String(patience), '--strict']
      const { stdout, stderr } = await runPeer('h2spec', args, 180_000)
      const [, total, passed, skipped, failed] =
        /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/.exec(stdout)?.map(Number) ?? []
      const failures = /\nFailures: *\n([^]*)\nFinished in/.exec(stdout)?.[1] ?? stderr
      assert.deepEqual(
        { total, passed, skipped, failed },
        { total: cases, passed: cases, skipped: 0, failed: 0 },
        failures,
      )
    })
  }
})

/** What is shipped is not what other tests run: compiled, the sidecar in a few files with its packages (test/build.ts). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { request } from 'undici'
import { build } from '../build.ts'
import { temporaryFolder } from '../support/control.ts'
import { RealMesh } from '../support/real-mesh.ts'
import { eventually } from '../support/shop.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: test }
spec: { mtls: { mode: STRICT } }
`

describe('the built programs', () => {
  const folder = temporaryFolder()
  const traces: string[] = []
  const collector = http.createServer((got, answer) => {
    traces.push(got.url ?? '')
    got.resume()
    got.on('end', () => answer.end())
  })
  let mesh: RealMesh
  before(async () => {
    const built = join(folder.path, 'dist')
    build(built)
    // An image has them beside dist/ too.
    symlinkSync(join(import.meta.dirname, '../../node_modules'), join(folder.path, 'node_modules'))
    collector.listen(0, '127.0.0.1')
    await once(collector, 'listening')
    const { port } = collector.address() as AddressInfo
    mesh = await RealMesh.start(policies, {
      built,
      flags: {
        client: { traces: `http://127.0.0.1:${port}/v1/traces` },
        'server-a': { workers: '2' },
      },
    })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    collector.close()
    folder[Symbol.dispose]()
  })

  it('serve over mTLS, say their metrics, one of them with two threads, and send spans', async () => {
    const { host, port } = mesh.outbound
    const headers = { host: 'server:8080', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    for (let i = 0; i < 20; i++) {
      const { statusCode, body } = await request(`http://${host}:${port}/item`, { headers })
      assert.equal(statusCode, 200)
      await body.text()
    }
    for (const name of ['server-a', 'server-b'] as const) assert.ok((await mesh.seen(name)) > 0, name)
    for (const name of ['client', 'server-a', 'server-b'] as const) {
      const text = await mesh.metrics(name)
      const lines = text.split('\n').filter((line) => line.startsWith('outrigger_requests_total{'))
      const counted = lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
      const expected = name === 'client' ? 20 : await mesh.seen(name)
      assert.equal(counted, expected, name)
    }
    await eventually('the collector has spans', () => Promise.resolve(traces.includes('/v1/traces')), 20_000)
  })
})

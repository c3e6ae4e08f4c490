/** How the sidecar's process ends: asked politely by the admin API, by a signal, by both. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Authority } from '../../control-plane/identity/authority.ts'
import { systemClock } from '../../src/base/clock.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { eventually, temporaryFolder } from '../support/control.ts'
import { openClient } from '../support/upstream.ts'

const outrigger = join(import.meta.dirname, '../../src/cli/outrigger')

async function startProxy(folder: string, flags: readonly string[] = []) {
  const state = StateFolder.open(join(folder, 'authority'))
  const authority = await Authority.open({
    clock: systemClock,
    state,
    trustDomain: 'cluster.local',
    certificateLifetimeMs: 3_600_000,
  })
  state.close()
  const root = join(folder, 'root.pem')
  writeFileSync(root, authority.trustBundlePem)
  const listen = ['outbound', 'admin', 'metrics', 'health'].flatMap((name) => [`--${name}`, '127.0.0.1:0'])
  const child = spawn(
    outrigger,
    // Nothing listens on port 1: the sidecar runs without its control plane.
    [
      'proxy',
      'run',
      '--workload',
      'a/b',
      '--trust-bundle',
      root,
      '--control-plane',
      '127.0.0.1:1',
      ...listen,
      ...flags,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  const exited = once(child, 'close') as Promise<[number | null, string | null]>
  const port = (name: string): number => Number(new RegExp(`"${name}"\\s*:\\s*"127.0.0.1:(\\d+)"`).exec(log)?.[1] ?? 0)
  await eventually(() => port('outbound0') > 0 || child.exitCode !== null, 'the proxy listens', 60_000)
  return {
    child,
    exited,
    port,
    log: () => log,
    out: () => out,
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}

describe('a sidecar process', () => {
  it('that drains because it was asked to is not cut short by the SIGTERM that follows', async () => {
    using folder = temporaryFolder()
    using proxy = await startProxy(folder.path)
    // A request that is under way for as long as the test likes.
    using client = await openClient({ port: proxy.port('outbound0') })
    client.socket.write('GET / HTTP/1.1\r\nHo')
    const asked = await fetch(`http://127.0.0.1:${proxy.port('admin')}/drain`, { method: 'POST' })
    assert.equal(asked.status, 200)
    await eventually(() => /draining/.test(proxy.log()), 'it drains')
    proxy.child.kill('SIGTERM')
    // Had it been forced, it would be gone before the answer.
    client.socket.write('st: nowhere\r\n\r\n')
    await client.seen(/HTTP\/1\.1 50\d [^]*connection: close/)
    client.socket.destroy()
    assert.deepEqual(await proxy.exited, [0, null], proxy.log())
  })

  it('is forced by a second signal', async () => {
    using folder = temporaryFolder()
    using proxy = await startProxy(folder.path)
    using client = await openClient({ port: proxy.port('outbound0') })
    client.socket.write('GET / HTTP/1.1\r\nHo')
    proxy.child.kill('SIGTERM')
    await eventually(() => /SIGTERM: draining/.test(proxy.log()), 'it drains')
    proxy.child.kill('SIGTERM')
    assert.deepEqual(await proxy.exited, [1, null])
  })

  it('in two threads writes whole lines, lets no other have its ports, and ends all of it', async () => {
    using folder = temporaryFolder()
    using proxy = await startProxy(folder.path, ['--workers', '2', '--access-log', 'json'])
    const port = proxy.port('outbound0')
    const count = 200
    const asked = Array.from({ length: count }, async (_, i) => {
      // Refused when nobody has told what it means; by then there are lines of all of them to be written at once.
      const response = await get(port, `http://nowhere/${i}/${'x'.repeat(900)}`)
      assert.equal(response.statusCode, 503)
      response.resume()
    })
    using second = await startProxy(folder.path, ['--workers', '2', '--outbound', `127.0.0.1:${port}`])
    assert.deepEqual(await second.exited, [1, null])
    assert.match(second.log(), new RegExp(`outbound1 listener: cannot listen on 127.0.0.1:${port}: the port is in use`))
    await Promise.all(asked)
    proxy.child.kill('SIGTERM')
    assert.deepEqual(await proxy.exited, [0, null], proxy.log())
    const lines = proxy.out().trimEnd().split('\n')
    const paths = lines.map((line) => (JSON.parse(line) as { 'url.path': string })['url.path'].split('/')[1])
    assert.deepEqual(new Set(paths), new Set(asked.keys().map(String)))
    assert.equal(lines.length, count)
  })
})

/** One request, on a connection of its own. */
function get(port: number, url: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, path: url, headers: { host: 'nowhere' }, agent: false }, resolve)
      .on('error', reject)
  })
}

/** How the sidecar's process ends: asked politely by the admin API, by a signal, by both. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Authority } from '../../control-plane/identity/authority.ts'
import { systemClock } from '../../src/base/clock.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { eventually, temporaryFolder } from '../support/control.ts'
import { openClient } from '../support/upstream.ts'

const outrigger = join(import.meta.dirname, '../../src/cli/outrigger')

async function startProxy(folder: string) {
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
    ['proxy', 'run', '--workload', 'a/b', '--trust-bundle', root, '--control-plane', '127.0.0.1:1', ...listen],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  const port = (name: string): number => Number(new RegExp(`"${name}"\\s*:\\s*"127.0.0.1:(\\d+)"`).exec(log)?.[1] ?? 0)
  await eventually(() => port('outbound0') > 0 || child.exitCode !== null, 'the proxy listens', 20_000)
  assert.equal(child.exitCode, null, log)
  return {
    child,
    exited,
    port,
    log: () => log,
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
})

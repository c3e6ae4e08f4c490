import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'

interface Ended {
  readonly code: number | null
  readonly stderr: string
  readonly tookMs: number
}

async function outrigger(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const startedAt = performance.now()
  const child = spawn(join(import.meta.dirname, 'outrigger'), ['proxy', ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stderr, tookMs: performance.now() - startedAt }
}

async function serve(test: TestContext, listener: RequestListener): Promise<{ server: Server; address: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe('outrigger proxy wait', () => {
  it('ends well once the sidecar is ready, and not before', async (test) => {
    let asked = 0
    const { address } = await serve(test, (request, response) => {
      assert.equal(request.url, '/healthz/ready')
      response.writeHead(++asked < 3 ? 503 : 200).end('not ready: no policy yet')
    })
    assert.deepEqual(await outrigger(['wait', '--health', address]).then(({ code, stderr }) => [code, stderr]), [0, ''])
    assert.equal(asked, 3)
  })

  it('finds the sidecar by its own variable, whichever addresses that listens on', async (test) => {
    const { address } = await serve(test, (_request, response) => response.end())
    const env = { OUTRIGGER_HEALTH: address.replace('127.0.0.1', '0.0.0.0') }
    assert.equal((await outrigger(['wait', '--timeout', '1s'], env)).code, 0)
  })

  it('says the last reason when it was not in time', async (test) => {
    const { address, server } = await serve(test, (_request, response) =>
      response.writeHead(503).end('not ready: no policy yet'),
    )
    const late = await outrigger(['wait', '--health', address, '--timeout', '500ms'])
    assert.equal(late.code, 1)
    assert.equal(late.stderr, 'outrigger: the sidecar was not ready within 0.5 s: no policy yet\n')
    server.close()
    server.closeAllConnections()
    const none = await outrigger(['wait', '--health', address, '--timeout', '300ms'])
    assert.equal(none.code, 1)
    assert.match(none.stderr, /no answer from 127\.0\.0\.1:\d+ \(.*ECONNREFUSED/)
  })

  it('refuses what it does not understand with exit code 2', async () => {
    for (const args of [
      ['--timeout', 'soon'],
      ['--health', 'here'],
      ['--wait', '1s'],
    ]) {
      assert.equal((await outrigger(['wait', ...args])).code, 2, args.join(' '))
    }
  })
})

describe('outrigger proxy retire', () => {
  it('tells the sidecar, and stays for as long as it is asked to', async (test) => {
    const asked: string[] = []
    const { address } = await serve(test, (request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.origin ?? ''}`)
      response.end('retired')
    })
    const { code, tookMs } = await outrigger(['retire', '--admin', address, '--for', '700ms'])
    assert.equal(code, 0)
    assert.ok(tookMs >= 700, `${tookMs} ms`)
    assert.deepEqual(asked, ['POST /retire '])
  })

  it('says that nobody was told, and stays all the same', async (test) => {
    const { address, server } = await serve(test, (_request, response) => response.writeHead(500).end('broken'))
    const refused = await outrigger(['retire'], { OUTRIGGER_ADMIN: address })
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /cannot be told to retire: it answers 500: broken/)
    server.close()
    server.closeAllConnections()
    const none = await outrigger(['retire', '--admin', address, '--for', '600ms'])
    assert.equal(none.code, 1)
    assert.ok(none.tookMs >= 600, `${none.tookMs} ms`)
    assert.match(none.stderr, /cannot be told to retire: .*ECONNREFUSED/)
  })
})

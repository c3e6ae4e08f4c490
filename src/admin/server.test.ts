import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, it, type TestContext } from 'node:test'
import type { AppProbe } from '../api/app-probe.ts'
import { isDirectHost } from './http-endpoint.ts'
import type { ProbeCall } from './probe-call.ts'
import { type AdminServer, type AdminSources, startAdmin } from './server.ts'
import type { Stats } from './stats.ts'

const loopback = { address: '127.0.0.1', port: 0 }

interface Seen {
  drained: number
  retired: number
  level: string
}

async function setUp(
  test: TestContext,
  sources: Partial<AdminSources> = {},
  metrics: { readonly address: string; readonly port: number } = loopback,
): Promise<{ server: AdminServer; seen: Seen }> {
  const seen: Seen = { drained: 0, retired: 0, level: '' }
  const server = await startAdmin(
    {
      stats: () => ({ workload: 'shop/web-1', ready: true }) as unknown as Stats,
      configDump: () => ({
        revision: 12n,
        key: '-----BEGIN PRIVATE KEY-----\nsecret',
        list: new Map([['a', new Set([1])]]),
      }),
      backends: () => [{ service: 'shop/orders' }],
      ready: () => ({ ready: true, reason: '' }),
      retire: () => void seen.retired++,
      drain: () => void seen.drained++,
      setLogLevel: (level) => {
        seen.level = level
      },
      metrics: () => Promise.resolve('outrigger_test 1\n'),
      appProbes: {},
      probe: () => Promise.reject(new Error('not asked')),
      ...sources,
    },
    { admin: loopback, metrics, health: loopback },
  )
  test.after(() => server.close())
  return { server, seen }
}

interface Reply {
  readonly status: number
  readonly body: string
  readonly type: string
}

async function call(
  port: number,
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
  host = '127.0.0.1',
): Promise<Reply> {
  const outgoing = request({ host, port, path, method, headers, agent: false })
  outgoing.end()
  const [response] = await once(outgoing, 'response')
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode, body, type: response.headers['content-type'] }
}

describe('admin', () => {
  it('lists its paths, with one line each', async (test) => {
    const { server } = await setUp(test)
    const index = await call(server.admin.port, '/')
    assert.equal(index.status, 200)
    assert.deepEqual(
      index.body
        .trim()
        .split('\n')
        .map((line) => line.split(/\s+/).slice(0, 2).join(' ')),
      [
        'GET /stats',
        'GET /config_dump',
        'GET /backends',
        'GET /ready',
        'POST /retire',
        'POST /drain',
        'POST /log-level',
      ],
    )
    const unknown = await call(server.admin.port, '/quit')
    assert.equal(unknown.status, 404)
    assert.ok(unknown.body.includes(index.body.trim()))
  })

  it('shows stats, backends and policy, and never a key', async (test) => {
    const { server } = await setUp(test)
    assert.deepEqual(JSON.parse((await call(server.admin.port, '/stats')).body), {
      workload: 'shop/web-1',
      ready: true,
    })
    assert.deepEqual(JSON.parse((await call(server.admin.port, '/backends?x=1')).body), [{ service: 'shop/orders' }])
    const dump = await call(server.admin.port, '/config_dump')
    assert.equal(dump.type, 'application/json')
    assert.deepEqual(JSON.parse(dump.body), { revision: '12', key: '[redacted]', list: { a: [1] } })
  })

  it('changes state by POST only, and not for web pages', async (test) => {
    const { server, seen } = await setUp(test)
    const { port } = server.admin
    assert.equal((await call(port, '/drain')).status, 405)
    assert.equal((await call(port, '/drain', 'HEAD')).status, 405)
    assert.equal((await call(port, '/drain', 'POST', { origin: 'http://evil.example' })).status, 403)
    assert.equal((await call(port, '/drain', 'POST', { origin: 'null' })).status, 403)
    assert.equal(seen.drained, 0)
    assert.equal((await call(port, '/retire')).status, 405)
    assert.equal((await call(port, '/retire', 'POST')).status, 200)
    assert.deepEqual([seen.retired, seen.drained], [1, 0])
    assert.equal((await call(port, '/drain', 'POST')).status, 200)
    assert.equal(seen.drained, 1)
    assert.equal((await call(port, '/stats', 'DELETE')).status, 405)
  })

  it('sets the log level, and says which there are', async (test) => {
    const { server, seen } = await setUp(test)
    const refused = await call(server.admin.port, '/log-level?level=loud', 'POST')
    assert.equal(refused.status, 400)
    assert.match(refused.body, /debug, info, warn, error/)
    assert.equal(seen.level, '')
    assert.equal((await call(server.admin.port, '/log-level?level=debug', 'POST')).status, 200)
    assert.equal(seen.level, 'debug')
  })

  it('refuses names that a web page could stand behind, on every port and path', async (test) => {
    const { server, seen } = await setUp(test)
    for (const endpoint of [server.admin, server.metrics!, server.health!]) {
      for (const path of ['/', '/stats', '/metrics', '/healthz/ready', '/drain', '/nothing']) {
        for (const method of ['GET', 'POST']) {
          const reply = await call(endpoint.port, path, method, { host: 'evil.example:15000' })
          assert.equal(reply.status, 421, `${method} ${path}`)
        }
      }
      assert.equal((await call(endpoint.port, '/', 'GET', { host: `localhost:${endpoint.port}` })).status, 200)
    }
    assert.equal(seen.drained, 0)
  })

  it('answers 500 when a source fails, and goes on', async (test) => {
    const { server } = await setUp(test, {
      stats: () => {
        throw new Error('broken')
      },
      metrics: () => Promise.reject(new Error('broken too')),
    })
    assert.deepEqual(await call(server.admin.port, '/stats'), {
      status: 500,
      body: 'admin: broken\n',
      type: 'text/plain; charset=utf-8',
    })
    assert.equal((await call(server.metrics!.port, '/metrics')).status, 500)
    assert.equal((await call(server.admin.port, '/ready')).status, 200)
  })

  it('says which port is taken and what to do, and lets go of the others', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port: adminPort } = free.address() as { port: number }
    free.close()
    await once(free, 'close')
    const start = startAdmin({ appProbes: {} } as AdminSources, {
      admin: { address: '127.0.0.1', port: adminPort },
      health: { address: '127.0.0.1', port },
    })
    await assert.rejects(start, {
      message: `health cannot listen on 127.0.0.1:${port}: another program has the port; end it or choose another port than ${port}`,
    })
    const again = createServer().listen(adminPort, '127.0.0.1')
    await once(again, 'listening')
    again.close()
    taken.close()
  })
})

describe('metrics', () => {
  it('has metrics and nothing else', async (test) => {
    const { server } = await setUp(test)
    const { port } = server.metrics!
    assert.deepEqual(await call(port, '/metrics'), {
      status: 200,
      body: 'outrigger_test 1\n',
      type: 'text/plain; version=0.0.4; charset=utf-8',
    })
    for (const path of ['/stats', '/config_dump', '/drain', '/../stats', '//stats'])
      assert.equal((await call(port, path)).status, 404, path)
    assert.equal((await call(port, '/drain', 'POST')).status, 404)
  })

  it('asks the application for the kubelet, at the address that the kubelet dialled', async (test) => {
    const path = '/app-health/web/livez'
    const asked: [AppProbe, ProbeCall][] = []
    const tcp: AppProbe = { kind: 'tcp', port: 80, timeoutMs: 1_000 }
    const { server } = await setUp(test, {
      appProbes: { [path]: tcp },
      probe: (probe, call) => {
        asked.push([probe, call])
        return Promise.resolve({ status: 418, reason: 'a teapot' })
      },
    })
    const { port } = server.metrics!
    const reply = await call(port, path, 'GET', { 'user-agent': 'kube-probe/1.33' })
    assert.equal(reply.status, 418)
    assert.equal(reply.body, 'a teapot\n')
    assert.equal(asked[0]![0], tcp)
    assert.equal(asked[0]![1].address, '127.0.0.1')
    assert.equal(asked[0]![1].headers['user-agent'], 'kube-probe/1.33')
    assert.equal((await call(port, path, 'POST')).status, 405)
    assert.equal((await call(port, '/app-health/web/readyz')).status, 404)
    // Who may read policy may not ask the application.
    assert.equal((await call(server.admin.port, path)).status, 404)
    assert.equal(asked.length, 1)
  })

  it('ends the sidecar for callers on loopback only', async (test) => {
    const { server, seen } = await setUp(test, {}, { address: '0.0.0.0', port: 0 })
    const { port } = server.metrics!
    assert.equal((await call(port, '/quitquitquit')).status, 405)
    assert.equal((await call(port, '/quitquitquit', 'POST', { origin: 'http://evil.example' })).status, 403)
    const outside = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .find(({ family, internal }) => family === 'IPv4' && !internal)
    if (outside !== undefined) {
      const refused = await call(port, '/quitquitquit', 'POST', {}, outside.address)
      assert.deepEqual([refused.status, refused.body], [403, 'quitquitquit: only for callers on loopback\n'])
    }
    assert.equal(seen.drained, 0)
    assert.equal((await call(port, '/quitquitquit', 'POST')).status, 200)
    assert.equal(seen.drained, 1)
  })
})

describe('health', () => {
  it('is ready or says why not, and lives regardless', async (test) => {
    let ready = { ready: false, reason: 'no certificate yet' }
    const { server } = await setUp(test, { ready: () => ready })
    const { port } = server.health!
    assert.deepEqual(await call(port, '/healthz/ready'), {
      status: 503,
      body: 'not ready: no certificate yet\n',
      type: 'text/plain; charset=utf-8',
    })
    assert.equal((await call(port, '/healthz/live')).status, 200)
    ready = { ready: true, reason: '' }
    assert.equal((await call(port, '/healthz/ready')).status, 200)
    assert.equal((await call(server.admin.port, '/ready')).status, 200)
    assert.equal((await call(port, '/stats')).status, 404)
  })
})

describe('isDirectHost', () => {
  it('takes addresses and localhost', () => {
    for (const host of [
      undefined,
      'localhost',
      'LOCALHOST:1',
      '127.0.0.1:15000',
      '127.1.0.3',
      '10.2.3.4:15020',
      '[::1]:15000',
      '[fd00::1]',
    ]) {
      assert.ok(isDirectHost(host), String(host))
    }
  })
  it('refuses every name', () => {
    for (const host of [
      '',
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.nip.io',
      '127.0.0.1@evil',
      '[evil]',
      '1.2.3',
      '999.1.1.1',
      'a b',
      'localhost:',
      'localhost:123456',
    ]) {
      assert.ok(!isDirectHost(host), host)
    }
  })
})

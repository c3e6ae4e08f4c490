import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer as createHttp, type RequestListener } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { KubeConfig } from '@kubernetes/client-node'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { eventually, temporaryFolder } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { Authority } from '../identity/authority.ts'
import { ServerCertificate } from '../identity/server-certificate.ts'
import { ApiError, Cluster, openCluster, type WatchEvent } from './cluster.ts'

type Answer = (...of: Parameters<RequestListener>) => void | Promise<void>

async function httpServer(answer: Answer) {
  const server = createHttp((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const connections = { count: 0 }
  server.on('connection', () => connections.count++)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    connections,
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function clusterAt(url: string, clock = systemClock): Cluster & AsyncDisposable {
  const config = new KubeConfig()
  config.loadFromClusterAndUser({ name: 'c', server: url, skipTLSVerify: true }, { name: 'u', token: 't0ken' })
  const cluster = new Cluster(config, clock)
  return Object.assign(cluster, { [Symbol.asyncDispose]: () => cluster.close() })
}

it('calls over TLS with the CA, certificate and token of a kubeconfig, and refuses another CA', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(join(folder.path, 'state'))
  const settings = { clock: systemClock, trustDomain: 'cluster.local', certificateLifetimeMs: 3_600_000 }
  const authority = await Authority.open({ ...settings, state })
  const certificate = await ServerCertificate.start(authority, systemClock, silentLog, ['localhost'])
  using _ = { [Symbol.dispose]: () => certificate.stop() }
  const { key, cert, ca } = certificate.current.current
  const seen: { authorization: string | undefined; client: boolean }[] = []
  let connections = 0
  const server = createHttps({ key, cert, ca, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    const client = (request.socket as unknown as { authorized: boolean }).authorized
    seen.push({ authorization: request.headers.authorization, client })
    response.end('{"kind":"Version"}')
  })
  server.on('secureConnection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  using __ = {
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
  const file = join(folder.path, 'kubeconfig')
  const config = (caPem: string) => ({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'main',
    clusters: [
      {
        name: 'c',
        cluster: {
          server: `https://localhost:${(server.address() as AddressInfo).port}`,
          'certificate-authority-data': Buffer.from(caPem).toString('base64'),
        },
      },
    ],
    contexts: [{ name: 'main', context: { cluster: 'c', user: 'u' } }],
    users: [
      {
        name: 'u',
        user: {
          token: 'a-token',
          'client-certificate-data': Buffer.from(cert).toString('base64'),
          'client-key-data': Buffer.from(key).toString('base64'),
        },
      },
    ],
  })
  writeFileSync(file, JSON.stringify(config(ca)))
  const cluster = await openCluster({ kubeconfig: file })
  for (let at = 0; at < 5; at++) assert.deepEqual(await cluster.ask('GET', '/version'), { kind: 'Version' })
  assert.deepEqual(seen.at(-1), { authorization: 'Bearer a-token', client: true })
  // undici opens a second one when the first is not idle yet at that moment.
  assert.ok(connections <= 2, `${connections} handshakes for five requests`)
  await cluster.close()

  using otherState = StateFolder.open(join(folder.path, 'other'))
  const other = await Authority.open({ ...settings, state: otherState })
  writeFileSync(file, JSON.stringify(config(other.trustBundlePem)))
  const wary = await openCluster({ kubeconfig: file })
  await assert.rejects(wary.ask('GET', '/version'), /cannot be reached: (self-signed certificate|unable to verify)/)
  await wary.close()

  await assert.rejects(openCluster({ kubeconfig: file, context: 'mian' }), /no context 'mian'.*there are: main/)
  await assert.rejects(openCluster({ kubeconfig: join(folder.path, 'none') }), /cannot read the kubeconfig/)
})

it('says what the API server said, and nothing of a page that is none of its answers', async () => {
  using server = await httpServer((request, response) => {
    if (request.url === '/forbidden') {
      response.writeHead(403)
      response.end(JSON.stringify({ kind: 'Status', reason: 'Forbidden', message: 'pods is forbidden' }))
    } else if (request.url === '/moved') {
      response.writeHead(302, { location: 'http://127.0.0.1:1/' })
      response.end()
    } else if (request.url === '/gzip') {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      response.end(gzipSync('{"kind":"List"}'))
    } else response.end('<html>')
  })
  await using cluster = clusterAt(server.url)
  await assert.rejects(cluster.ask('GET', '/forbidden'), (error) => {
    assert.ok(error instanceof ApiError)
    assert.deepEqual(
      [error.status, error.reason, error.message],
      [403, 'Forbidden', 'GET /forbidden: pods is forbidden'],
    )
    return true
  })
  // A redirect is not followed: it could lead the token elsewhere.
  await assert.rejects(cluster.ask('GET', '/moved'), (error) => error instanceof ApiError && error.status === 302)
  await assert.rejects(cluster.ask('GET', '/page'), /answered no JSON: is it a Kubernetes API server/)
  assert.deepEqual(await cluster.ask('GET', '/gzip'), { kind: 'List' })
  assert.ok(server.connections.count <= 2)
})

it('gives up on an answer and on a watch that is silent, by the clock', async () => {
  await using api = await FakeApi.start()
  const clock = new FakeClock()
  const cluster = api.cluster(clock)
  api.intercepts.push(({ path }) => (path === '/api/v1/pods' ? 'hang' : undefined))
  const answered = assert.rejects(cluster.ask('GET', '/api/v1/pods'), /did not answer within 30 s/)
  await eventually(() => api.asked.length === 1, 'asked')
  await clock.advance(30_000)
  await answered

  const events: WatchEvent[] = []
  let opened = 0
  const watching = cluster.watch(
    '/api/v1/services',
    { query: { resourceVersion: '1' } },
    { opened: () => void opened++, event: (event) => void events.push(event) },
  )
  let ended = false
  const over = assert.rejects(watching, /was silent on a watch for 150 s/).then(() => (ended = true))
  await eventually(() => opened === 1, 'opened')
  // A bookmark each minute keeps it up.
  for (let minute = 0; minute < 5; minute++) {
    await clock.advance(60_000)
    api.bookmark()
    await eventually(() => events.length === minute + 1, 'a bookmark')
  }
  await settle()
  assert.equal(ended, false)
  await clock.advance(150_000)
  await over
})

it('ends a watch with what its listener throws, and closes the connection', async () => {
  await using api = await FakeApi.start()
  const cluster = api.cluster()
  const watching = cluster.watch(
    '/api/v1/services',
    {},
    {
      event: () => {
        throw new Error('enough')
      },
    },
  )
  await eventually(() => api.watches === 1, 'watched')
  api.bookmark()
  await assert.rejects(watching, /^Error: enough$/)
  await eventually(() => api.watches === 0, 'closed')
})

it('reads events however the bytes are cut', async () => {
  const lines = ['a', 'ü€😀', 'c'].map((name) => JSON.stringify({ type: 'ADDED', object: { metadata: { name } } }))
  const bytes = Buffer.from(`${lines.join('\n')}\n{"type":"ADD`)
  using server = await httpServer(async (_request, response) => {
    for (const byte of bytes) {
      response.write(Buffer.of(byte))
      await settle()
    }
    response.destroy()
  })
  await using cluster = clusterAt(server.url)
  const names: (string | undefined)[] = []
  await assert.rejects(
    cluster.watch('/x', {}, { event: ({ object }) => void names.push(object.metadata?.name) }),
    /cannot be reached/,
  )
  assert.deepEqual(names, ['a', 'ü€😀', 'c'])
})

/** Policy that changes all the time, as a row of test/faults/table.ts. */
import assert from 'node:assert/strict'
import http from 'node:http'
import type net from 'node:net'
import { describe, it } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  Algorithm,
  type BackendPolicySchema,
  EndpointSetSchema,
  MeshSchema,
  OutboundPolicy,
  Protocol,
  type Resource,
  type RuleSchema,
  ServiceSchema,
  StringMatchType,
} from '../../src/api/gen/outrigger_pb.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import { silentLog } from '../../src/base/log.ts'
import { DataPlane } from '../../src/data-plane.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { parseProxyOptions } from '../../src/options.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { MapSource } from '../support/map-source.ts'
import { eventually } from '../support/shop.ts'

const swaps = 1_000
const clients = 8
const service = { namespace: 'test', name: 'server' }
const budget = { percent: 100, intervalMs: 10_000, minPerSecond: 1_000 }

/** Each change takes the next one: what they set comes and goes, in ever new combinations. */
const rules: readonly MessageInitShape<typeof RuleSchema>[] = [
  {},
  { retry: { retries: 2, conditions: ['connect-failure', 'reset'], budget } },
  { requestTimeoutMs: 30_000, backendRequestTimeoutMs: 20_000 },
  { retry: { retries: 1, budget, hedging: { delayMs: 50, attemptsMax: 2 } } },
  { faults: [{ delayPpm: 1_000_000, delayMs: 1 }] },
]
const backendPolicies: readonly MessageInitShape<typeof BackendPolicySchema>[] = [
  {},
  { circuitBreakers: [{ endpointScope: true }, { endpointScope: false, volumeThreshold: 1_000 }] },
  { loadBalancer: { algorithm: Algorithm.ROUND_ROBIN }, outlierDetection: { consecutive5xx: 5, intervalMs: 1_000 } },
  { connectionPool: { connectionsMax: 4, idleTimeoutMs: 1_000 } },
  {
    loadBalancer: { algorithm: Algorithm.CONSISTENT_HASH, hashHeader: 'x-at' },
    connectionPool: { connectionsMax: 64 },
  },
  { loadBalancer: { algorithm: Algorithm.EWMA }, circuitBreakers: [{ endpointScope: true, resetTimeoutMs: 50 }] },
  {},
]

function policyOf(swap: number): Resource['body'] {
  const message = {
    ...service,
    ports: [{ port: 80, name: 'http', protocol: Protocol.HTTP1 }],
    rules: [
      {
        name: String(swap),
        matches: [{ pathType: StringMatchType.PREFIX, path: '/' }],
        backends: [{ ...service, port: 80, weight: 1 }],
        ...rules[swap % rules.length],
      } as MessageInitShape<typeof RuleSchema>,
    ],
    policy: backendPolicies[swap % backendPolicies.length]!,
  }
  return { case: 'service', value: create(ServiceSchema, message as MessageInitShape<typeof ServiceSchema>) }
}

/** All of the ports but one, which is another one each time. */
function endpointsOf(swap: number, ports: readonly number[]): Resource['body'] {
  const endpoints = ports
    .filter((_, i) => i !== swap % ports.length)
    .map((port) => ({ address: '127.0.0.1', ports: { 80: port }, ready: true, workload: `server-${port}` }))
  return { case: 'endpoints', value: create(EndpointSetSchema, { ...service, endpoints }) }
}

async function startServers(count: number): Promise<{ servers: http.Server[]; ports: number[] }> {
  const servers = Array.from({ length: count }, () => http.createServer((_, response) => response.end('ok')))
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))))
  return { servers, ports: servers.map((server) => (server.address() as net.AddressInfo).port) }
}

describe('policy that is swapped a thousand times under load', { timeout: 180_000 }, () => {
  it('fails no request, and leaves no pool, timer, socket or listener behind', async () => {
    const { servers, ports } = await startServers(4)
    const before = resources()
    const source = new MapSource()
    const mesh = create(MeshSchema, { outbound: OutboundPolicy.REGISTRY_ONLY })
    source.set('mesh', { case: 'mesh', value: mesh })
    const swap = (n: number): void => {
      source.set('service/test/server', policyOf(n))
      source.set('endpoints/test/server', endpointsOf(n, ports))
    }
    swap(0)
    const workload = { namespace: 'test', name: 'client', serviceAccount: '', canonicalService: '', revision: '' }
    const telemetry = new Telemetry({
      clock: systemClock,
      workload,
      tracesEndpoint: undefined,
      accessLog: 'off',
      stdout: { write: (bytes, done) => done(null, bytes.length) },
    })
    const plane = new DataPlane({
      options: parseProxyOptions(
        ['--workload', 'test/client', '--trust-bundle', 'x', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
        {},
      ),
      clock: systemClock,
      log: silentLog,
      telemetry,
      credentials: new Live<Credentials | undefined>(undefined),
      source,
      onTransition: () => {},
      onEjection: () => {},
    })
    await plane.listen()
    const { port } = plane.addresses.get('outbound0')!
    const watched = (): number => source.watched.length
    const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
    const failures: string[] = []
    let answered = 0
    let running = true
    const load = Array.from({ length: clients }, async (_, at) => {
      while (running) {
        const said = await get(port, agent, String(at))
        if (said === '200 ok') answered++
        else failures.push(said)
      }
    })
    await eventually('requests are answered', () => answered > 20)
    const watchers = watched()
    const compiledFrom = answered
    for (let n = 1; n <= swaps; n++) {
      swap(n)
      // At least one request is served by most of them.
      if (n % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
      else await new Promise((resolve) => setTimeout(resolve, 1))
    }
    running = false
    await Promise.all(load)
    agent.destroy()
    assert.deepEqual(failures.slice(0, 5), [], `${failures.length} failed`)
    assert.ok(answered - compiledFrom > swaps / 4, `${answered - compiledFrom} answered meanwhile`)

    const { pools, services } = plane.backends()
    assert.ok(pools.length <= ports.length, `${pools.length} pools`)
    for (const pool of pools) assert.ok(pool.open <= 64 && pool.waiting === 0, JSON.stringify(pool))
    const [known] = services
    assert.equal(services.length, 1)
    for (const { endpoints } of known!.backends) {
      assert.equal(endpoints.length, ports.length - 1)
      for (const endpoint of endpoints) assert.equal(endpoint.inFlight, 0, endpoint.endpoint)
    }
    assert.equal(watched(), watchers, 'each name is watched as often as before')

    await plane.drain('outbound', 5_000)
    plane.close()
    await telemetry.close()
    assert.equal(source.watched.filter((name) => name !== 'mesh' && !name.startsWith('workload/')).length, 0)
    await eventually('sockets and timers are gone', () => resources() <= before)
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })
})

async function get(port: number, agent: http.Agent, at: string): Promise<string> {
  return new Promise((resolve) => {
    const headers = { host: 'server.test:80', 'x-at': at }
    const request = http.get(
      { host: '127.0.0.1', port, path: 'http://server.test:80/', headers, agent },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => (body += text))
        response.on('end', () => resolve(`${response.statusCode} ${body}`))
        response.on('error', (error) => resolve(String(error)))
      },
    )
    request.on('error', (error) => resolve(String(error)))
  })
}

/** What keeps the process busy, but for what it was started with. */
function resources(): number {
  return process.getActiveResourcesInfo().filter((name) => name !== 'TTYWrap' && name !== 'PipeWrap').length
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, beforeEach, describe, it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { MapSource } from '../test/support/map-source.ts'
import { sendRaw, startRecorder } from '../test/support/raw.ts'
import { openClient } from '../test/support/upstream.ts'
import { type Mesh, MeshSchema, OutboundPolicy, Protocol } from './api/gen/outrigger_pb.ts'
import { BackendRegistry } from './balance/backends.ts'
import { systemClock } from './base/clock.ts'
import { Live } from './base/live.ts'
import { silentLog } from './base/log.ts'
import { Destinations } from './destinations.ts'
import type { Credentials } from './identity/credentials.ts'
import { LoopGuard } from './listener/loop-guard.ts'
import { parseProxyOptions } from './options.ts'
import { Outbound } from './outbound.ts'
import { OwnInFlight } from './policy/in-flight.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { Connector } from './upstream/connect.ts'
import { Pools } from './upstream/pools.ts'

const get = 'GET / HTTP/1.1\r\nHost: whatever\r\n\r\n'

const credentials = new Live<Credentials | undefined>(undefined)

/** An Outbound on a real listener; `original` says where its captured connections meant to go. */
async function startOutbound(source: MapSource, connector = new Connector(systemClock, credentials)) {
  const clock = systemClock
  const telemetry = new Telemetry({
    clock,
    workload: { namespace: 'test', name: 'client', serviceAccount: 'client', canonicalService: 'client', revision: '' },
    tracesEndpoint: undefined,
    accessLog: 'off',
    stdout: { write: (bytes, done) => done(null, bytes.length) },
  })
  const mesh = new Live<Mesh | undefined>(create(MeshSchema, { outbound: OutboundPolicy.REGISTRY_ONLY }))
  const pools = new Pools(connector, clock)
  const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} })
  const env = {
    clock,
    backends,
    send: (exchange, _attempt, target, limits) => pools.pool(target, limits).send(exchange, ''),
  } satisfies ConstructorParameters<typeof Destinations>[0]['env']
  const destinations = new Destinations({ source, namespace: 'test', env, backends, clock })
  const options = parseProxyOptions(['--workload', 'test/client', '--trust-bundle', 'x'], {})
  const inFlight = new OwnInFlight(1_000)
  const runtime = {
    options,
    clock,
    log: silentLog,
    telemetry,
    credentials,
    mesh,
    connector,
    inFlight,
    guard: new LoopGuard([]),
    by: 'test/client',
  }
  const outbound = new Outbound(runtime, { destinations, backends, pools, ownPorts: () => [15_001] })
  let original = { address: '10.9.9.9', port: 80 }
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    outbound.acceptCaptured(socket, () => original),
  )
  const explicit = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    outbound.acceptExplicit(socket),
  )
  server.listen(0, '127.0.0.1')
  explicit.listen(0, '127.0.0.1')
  await Promise.all([once(server, 'listening'), once(explicit, 'listening')])
  return {
    port: (server.address() as net.AddressInfo).port,
    explicit: (explicit.address() as net.AddressInfo).port,
    inFlight,
    mesh,
    meantFor: (address: string, port: number) => {
      original = { address, port }
    },
    async [Symbol.asyncDispose]() {
      outbound.http.close()
      pools.close()
      destinations.close()
      server.close()
      explicit.close()
      await telemetry.close()
    },
  }
}

describe('a captured connection that is kept', () => {
  let one: Awaited<ReturnType<typeof startRecorder>>
  let two: Awaited<ReturnType<typeof startRecorder>>
  let source: MapSource
  before(async () => {
    one = await startRecorder('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none')
    two = await startRecorder('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo')
  })
  after(async () => {
    await one[Symbol.asyncDispose]()
    await two[Symbol.asyncDispose]()
  })
  beforeEach(() => {
    source = new MapSource()
    source.setService('one', { port: 80, protocol: Protocol.HTTP1, endpointPort: one.port })
    source.setService('two', { port: 80, protocol: Protocol.HTTP1, endpointPort: two.port })
    source.setAddress('10.9.9.9:80', { service: 'test/one', servicePort: 80 })
  })

  it('follows its address to another Service', async () => {
    await using out = await startOutbound(source)
    using client = await openClient({ port: out.port })
    client.socket.write(get)
    await client.seen(/one$/)
    source.setAddress('10.9.9.9:80', { service: 'test/two', servicePort: 80 })
    client.socket.write(get)
    await client.seen(/two$/)
  })

  it('does not keep the rules of a Service that is gone', async () => {
    await using out = await startOutbound(source)
    using client = await openClient({ port: out.port })
    client.socket.write(get)
    await client.seen(/one$/)
    source.remove('service/test/one')
    client.socket.write(get)
    await client.seen(/502 Bad Gateway[^]*UNKNOWN_DESTINATION/)
  })

  it('gets no way out of the mesh when its address is forgotten', async () => {
    await using out = await startOutbound(source)
    using client = await openClient({ port: out.port })
    client.socket.write(get)
    await client.seen(/one$/)
    source.remove('address/10.9.9.9:80')
    client.socket.write(get)
    await client.seen(/UNKNOWN_DESTINATION/)
  })

  it('to one endpoint goes there, and where it goes changes with it', async () => {
    source.setAddress(`127.0.0.1:${one.port}`, { service: 'test/one', servicePort: 80, endpoint: { identity: '' } })
    await using out = await startOutbound(source)
    out.meantFor('127.0.0.1', one.port)
    using client = await openClient({ port: out.port })
    client.socket.write(get)
    await client.seen(/one$/)
    // The address is another Pod's now, which is meshed: plaintext would be a downgrade.
    source.setAddress(`127.0.0.1:${one.port}`, {
      service: 'test/one',
      servicePort: 80,
      endpoint: { identity: 'spiffe://cluster.local/ns/test/sa/new' },
    })
    client.socket.write(get)
    await client.seen(/503 Service Unavailable[^]*UPSTREAM_TLS/)
  })
})

describe('ALLOW_ANY', () => {
  for (const host of [
    '127.0.0.1:9',
    'localhost:9',
    '2130706433:9',
    '127.1:9',
    '0.0.0.0:9',
    '169.254.169.254',
    '[::1]:9',
    '[::ffff:127.0.0.1]:9',
    '[fe80::1]:80',
  ]) {
    it(`does not lead to ${host}`, async () => {
      await using out = await startOutbound(new MapSource())
      out.mesh.set(create(MeshSchema, { outbound: OutboundPolicy.ALLOW_ANY }))
      const plain = await sendRaw({ port: out.explicit }, `GET http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`)
      assert.equal(plain.status, 502, plain.text)
      assert.match(plain.text, /UNKNOWN_DESTINATION/)
      const place = /:\d+$/.test(host) && !host.endsWith('::1]') ? host : `${host}:80`
      const tunnel = await sendRaw({ port: out.explicit }, `CONNECT ${place} HTTP/1.1\r\nHost: x\r\n\r\n`)
      assert.match(tunnel.text, /UNKNOWN_DESTINATION/)
      assert.equal(out.inFlight.count, 0)
    })
  }
})

/** Nobody ever answers it. */
class SilentConnector extends Connector {
  override dial(...[, , abandon]: Parameters<Connector['dial']>): Promise<net.Socket> {
    return new Promise((_resolve, reject) => abandon?.(reject))
  }
}

describe('CONNECT', () => {
  it('a client that leaves while it is dialled leaves nothing under way', async () => {
    const source = new MapSource()
    source.setService('one', { port: 80, protocol: Protocol.TCP, endpointPort: 81 })
    await using out = await startOutbound(source, new SilentConnector(systemClock, credentials))
    using client = await openClient({ port: out.explicit })
    client.socket.write('CONNECT one:80 HTTP/1.1\r\nHost: one:80\r\n\r\n')
    while (out.inFlight.count === 0) await new Promise((resolve) => setImmediate(resolve))
    client.socket.resetAndDestroy()
    const started = performance.now()
    while (out.inFlight.count > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.ok(performance.now() - started < 1_000, 'not only when the dial times out')
  })

  it('a tunnel is under way until it ends, and not longer', async () => {
    await using recorder = await startRecorder()
    const source = new MapSource()
    source.setService('one', { port: 80, protocol: Protocol.TCP, endpointPort: recorder.port })
    await using out = await startOutbound(source)
    using client = await openClient({ port: out.explicit })
    // Early data is held until the other side is there.
    client.socket.write(`CONNECT one:80 HTTP/1.1\r\nHost: one:80\r\n\r\n${get}`)
    await client.seen(/^HTTP\/1\.1 200 Connection established\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*ok$/)
    assert.equal(out.inFlight.count, 1)
    client.socket.destroy()
    while (out.inFlight.count > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  })
})

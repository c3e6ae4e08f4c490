/** What it costs a sidecar to be held open, flooded or lied to (rows 43, 45, 46 and 48). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { mirrorsMax } from '../../src/policy/mirror.ts'
import { RecordingApp } from '../support/attack-lanes.ts'
import { eventually } from '../support/control.ts'
import { FakeClock, settle } from '../support/fake-clock.ts'
import { type Relay, startRelay } from '../support/http1-relay.ts'
import { Mesh } from '../support/mesh.ts'
import { type Recorder, sendRaw, startRecorder } from '../support/raw.ts'

const MiB = 1024 * 1024

describe('a sidecar with', () => {
  const app = new RecordingApp()
  const held = new Set<net.Socket>()
  let endlessBytes = 0
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'app', tcp: app.serve },
        { name: 'endless', tcp: answerForEver },
        { name: 'silent', tcp: (socket) => void held.add(socket.on('error', () => {})) },
      ],
      policies,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  function answerForEver(socket: net.Socket): void {
    held.add(socket)
    const block = Buffer.alloc(65_536, 'x')
    const pour = (): void => {
      while (!socket.destroyed && socket.write('10000\r\n') && socket.write(block) && socket.write('\r\n')) {
        endlessBytes += block.length
      }
    }
    socket.on('error', () => {})
    socket.on('close', () => held.delete(socket))
    socket.on('drain', pour)
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      pour()
    })
  }

  it('row 43: a mirror whose answer has no end is cut off, and costs the request nothing', async () => {
    const before = process.memoryUsage().rss
    for (let i = 0; i < 20; i++) {
      const got = await sendRaw(mesh.get('client').outbound, 'GET /endless HTTP/1.1\r\nHost: app:8080\r\n\r\n')
      assert.equal(got.status, 200)
    }
    await eventually(() => held.size === 0, 'every mirror is cut off')
    assert.ok(endlessBytes > 0, 'it was mirrored')
    const grown = (process.memoryUsage().rss - before) / MiB
    assert.ok(grown < 64, `${grown.toFixed(0)} MiB more after ${(endlessBytes / MiB).toFixed(0)} MiB`)
  })

  it('row 43: mirrors that never answer are no more than the limit, and hold up nobody', async () => {
    for (let i = 0; i < mirrorsMax + 30; i++) {
      const got = await sendRaw(mesh.get('client').outbound, 'GET /silent HTTP/1.1\r\nHost: app:8080\r\n\r\n')
      assert.equal(got.status, 200)
    }
    await eventually(() => held.size >= mirrorsMax, 'as many as may be are under way')
    assert.equal(held.size, mirrorsMax)
    for (const socket of held) socket.destroy()
    held.clear()
  })

  const costly: [string, string][] = [
    [
      'thirty thousand names in Connection and 900 fields',
      `Connection: ${'a,'.repeat(15_000)}\r\n${Array.from({ length: 900 }, (_, i) => `x${i}: 1\r\n`).join('')}`,
    ],
    ['a thousand fields of one name', 'x-a: 1\r\n'.repeat(990)],
    ['a thousand fields named by numbers', Array.from({ length: 990 }, (_, i) => `${i * 4_294_967}: 1\r\n`).join('')],
    ['a thousand fields like ours', Array.from({ length: 990 }, (_, i) => `x-otterly-long-${i}: 1\r\n`).join('')],
    ['a cookie of 60 KB', `Cookie: ${'a=b; '.repeat(12_000)}\r\n`],
    [
      'a traceparent and a tracestate of 30 KB each',
      `traceparent: ${'0'.repeat(30_000)}\r\ntracestate: ${'a=b,'.repeat(7_500)}\r\n`,
    ],
    ['60 KB of blanks in a value', `x-a: 1${' \t'.repeat(30_000)}\r\n`],
  ]
  const targets: [string, string][] = [
    ['15,000 dot segments', `/${'a/../'.repeat(6_000)}`],
    ['30 KB of slashes', '/'.repeat(30_000)],
    ['10,000 escapes', `/${'%61'.repeat(10_000)}`],
    ['2,000 escaped slashes', `/${'%2F'.repeat(2_000)}`],
    ['4 KB that can be read in every way', `/${'..;/%252F%5C%3B'.repeat(250)}`],
    ['10,000 parameters in the query', `/?${'a&'.repeat(10_000)}`],
  ]

  it('row 48: no head of 64 KB costs more than 100 ms', async () => {
    for (const [what, request] of [
      ...costly.map(([what, lines]) => [what, `GET / HTTP/1.1\r\nHost: app:8080\r\n${lines}\r\n`] as const),
      ...targets.map(([what, target]) => [what, `GET ${target} HTTP/1.1\r\nHost: app:8080\r\n\r\n`] as const),
    ]) {
      // Compiled by then; the least of three is what it costs when nothing else is going on.
      let leastMs = Number.POSITIVE_INFINITY
      for (let i = 0; i < 3; i++) {
        const started = process.cpuUsage()
        await sendRaw({ host: mesh.get('app').address, port: 8080 }, request)
        const { user, system } = process.cpuUsage(started)
        leastMs = Math.min(leastMs, (user + system) / 1_000)
      }
      assert.ok(leastMs < 100, `${what}: ${leastMs} ms`)
    }
    app.take()
  })

  it('row 48: a document ten thousand levels deep is a problem of that document, and of nothing else', async () => {
    mesh.write('deep.yaml', `${'['.repeat(10_000)}${']'.repeat(10_000)}\n`)
    mesh.write('deep.json', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}\n`)
    const { admin } = mesh.controlPlane.ports
    let status = ''
    while (!/deep\.yaml/.test(status) || !/deep\.json/.test(status)) {
      status = await (await fetch(`http://127.0.0.1:${admin}/status`)).text()
    }
    await mesh.setPolicies(policies.replaceAll('/office', '/bureau'))
    const { status: denied } = await sendRaw(
      mesh.get('client').outbound,
      'GET /bureau HTTP/1.1\r\nHost: app:8080\r\n\r\n',
    )
    assert.equal(denied, 403, 'later policy is in force')
  })
})

describe('an engine with', () => {
  const connections = 1_000
  let recorder: Recorder
  let relay: Relay
  let clock: FakeClock
  before(async () => {
    recorder = await startRecorder()
    clock = new FakeClock()
    relay = await startRelay(recorder.port, { clock })
  })
  after(async () => {
    await relay[Symbol.asyncDispose]()
    await recorder[Symbol.asyncDispose]()
  })

  interface Client {
    readonly socket: net.Socket
    text: string
    closed: boolean
  }
  async function open(count: number, bytes: string): Promise<Client[]> {
    const clients = Array.from({ length: count }, (): Client => {
      const client: Client = { socket: net.connect(relay.port, '127.0.0.1'), text: '', closed: false }
      client.socket.on('error', () => {})
      client.socket.on('data', (chunk: Buffer) => {
        client.text += chunk.toString('latin1')
      })
      client.socket.on('close', () => {
        client.closed = true
      })
      return client
    })
    await Promise.all(clients.map(({ socket }) => once(socket, 'connect')))
    for (const { socket } of clients) if (bytes !== '') socket.write(bytes, 'latin1')
    const base = relay.server.connections
    await eventually(() => relay.server.connections >= Math.min(count, base), 'all are accepted')
    return clients
  }
  const stillServes = async (): Promise<void> => {
    const got = await sendRaw(relay, 'GET /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', /ok$/)
    assert.equal(got.status, 200, 'another client is served meanwhile')
  }
  const settled = async (clients: readonly Client[], what: string): Promise<void> =>
    eventually(() => clients.every(({ closed }) => closed), what, 20_000)

  it(`row 45: ${connections} connections without a byte: closed after 10 s`, async () => {
    const clients = await open(connections, '')
    await eventually(() => relay.server.connections === connections, 'all are accepted', 10_000)
    await clock.advance(9_000)
    assert.equal(relay.server.connections, connections)
    await stillServes()
    await clock.advance(1_500)
    await settled(clients, 'all are closed')
    assert.ok(clients.every(({ text }) => text === ''))
  })

  it(`row 45: ${connections} heads that come byte by byte (slowloris): 408 after 10 s in all`, async () => {
    const clients = await open(connections, 'GET / HTTP/1.1\r\nHost: a\r\nX-A: ')
    await eventually(() => relay.server.connections === connections, 'all are accepted', 10_000)
    for (let i = 0; i < 3; i++) {
      await clock.advance(3_000)
      for (const { socket } of clients) socket.write('a')
      await settle()
    }
    await stillServes()
    await clock.advance(1_500)
    await eventually(() => clients.every(({ text }) => text.startsWith('HTTP/1.1 408 ')), 'all are answered', 20_000)
    await clock.advance(2_000)
    await settled(clients, 'all are closed')
  })

  it(`row 45: ${connections} bodies that stop: 408 after 60 s`, async () => {
    recorder.clear()
    const clients = await open(connections, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1')
    await eventually(() => (recorder.received().match(/POST/g)?.length ?? 0) === connections, 'all are sent on', 20_000)
    await clock.advance(30_000)
    await stillServes()
    await clock.advance(31_000)
    await eventually(() => clients.every(({ text }) => text.startsWith('HTTP/1.1 408 ')), 'all are answered', 20_000)
    await clock.advance(2_000)
    await settled(clients, 'all are closed')
  })

  it('row 45: 50 readers that stop: cut off after 60 s', async () => {
    const large = `HTTP/1.1 200 OK\r\nContent-Length: 16000000\r\n\r\n${'x'.repeat(16_000_000)}`
    await using upstream = await startRecorder(large)
    await using slow = await startRelay(upstream.port, { clock })
    const clients = Array.from({ length: 50 }, () => {
      const socket = net.connect(slow.port, '127.0.0.1').pause()
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      return socket
    })
    await eventually(() => (upstream.received().match(/GET/g)?.length ?? 0) === 50, 'all are sent on', 20_000)
    await clock.advance(30_000)
    assert.equal(slow.server.connections, 50)
    // How far a reader is behind is known once nothing more fits: some steps later for some.
    for (let i = 0; i < 5 && slow.server.connections > 0; i++) await clock.advance(61_000)
    await eventually(() => slow.server.connections === 0, 'all are cut off', 20_000)
    for (const socket of clients) socket.destroy()
  })

  it('row 42: 50 uploads to an application that does not read, half of their clients gone: over after 60 s', async () => {
    const sockets = new Set<net.Socket>()
    const upstream = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
      sockets.add(socket.pause())
    })
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    await using stuck = await startRelay((upstream.address() as net.AddressInfo).port, { clock })
    const block = Buffer.alloc(65_536)
    const clients = Array.from({ length: 50 }, (_, i) => {
      const client = { socket: net.connect(stuck.port, '127.0.0.1'), text: '', gone: i % 2 === 1 }
      const push = (): void => {
        while (!client.socket.destroyed && client.socket.write(block));
      }
      client.socket.on('error', () => {})
      client.socket.on('drain', push)
      client.socket.on('data', (chunk: Buffer) => {
        client.text += chunk.toString('latin1')
      })
      client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 52428800\r\n\r\n')
      push()
      return client
    })
    try {
      await eventually(() => sockets.size === 50, 'all have reached it', 20_000)
      for (let last = -1, still = 0; still < 5; still++) {
        const sent = clients.reduce((sum, { socket }) => sum + socket.bytesWritten - socket.writableLength, 0)
        if (sent !== last) still = 0
        last = sent
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
      for (const { socket, gone } of clients) if (gone) socket.destroy()
      await clock.advance(50_000)
      assert.equal(stuck.server.connections, 50, 'an application may take its time')
      await clock.advance(11_000)
      await eventually(
        () => clients.every(({ text, gone }) => gone || text.startsWith('HTTP/1.1 502 ')),
        'all are answered',
      )
      await clock.advance(61_000)
      // Paused sockets still hold what the upstream did not read: what is left is the kernel's to tell.
      await eventually(() => stuck.server.connections === 0, 'all are closed')
      for (const socket of sockets) socket.resume()
      await eventually(() => sockets.size === 0, 'the application is let go')
    } finally {
      for (const { socket } of clients) socket.destroy()
      for (const socket of sockets) socket.destroy()
      upstream.close()
    }
  })

  it(`row 46: ${connections} idle connections: at most 20 KiB each with their clients, closed after 60 s`, async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const heap = (): number => {
      collect()
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const before = heap()
    const clients = await open(connections, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await eventually(() => clients.every(({ text }) => text.endsWith('ok')), 'all are answered', 20_000)
    const each = (heap() - before) / connections / 1_024
    assert.ok(each < 20, `${each.toFixed(1)} KiB each`)
    await clock.advance(50_000)
    assert.equal(relay.server.connections, connections)
    await clock.advance(11_000)
    await clock.advance(2_000)
    await settled(clients, 'all are closed')
    assert.equal(relay.server.connections, 0)
  })
})

const policies = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: app, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: app }]
  rules:
    - matches: [{ path: { value: /endless } }]
      filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: endless, port: 8080 } } }]
      backendRefs: [{ name: app, port: 8080 }]
    - matches: [{ path: { value: /silent } }]
      filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: silent, port: 8080 } } }]
      backendRefs: [{ name: app, port: 8080 }]
    - matches: [{ queryParams: [{ name: none, value: none }] }]
      backendRefs: [{ name: silent, port: 8080 }]
    - backendRefs: [{ name: app, port: 8080 }]
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: app, namespace: test }
spec:
  selector: { matchLabels: { app: app } }
  action: DENY
  rules: [{ to: [{ paths: [/office] }] }]
`

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { type Loop, LoopGuard, plainAddress } from './loop-guard.ts'
import type { Destination } from './original-destination.ts'

const elsewhere = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find((one) => !one.internal)?.address

/** As an accepted socket looks to the guard. */
function accepted(localAddress: string, localPort: number): Socket {
  return { remoteAddress: '10.9.9.9', remotePort: 40_000, localAddress, localPort } as Socket
}

const rows: [name: string, socket: Socket, destination: Destination | undefined, expected: Loop | undefined][] = [
  ['redirected to somebody else', accepted('127.0.0.1', 15001), { address: '10.0.0.2', port: 80 }, undefined],
  [
    'somebody else also has a 15006',
    accepted('127.0.0.1', 15001),
    { address: '10.255.255.254', port: 15006 },
    undefined,
  ],
  ['not known as redirected', accepted('10.0.0.1', 15006), undefined, 'direct'],
  ['dialled directly', accepted('10.0.0.1', 15006), { address: '10.0.0.1', port: 15006 }, 'direct'],
  [
    'dialled directly on a dual-stack socket',
    accepted('::ffff:10.0.0.1', 15006),
    { address: '10.0.0.1', port: 15006 },
    'direct',
  ],
  [
    'redirected, but meant for our other listener',
    accepted('127.0.0.1', 15001),
    { address: '127.0.0.1', port: 15006 },
    'own-listener',
  ],
  ['the same over IPv6', accepted('::1', 15001), { address: '::1', port: 15006 }, 'own-listener'],
]
if (elsewhere !== undefined) {
  rows.push([
    'meant for our listener by another address of this machine',
    accepted('127.0.0.1', 15001),
    { address: elsewhere, port: 15006 },
    'own-listener',
  ])
}

for (const [name, socket, destination, expected] of rows) {
  test(`${expected ?? 'passes'}: ${name}`, () => {
    const guard = new LoopGuard([15001])
    guard.addPort(15006)
    assert.equal(guard.check(socket, destination, 'outbound'), expected)
    const counts = { direct: 0, 'own-listener': 0, 'own-socket': 0 }
    if (expected !== undefined) counts[expected] = 1
    assert.deepEqual(guard.found, counts)
  })
}

for (const [host, dialled] of [
  ['127.0.0.1', '127.0.0.1'],
  ['::1', '0:0:0:0:0:0:0:1'],
] as const) {
  test(`own-socket: a connection that we dialled ourselves (${host}), even before we know that it is connected`, async () => {
    const guard = new LoopGuard([])
    const server = createServer().listen(0, host)
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const found: (Loop | undefined)[] = []
    for (let i = 0; i < 20; i++) {
      const client = connect(port, dialled)
      guard.track(client)
      const [socket] = (await once(server, 'connection')) as [Socket]
      found.push(guard.check(socket, { address: host, port }, 'outbound'))
      client.destroy()
      socket.destroy()
      await once(client, 'close')
    }
    assert.deepEqual(found, Array(20).fill('own-socket'))
    assert.equal(guard.dialled, 0, 'forgotten when they close')
    const stranger = connect(port, host)
    const [socket] = (await once(server, 'connection')) as [Socket]
    assert.equal(guard.check(socket, { address: host, port }, 'outbound'), undefined)
    stranger.destroy()
    socket.destroy()
    server.close()
  })
}

test('inbound, our own connection is a call to ourselves, unless it is the delivery to the application', async () => {
  const guard = new LoopGuard([])
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const destination = { address: '127.0.0.1', port }
  for (const [localAddress, expected] of [
    ['127.0.0.1', undefined],
    ['127.0.0.6', 'own-socket'],
  ] as const) {
    const client = connect({ port, host: '127.0.0.1', localAddress })
    guard.track(client)
    const [socket] = (await once(server, 'connection')) as [Socket]
    assert.equal(guard.check(socket, destination, 'inbound'), expected)
    assert.equal(guard.check(socket, destination, 'outbound'), 'own-socket')
    client.destroy()
    socket.destroy()
  }
  server.close()
})

test('an application may have the port of one of our own connections, as long as it calls somebody else', async () => {
  const guard = new LoopGuard([])
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const ours = connect(port, '127.0.0.1')
  guard.track(ours)
  await once(ours, 'connect')
  const socket = { remoteAddress: '127.0.0.1', remotePort: ours.localPort, localPort: 15001 } as Socket
  assert.equal(guard.check(socket, { address: '10.215.0.20', port: 80 }, 'outbound'), undefined)
  assert.equal(guard.check(socket, { address: '127.0.0.1', port: port + 1 }, 'outbound'), undefined)
  assert.equal(guard.check(socket, { address: '127.0.0.1', port }, 'outbound'), 'own-socket')
  ours.destroy()
  await once(ours, 'close')
  assert.equal(guard.check(socket, { address: '127.0.0.1', port }, 'outbound'), undefined)
  server.close()
})

test('a connection that is open already can be tracked; one that failed leaves nothing', async () => {
  const guard = new LoopGuard([])
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  guard.track(client)
  assert.equal(guard.dialled, 1)
  client.destroy()
  await once(client, 'close')
  server.close()
  await once(server, 'close')
  const refused = connect(port, '127.0.0.1')
  guard.track(refused)
  refused.on('error', () => {})
  await new Promise((resolve) => refused.once('close', resolve))
  assert.equal(guard.dialled, 0)
})

test('v4-mapped addresses are IPv4', () => {
  assert.deepEqual(['::ffff:10.0.0.1', '::1', undefined].map(plainAddress), ['10.0.0.1', '::1', ''])
})

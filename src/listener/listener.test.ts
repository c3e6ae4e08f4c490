import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { systemClock } from '../base/clock.ts'
import { connectionsMaxDefault, Listener, type ListenerOptions } from './listener.ts'

function newListener(options: Partial<ListenerOptions> = {}): Listener {
  return new Listener({
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    onConnection: (socket) => void socket.resume(),
    ...options,
  })
}

/** Connected, with what became of it. */
async function dial(port: number, host = '127.0.0.1'): Promise<{ socket: Socket; over: Promise<string> }> {
  const socket = connect({ port, host, allowHalfOpen: true })
  let ended = false
  const over = new Promise<string>((resolve) => {
    socket.on('end', () => {
      ended = true
      socket.end()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.on('close', () => resolve(ended ? 'end' : 'close'))
  })
  socket.resume()
  // A reset may come before the client hears that it is connected.
  await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), over])
  return { socket, over }
}

test('binds a free port, hands over paused sockets that may stay half open', async () => {
  const accepted = Promise.withResolvers<Socket>()
  const listener = newListener({ onConnection: accepted.resolve })
  const { host, port } = await listener.listen()
  assert.equal(host, '127.0.0.1')
  const { socket } = await dial(port)
  const server = await accepted.promise
  assert.deepEqual([server.isPaused(), server.allowHalfOpen, listener.connections.has(server)], [true, true, true])
  server.destroy()
  socket.destroy()
  listener.close()
})

test('both families on one port', async () => {
  const v4 = newListener({ host: '0.0.0.0' })
  const { port } = await v4.listen()
  const v6 = newListener({ host: '::', port })
  await v6.listen()
  for (const host of ['127.0.0.1', '::1']) (await dial(port, host)).socket.destroy()
  v4.close()
  v6.close()
})

const refusals: [name: string, options: (port: number) => Partial<ListenerOptions>, message: RegExp][] = [
  [
    'a port in use',
    (port) => ({ port }),
    /^test listener: cannot listen on 127\.0\.0\.1:\d+: the port is in use; stop .*choose another/,
  ],
  [
    'an address that is not here',
    () => ({ host: '203.0.113.7' }),
    /203\.0\.113\.7:0: this machine does not have the address; choose/,
  ],
  [
    'a host name that is none',
    () => ({ host: 'no such host' }),
    /cannot listen on no such host:0: (no such host name; write an IP|)/,
  ],
]

for (const [name, options, message] of refusals) {
  test(`refuses with a remedy: ${name}`, async () => {
    const first = newListener()
    const { port } = await first.listen()
    await assert.rejects(newListener(options(port)).listen(), { message })
    first.close()
  })
}

test('past connectionsMax a connection is reset and counted, and the next is welcome when one has gone', async () => {
  const listener = newListener({ connectionsMax: 2 })
  const { port } = await listener.listen()
  const one = await dial(port)
  const two = await dial(port)
  assert.equal(await (await dial(port)).over, 'ECONNRESET')
  assert.deepEqual([listener.accepted, listener.refused], [2, 1])
  const gone = Promise.withResolvers<void>()
  for (const socket of listener.connections) socket.once('close', () => gone.resolve())
  one.socket.resetAndDestroy()
  await gone.promise
  const four = await dial(port)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([listener.accepted, listener.refused, listener.connections.size], [3, 1, 2])
  two.socket.destroy()
  four.socket.destroy()
  listener.close()
})

test('drain stops accepting at once, and is over when the last connection is', async () => {
  const listener = newListener({ onConnection: (socket) => void socket.resume().on('end', () => socket.end()) })
  const { port } = await listener.listen()
  const { socket, over } = await dial(port)
  const drained = listener.drain(60_000)
  assert.equal(await (await dial(port)).over, 'ECONNREFUSED')
  assert.equal(socket.destroyed, false)
  socket.end()
  await drained
  assert.equal(await over, 'end')
})

test('drain forces what is left when its time is over', async () => {
  const clock = new FakeClock()
  const listener = newListener({ clock })
  const { port } = await listener.listen()
  const { over } = await dial(port)
  const drained = listener.drain(5_000)
  await clock.advance(4_999)
  assert.equal(listener.connections.size, 1)
  await clock.advance(1)
  await drained
  assert.equal(await over, 'ECONNRESET')
})

test('drain with nothing open, twice, and after close', async () => {
  const listener = newListener({ clock: new FakeClock() })
  await listener.listen()
  await listener.drain(5_000)
  await listener.drain(5_000)
  listener.close()
})

test('a connection that resets before anyone reads does not end the process', async () => {
  const accepted = Promise.withResolvers<Socket>()
  const listener = newListener({ onConnection: accepted.resolve })
  const { port } = await listener.listen()
  const { socket } = await dial(port)
  const server = await accepted.promise
  socket.resetAndDestroy()
  server.resume()
  await new Promise((resolve) => server.once('close', resolve))
  assert.equal(listener.connections.size, 0)
  listener.close()
})

const outOfDescriptors = `
import { connect } from 'node:net'
import { Listener } from ${JSON.stringify(new URL('./listener.ts', import.meta.url).href)}
import { systemClock } from ${JSON.stringify(new URL('../base/clock.ts', import.meta.url).href)}
const listener = new Listener({ name: 'test', host: '127.0.0.1', port: 0, clock: systemClock, onConnection: (s) => s.resume() })
const { port } = await listener.listen()
const outcomes = { reset: 0, open: 0, ended: 0 }
const sockets = []
for (let i = 0; i < 120; i++) {
  // One at a time, so that the clients' own descriptors are counted in: both ends are in this process.
  await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => { outcomes.reset++; resolve() })
    socket.on('end', () => { outcomes.ended++; resolve() })
    socket.on('connect', () => setTimeout(() => { if (!socket.destroyed) { outcomes.open++; sockets.push(socket) } resolve() }, 2))
    socket.resume()
  })
}
for (const socket of sockets) socket.resetAndDestroy()
while (listener.connections.size > 0) await new Promise(setImmediate)
const again = connect(port, '127.0.0.1')
await new Promise((resolve, reject) => again.once('connect', resolve).once('error', reject))
console.log(JSON.stringify({ ...outcomes, accepted: listener.accepted, refused: listener.refused }))
process.exit()
`

test('at the limit of descriptors: reset and counted, never a plain end, and it recovers', {
  skip: process.platform !== 'linux' && 'Linux',
}, () => {
  const result = spawnSync(
    'sh',
    ['-c', 'ulimit -n 240; exec "$0" --input-type=module-typescript -e "$1"', process.execPath, outOfDescriptors],
    {
      encoding: 'utf8',
    },
  )
  assert.equal(result.stderr.replace(/^.*ExperimentalWarning.*\n.*\n/m, ''), '')
  const { ended, open, reset, accepted, refused } = JSON.parse(result.stdout)
  // (240 - 64) / 4 connections at once.
  assert.deepEqual({ ended, open, refused, accepted }, { ended: 0, open: 44, refused: 76, accepted: 45 })
  assert.equal(reset, 76)
})

test('the default limit is a sane number here', () => {
  const most = connectionsMaxDefault()
  assert.ok(Number.isInteger(most) && most >= 16 && most <= 65_536, String(most))
})

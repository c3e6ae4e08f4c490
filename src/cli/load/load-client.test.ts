import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { type Clock, sleep, systemClock } from '../../base/clock.ts'
import { LoadClient, type LoadTarget } from './load-client.ts'
import { Tally } from './tally.ts'

async function serve(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port }
}

function target(port: number, is: 'proxy' | 'direct', ratePerSecond: number): LoadTarget {
  return {
    url: new URL('http://web:8080/page?x=1'),
    ratePerSecond,
    headers: { 'x-canary': 'true' },
    via: { is, host: '127.0.0.1', port },
  }
}

async function until(clock: Clock, condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(clock, 5)
}

for (const [is, line] of [
  ['proxy', 'http://web:8080/page?x=1'],
  ['direct', '/page?x=1'],
] as const) {
  test(`${is}: the request line, Host and headers`, async () => {
    const seen: string[] = []
    const { server, port } = await serve((request, response) => {
      seen.push(`${request.url} ${request.headers.host} ${request.headers['x-canary']}`)
      response.end()
    })
    const client = new LoadClient(target(port, is, 100), systemClock)
    const tally = new Tally()
    client.start(tally)
    await until(systemClock, () => tally.ended >= 3)
    await client.pause()
    await client.close()
    server.close()
    assert.equal(seen[0], `${line} web:8080 true`)
  })
}

test('every answer is counted once, by status and header, and the server counts the same', async () => {
  let received = 0
  const { server, port } = await serve((_request, response) => {
    received++
    response.writeHead(received % 4 === 0 ? 503 : 200, { 'x-served-by': received % 2 === 0 ? 'b' : 'a' }).end('body')
  })
  const client = new LoadClient(target(port, 'direct', 400), systemClock)
  const tally = new Tally(['x-served-by'])
  client.start(tally)
  await until(systemClock, () => tally.sent >= 100)
  await client.pause()
  await client.close()
  server.close()
  assert.equal(tally.sent, received)
  assert.equal(tally.answers, received)
  assert.equal(tally.byStatus.get(503), Math.floor(received / 4))
  assert.equal(tally.successes, received - Math.floor(received / 4))
  assert.equal(tally.withHeader('x-served-by', 'b'), Math.floor(received / 2))
  assert.equal(tally.latencies.count, received)
})

test('open loop: a server that does not answer gets requests at the same rate', async () => {
  let received = 0
  const { server, port } = await serve(() => {
    received++
  })
  const client = new LoadClient(target(port, 'direct', 200), systemClock)
  const tally = new Tally()
  client.start(tally)
  await until(systemClock, () => received >= 20)
  await client.close()
  await until(systemClock, () => tally.failures === tally.sent)
  server.closeAllConnections()
  server.close()
  assert.ok(tally.sent >= 20)
  assert.equal(tally.answers, 0)
})

test('a connection that is broken off is a failure with its cause, not an answer', async () => {
  const { server, port } = await serve((request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('half')
    request.socket.destroy()
  })
  const client = new LoadClient(target(port, 'direct', 100), systemClock)
  const tally = new Tally()
  client.start(tally)
  await until(systemClock, () => tally.failures >= 3)
  await client.pause()
  await client.close()
  server.close()
  assert.equal(tally.answers, 0)
  assert.deepEqual([...tally.byError.keys()], ['ECONNRESET'])
})

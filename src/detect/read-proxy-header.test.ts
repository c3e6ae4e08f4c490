import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { pair, readAll, seen } from '../../test/support/pair.ts'
import { tcp4 } from '../../test/support/proxy-headers.ts'
import { readProxyHeader } from './read-proxy-header.ts'

const line = Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 49153 443\r\n')
const binary = tcp4('203.0.113.5', 49_153)

for (const [name, header] of [
  ['version 1', line],
  ['version 2', binary],
] as const) {
  test(`${name}: however the bytes are cut, the header is taken and the rest is left`, async () => {
    const sent = Buffer.concat([header, Buffer.from('GET / HTTP/1.1')])
    for (let cut = 1; cut <= sent.length; cut++) {
      await using ends = await pair()
      const clock = new FakeClock()
      const read = readProxyHeader(ends.socket, { clock, timeoutMs: 10_000 })
      ends.client.write(sent.subarray(0, cut))
      await seen(ends.socket, cut)
      if (cut < sent.length) ends.client.write(sent.subarray(cut))
      ends.client.end()
      const found = await read
      assert.deepEqual(found, { is: 'header', bytes: header.length, client: { address: '203.0.113.5', port: 49_153 } })
      assert.ok(ends.socket.isPaused())
      assert.equal(await readAll(ends.socket), 'GET / HTTP/1.1', `cut at ${cut}`)
      assert.equal(clock.pendingTimers, 0)
    }
  })
}

test('a header and nothing behind it', async () => {
  await using ends = await pair()
  const read = readProxyHeader(ends.socket, { clock: new FakeClock(), timeoutMs: 10_000 })
  ends.client.end(line)
  assert.equal((await read).is, 'header')
  assert.equal(await readAll(ends.socket), '')
})

test('a header that does not come, or not to its end, is refused when time is over', async () => {
  for (const part of ['', 'PROXY TCP4 203.0.1']) {
    await using ends = await pair()
    const clock = new FakeClock()
    let done = false
    const read = readProxyHeader(ends.socket, { clock, timeoutMs: 10_000 }).finally(() => {
      done = true
    })
    ends.client.write(part)
    await seen(ends.socket, part.length)
    await clock.advance(9_999)
    assert.equal(done, false)
    await clock.advance(1)
    assert.equal((await read).is, 'refused')
  }
})

test('a connection that ends within its header is refused; one that ends or dies before it is gone', async () => {
  await using cut = await pair()
  const inHeader = readProxyHeader(cut.socket, { clock: new FakeClock(), timeoutMs: 10_000 })
  cut.client.end('PROXY ')
  assert.equal((await inHeader).is, 'refused')
  await using silent = await pair()
  const nothing = readProxyHeader(silent.socket, { clock: new FakeClock(), timeoutMs: 10_000 })
  silent.client.end()
  assert.equal((await nothing).is, 'gone')
  await using dead = await pair()
  const died = readProxyHeader(dead.socket, { clock: new FakeClock(), timeoutMs: 10_000 })
  dead.client.resetAndDestroy()
  assert.equal((await died).is, 'gone')
})

test('what is no header is refused at its first byte', async () => {
  await using ends = await pair()
  const read = readProxyHeader(ends.socket, { clock: new FakeClock(), timeoutMs: 10_000 })
  ends.client.write('G')
  const found = await read
  assert.ok(found.is === 'refused')
  assert.match(found.reason, /does not begin/)
  await settle()
  ends.client.end()
  ends.socket.resume()
  await once(ends.socket, 'end')
})

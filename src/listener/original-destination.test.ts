import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadOriginalDestination, parseSockAddr } from './original-destination.ts'

/** sockaddr_in6 as the kernel writes it. */
function v6(address: number[], port: number): Buffer {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt16LE(10, 0)
  bytes.writeUInt16BE(port, 2)
  for (const [i, group] of address.entries()) bytes.writeUInt16BE(group, 8 + 2 * i)
  return bytes
}

test('sockaddr_in', () => {
  const bytes = Buffer.from('0200 1f90 0a4d0002 0000000000000000'.replaceAll(' ', ''), 'hex')
  assert.deepEqual(parseSockAddr(bytes), { address: '10.77.0.2', port: 8080 })
})

const rows: [groups: number[], text: string][] = [
  [[0xfd77, 0, 0, 0, 0, 0, 0, 2], 'fd77::2'],
  [[0, 0, 0, 0, 0, 0, 0, 1], '::1'],
  [[0, 0, 0, 0, 0, 0, 0, 0], '::'],
  [[0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], '2001:db8:0:1:1:1:1:1'],
  [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], '2001:db8::1:0:0:1'],
  [[0x2001, 0, 0, 1, 0, 0, 0, 1], '2001:0:0:1::1'],
  [[0xfe80, 0, 0, 0, 0xdead, 0xbeef, 0, 0], 'fe80::dead:beef:0:0'],
  [[0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001], '10.0.0.1'],
]
for (const [groups, text] of rows) {
  test(`sockaddr_in6: ${text}`, () => assert.deepEqual(parseSockAddr(v6(groups, 443)), { address: text, port: 443 }))
}

test('another family is nothing', () => {
  assert.equal(parseSockAddr(Buffer.alloc(28)), undefined)
})

test('property: IPv6 text reads back to the same bytes, as Node itself writes it', () => {
  const group = fc.oneof(fc.constant(0), fc.nat(0xffff))
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      fc.pre(
        !groups.slice(0, 6).every((value) => value === 0) &&
          !(groups.slice(0, 5).every((value) => value === 0) && groups[5] === 0xffff),
      )
      const plain = groups.map((value) => value.toString(16)).join(':')
      assert.equal(parseSockAddr(v6(groups, 1))?.address, new URL(`http://[${plain}]/`).hostname.slice(1, -1))
    }),
    { numRuns: 2_000 },
  )
})

test('loads and proves itself; a connection that nobody redirected is its own destination or none', {
  skip: process.platform !== 'linux' && 'Linux',
}, async () => {
  const originalDestination = await loadOriginalDestination()
  for (const host of ['127.0.0.1', '::1']) {
    const server = createServer().listen(0, host)
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const client = connect(port, host)
    const [socket] = (await once(server, 'connection')) as [Socket]
    const found = originalDestination(socket)
    assert.ok(found === undefined || (found.port === port && found.address === host), JSON.stringify(found))
    socket.destroy()
    assert.equal(originalDestination(socket), undefined, 'a dead socket has no descriptor to ask')
    client.destroy()
    server.close()
  }
})

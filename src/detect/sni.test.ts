import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { serverName } from './sni.ts'

/** The first flight of a real TLS client. */
function clientHello(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk)
        done()
      },
    })
    connect({ socket: wire, ...(servername !== undefined && { servername }) }).on('error', () => {})
  })
}

test('reads the name of a real ClientHello, in lower case', async () => {
  assert.equal(serverName(await clientHello('Orders.Shop.svc')), 'orders.shop.svc')
})

test('no name in the hello', async () => {
  assert.equal(serverName(await clientHello(undefined)), undefined)
})

test('a part of a hello has no name, and no part makes it throw', async () => {
  const hello = await clientHello('orders.shop')
  const nameAt = hello.indexOf('orders.shop')
  for (let length = 0; length < hello.length; length++) {
    const name = serverName(hello.subarray(0, length))
    if (length < nameAt + 'orders.shop'.length) assert.equal(name, undefined)
  }
})

test('a name that is not one never reaches a log', async () => {
  const hello = await clientHello('orders.shop')
  for (const bad of ['orders\nshop', 'orders\0shop', '\x1b[31m.shop', 'orders/shop']) {
    const forged = Buffer.from(hello)
    forged.write(bad.padEnd(11, 'x').slice(0, 11), hello.indexOf('orders.shop'), 'latin1')
    assert.equal(serverName(forged), undefined, JSON.stringify(bad))
  }
})

test('property: any bytes, and any damage to a hello, give a name or nothing', async () => {
  const hello = await clientHello('orders.shop')
  fc.assert(
    fc.property(fc.nat(hello.length - 1), fc.nat(255), fc.nat(hello.length), (at, byte, length) => {
      const damaged = Buffer.from(hello.subarray(0, length))
      if (at < damaged.length) damaged[at] = byte
      const name = serverName(damaged)
      assert.ok(name === undefined || /^[a-z0-9._-]+$/.test(name))
    }),
    { numRuns: 3_000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void serverName(Buffer.from(bytes))))
})

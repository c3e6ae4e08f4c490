import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { preflight } from './preflight.ts'

test('a port in use is named with its purpose and a remedy', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const lines = await preflight([{ address: '127.0.0.1', port, purpose: 'shop/web: app' }])
  server.close()
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', new RegExp(`^127\\.0\\.0\\.1:${port} \\(shop/web: app\\) is in use: stop what listens`))
})

test('a free port is free again afterwards', async () => {
  const wanted = [{ address: '127.1.77.1', port: 34_571, purpose: 'a' }]
  assert.deepEqual(await preflight(wanted), [])
  assert.deepEqual(await preflight(wanted), [])
})

test('an address that the machine does not have', async () => {
  const lines = await preflight([
    { address: '192.0.2.1', port: 8080, purpose: 'a' },
    { address: '192.0.2.1', port: 8081, purpose: 'b' },
  ])
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', /no address 192\.0\.2\.1: /)
})

test('two programs that want one address', async () => {
  const lines = await preflight([
    { address: '127.1.77.1', port: 8080, purpose: 'a' },
    { address: '127.1.77.1', port: 8080, purpose: 'b' },
  ])
  assert.deepEqual(lines, ['127.1.77.1:8080 is wanted twice, by a and by b: give each Pod an address of its own'])
})

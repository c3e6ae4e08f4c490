/** Bodies that are written from the buffers they were read into, which go from one connection to the next: nobody gets another's bytes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { it } from 'node:test'
import { startRelay } from '../support/http1-relay.ts'

const clients = 16
const requests = 32

/** What the upstream sends for a number: its length and its bytes tell it from all others. */
function bodyOf(number: number): Buffer {
  // Those whose reader stops are about as long as what the kernel takes, so that the end of some has to wait.
  const body = Buffer.alloc(
    number % 4 === 0 ? 1_500_000 + ((number * 79_193) % 4_000_000) : 5_000 + ((number * 7_919) % 400_000),
  )
  for (let at = 0; at + 4 <= body.length; at += 64) body.writeUInt32LE(((number << 23) ^ at) >>> 0, at)
  return body
}

it('answers of 5 KB to 5 MB on kept connections, to readers that stop, are slow, or leave', {
  timeout: 120_000,
}, async () => {
  const upstream = http.createServer((request, response) => {
    const body = bodyOf(Number(request.url!.slice(1)))
    // Some in one piece with their head, some after it.
    response.setHeader('content-length', body.length)
    if (body.length % 3 === 0) response.flushHeaders()
    response.end(body)
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  await using relay = await startRelay((upstream.address() as AddressInfo).port)
  let compared = 0
  const run = async (client: number): Promise<void> => {
    let socket: net.Socket | undefined
    for (let i = 0; i < requests; i++) {
      const number = client * requests + i
      if (socket === undefined || socket.destroyed) socket = net.connect(relay.port, '127.0.0.1')
      socket.write(`GET /${number} HTTP/1.1\r\nhost: app\r\n\r\n`)
      // The answer lies in the relay and in the kernel until the others had theirs.
      if (number % 4 === 0) {
        socket.pause()
        for (let turn = 0; turn < 40; turn++) await new Promise((resolve) => setImmediate(resolve))
      }
      if (number % 11 === 0) {
        socket.destroy()
        continue
      }
      const expected = bodyOf(number)
      const got: Buffer = await answer(socket, expected.length, number % 5 === 0)
      assert.ok(got.equals(expected), `the body of ${number}`)
      compared++
    }
    socket?.destroy()
  }
  await Promise.all(Array.from({ length: clients }, (_, client) => run(client)))
  assert.ok(compared > clients * requests * 0.8)
  upstream.close()
  upstream.closeAllConnections()
})

/** The body of the next answer. `slowly`: a chunk each turn. */
function answer(socket: net.Socket, length: number, slowly: boolean): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0)
    const chunks: Buffer[] = []
    let bytes = 0
    let start = -1
    const take = (chunk: Buffer): void => {
      chunks.push(chunk)
      bytes += chunk.length
      if (start === -1) {
        held = Buffer.concat([held, chunk])
        const end = held.indexOf('\r\n\r\n')
        if (end !== -1) start = end + 4
      }
      if (start !== -1 && bytes >= start + length) {
        socket.off('data', take)
        socket.off('close', lost)
        resolve(Buffer.concat(chunks).subarray(start))
      } else if (slowly) {
        socket.pause()
        setImmediate(() => socket.resume())
      }
    }
    const lost = (): void => reject(new Error('the connection ended'))
    socket.on('data', take)
    socket.once('close', lost)
    socket.resume()
  })
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { eventually } from '../../test/support/control.ts'
import { systemClock } from '../base/clock.ts'
import { Pulse, streamHeader } from './pulse.ts'

/** A server of HTTP/2 behind a wire that the test can cut and mend. */
async function setUp(test: TestContext) {
  const server = http2.createServer()
  server.on('stream', (stream) => (stream as http2.ServerHttp2Stream).respond({ ':status': 200 }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets: net.Socket[] = []
  const wire = net.createServer((client) => {
    const up = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
    sockets.push(client, up)
    for (const socket of [client, up]) socket.on('error', () => {})
    client.pipe(up)
    up.pipe(client)
  })
  wire.listen(0, '127.0.0.1')
  await once(wire, 'listening')
  const session = http2.connect(`http://127.0.0.1:${(wire.address() as AddressInfo).port}`)
  test.after(() => {
    session.destroy()
    for (const socket of sockets) socket.destroy()
    wire.close()
    server.close()
  })
  return {
    session,
    cut: () => sockets.forEach((socket) => void socket.pause()),
    mend: () => sockets.forEach((socket) => void socket.resume()),
  }
}

describe('the pulse of a stream', () => {
  it('is lost within two seconds of silence, and found again', async (test) => {
    const { session, cut, mend } = await setUp(test)
    const said: boolean[] = []
    using pulse = new Pulse(systemClock, (alive) => said.push(alive))
    // Another's stream is not taken for ours.
    session.request({ ':path': '/other', [streamHeader]: '0' })
    session.request({ ':path': '/watch', [streamHeader]: pulse.id })
    await new Promise((resolve) => setTimeout(resolve, 1_300))
    assert.deepEqual(said, [])
    assert.equal(pulse.alive, true)
    cut()
    await eventually(() => said.length === 1, 'silence is noticed', 3_000)
    assert.equal(pulse.alive, false)
    mend()
    await eventually(() => said.length === 2, 'life is noticed', 3_000)
    assert.deepEqual(said, [false, true])
  })

  it('says nothing once it is disposed of, nor for a stream that never began', async (test) => {
    const { session, cut } = await setUp(test)
    const said: boolean[] = []
    const never = new Pulse(systemClock, (alive) => said.push(alive))
    const pulse = new Pulse(systemClock, (alive) => said.push(alive))
    session.request({ ':path': '/watch', [streamHeader]: pulse.id })
    cut()
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    pulse[Symbol.dispose]()
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    never[Symbol.dispose]()
    assert.deepEqual(said, [])
  })
})

/** The client for tests against Node's own server (nghttp2): what it reads is what was sent. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { data, frame, reset, types } from './frames.ts'
import { RawHttp2, requestFields } from './raw.ts'

describe('a client of frames', () => {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 77 } })
  const seen: string[][] = []
  let port = 0
  before(async () => {
    server.on('stream', (stream: http2.ServerHttp2Stream, _head, _flags, raw: string[]) => {
      seen.push(raw)
      stream.on('error', () => {})
      stream.respond(
        { ':status': 418, 'x-text': 'Plain text: #$&(*+;<=>?@[]^_`{|}~', 'x-long': 'y'.repeat(20_000) },
        { waitForTrailers: true },
      )
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '5' }))
      stream.pipe(stream)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as net.AddressInfo).port
  })
  after(() => server.close())

  it('reads heads, bodies and trailers, though each names what stood before', async () => {
    using client = await RawHttp2.open({ port })
    for (let i = 0; i < 3; i++) {
      const stream = client.request(requestFields({ method: 'POST', path: `/${i}` }, ['x-mine', 'a\xe9']), false)
      client.send(data(stream, 'ping'), data(stream, ' pong', true))
      const answer = await client.whole(stream)
      assert.equal(answer.status, 418)
      assert.equal(answer.field('x-text'), 'Plain text: #$&(*+;<=>?@[]^_`{|}~')
      assert.equal(answer.field('x-long')?.length, 20_000)
      assert.equal(answer.body, 'ping pong')
      assert.deepEqual(answer.trailers, [['grpc-status', '5']])
      assert.deepEqual(seen.pop()?.slice(-2), ['x-mine', 'a\xe9'])
    }
    assert.equal(client.settings.maxConcurrentStreams, 77)
  })

  it('sees resets, GOAWAY and the end', async () => {
    using client = await RawHttp2.open({ port })
    const first = client.request(requestFields({}), false)
    await client.until(() => client.answer(first).status !== 0)
    client.send(reset(first, 'CANCEL'))
    // DATA on stream 0 (6.1).
    client.send(frame(types.data, 0, 0, Buffer.from('x')))
    assert.ok(await client.closed())
    assert.equal(client.goaway?.error, 'PROTOCOL_ERROR')
    assert.equal(client.answer(first).over, true)
  })
})

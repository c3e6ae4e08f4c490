/** Requests to an upstream, and its answers, at the edges: what comes in one read, in pieces, too early, too late. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { downstream, head } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { settled, socketPair } from '../../test/support/http2/fake-sockets.ts'
import {
  data,
  flags,
  headers,
  head as headFrames,
  reset,
  settings,
  windowUpdate,
} from '../../test/support/http2/frames.ts'
import { block } from '../../test/support/http2/hpack.ts'
import { RawHttp2 } from '../../test/support/http2/raw.ts'
import { type Body, type BodySink, noBody, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { Exchange, type RequestHead, type Response } from '../base/exchange.ts'
import { http1Limits } from '../http1/limits.ts'
import { responseRules } from '../http1/response-head.ts'
import { ClientSession } from './client-session.ts'
import { http2Limits } from './limits.ts'

function call(request: Partial<RequestHead> = {}, body: Body = noBody): Exchange {
  return new Exchange({ request: head({ version: '2', ...request }), body, downstream: downstream(), startedAt: 0 })
}

/** A session whose server is the test; it has said its SETTINGS. */
async function setUp(
  request: Partial<RequestHead> = {},
  body: Body = noBody,
  said: Parameters<typeof settings>[0] = {},
) {
  const [ours, theirs] = socketPair()
  const peer = new RawHttp2(theirs, 'server')
  peer.polite = false
  const told: string[] = []
  const owner = {
    streamEnded: () => told.push('ended'),
    room: () => {},
    leaving: () => told.push('leaving'),
    lost: () => told.push('lost'),
    closed: () => told.push('closed'),
    again: () => undefined,
  }
  const rules = responseRules(http1Limits, { dropReserved: true })
  const session = new ClientSession(ours, owner, new FakeClock(), http2Limits, rules, 'the app')
  ours.on('data', (chunk: Buffer) => session.read(chunk))
  peer.send(settings(said))
  await settled()
  const exchange = call(request, body)
  let response: Response | undefined
  let error: MeshError | undefined
  session.send(exchange, '', true).then(
    (given) => (response = given),
    (given: MeshError) => (error = given),
  )
  await settled()
  return { session, peer, exchange, told, response: () => response, error: () => error }
}

/** All of a body, and how it ended. */
function read(body: Body): { text: string; ended: boolean; trailers: unknown; failed: MeshError | undefined } {
  const got = { text: '', ended: false, trailers: undefined as unknown, failed: undefined as MeshError | undefined }
  body.pipe({
    data: (chunk) => {
      got.text += chunk.toString('latin1')
      return true
    },
    end: (trailers) => Object.assign(got, { ended: true, trailers }),
    fail: (error) => Object.assign(got, { failed: error }),
  })
  return got
}

const ok = block([[':status', '200']])
const trailers = headers(1, block([['grpc-status', '0']]))
const kib16 = Buffer.alloc(16_384, 'x')

describe('an answer', () => {
  for (const [name, bodyBytes] of [
    ['short', 100],
    ['longer than what is handed on as text', 50_000],
  ] as const) {
    it(`${name}, all of it in one read: it is finished, with its trailers`, async () => {
      const { peer, response, exchange, session } = await setUp()
      const frames: Buffer[] = [headers(1, ok, flags.endHeaders)]
      for (let at = 0; at < bodyBytes; at += 16_384)
        frames.push(data(1, kib16.subarray(0, Math.min(16_384, bodyBytes - at))))
      peer.send(...frames, trailers)
      await settled()
      const got = response()!
      assert.equal(got.finished, true)
      assert.deepEqual(got.trailers, ['grpc-status', '0'])
      assert.equal(exchange.waiting, undefined)
      const { text, ended } = read(got.body)
      assert.deepEqual([text.length, ended], [bodyBytes, true])
      assert.equal(session.streams.size, 0)
    })
  }

  it('whole, and behind it in the same read what ends the connection: it is handed on, others fail', async () => {
    for (const bodyBytes of [0, 100, 50_000]) {
      const { peer, response, session, exchange } = await setUp()
      let other: MeshError | undefined
      session.send(call(), '', true).catch((error: MeshError) => (other = error))
      await settled()
      const pieces = Array.from({ length: Math.ceil(bodyBytes / 10_000) }, (_, i) =>
        data(1, kib16.subarray(0, Math.min(10_000, bodyBytes - i * 10_000))),
      )
      peer.send(headers(1, ok, flags.endHeaders), ...pieces, data(1, '', true), data(0, 'never'))
      await settled()
      assert.equal(response()?.status, 200)
      assert.equal(read(response()!.body).text.length, bodyBytes)
      assert.equal(response()!.finished, true)
      assert.equal(exchange.waiting, undefined)
      assert.equal(other?.code, 'UPSTREAM_PROTOCOL')
    }
  })

  it('cut at every byte, it is the same', async () => {
    const bytes = Buffer.concat([
      headers(
        1,
        block([
          [':status', '200'],
          ['x-a', 'b'],
        ]),
        flags.endHeaders,
      ),
      data(1, 'some'),
      data(1, ' bytes'),
      trailers,
    ])
    for (let cut = 1; cut < bytes.length; cut++) {
      const { peer, response } = await setUp()
      peer.send(bytes.subarray(0, cut))
      await settled()
      peer.send(bytes.subarray(cut))
      await settled()
      const got = read(response()!.body)
      assert.deepEqual([got.text, got.ended, got.trailers], ['some bytes', true, ['grpc-status', '0']], `cut at ${cut}`)
      assert.deepEqual(response()!.headers, ['x-a', 'b'])
      assert.equal(response()!.finished, true)
    }
  })

  it('before the request is at its end: the rest is not sent, its source is told, the answer is whole', async () => {
    let sink: BodySink | undefined
    let discarded = 0
    const body: Body = {
      length: undefined,
      whole: undefined,
      pipe: (given) => {
        sink = given
      },
      pause: () => {},
      resume: () => {},
      discard: () => discarded++,
    }
    const { peer, response, session } = await setUp({ method: 'POST' }, body)
    sink!.data(Buffer.from('begun'))
    peer.send(headers(1, ok, flags.endHeaders), data(1, 'enough', true))
    await settled()
    assert.equal(peer.answer(1).reset, 'CANCEL')
    assert.equal(discarded, 1)
    assert.equal(read(response()!.body).text, 'enough')
    assert.equal(sink!.data(Buffer.alloc(1_000)), true, 'what comes still is nobody’s')
    assert.equal(session.streams.size, 0)
  })

  it('a request whose body waits for a window when the answer ends', async () => {
    const { peer, response, session } = await setUp({ method: 'POST' }, new WholeBody('x'.repeat(100)), {
      initialWindowSize: 10,
    })
    peer.send(headers(1, ok))
    await settled()
    assert.equal(response()!.status, 200)
    assert.equal(peer.answer(1).reset, 'CANCEL')
    peer.send(windowUpdate(1, 1_000), windowUpdate(0, 1_000))
    await settled()
    assert.equal(peer.answer(1).body.length, 10)
    assert.equal(session.streams.size, 0)
  })

  it('a body that is discarded resets its stream; frames that were on their way give their window back', async () => {
    const { peer, response, session, told } = await setUp()
    peer.send(headers(1, ok, flags.endHeaders), data(1, kib16), data(1, kib16))
    await settled()
    response()!.body.discard(new MeshError('DOWNSTREAM_RESET', 'client is gone'))
    await settled()
    assert.equal(peer.answer(1).reset, 'CANCEL')
    for (let i = 0; i < 60; i++) peer.send(data(1, kib16))
    await settled()
    const given = peer.frames.filter(({ type, stream }) => type === 8 && stream === 0)
    const sum = given.reduce((bytes, { payload }) => bytes + payload.readUInt32BE(0), 0)
    assert.ok(62 * 16_384 - (sum - (http2Limits.connectionWindowBytes - 65_535)) < 524_288)
    assert.equal(session.closed, false)
    assert.deepEqual(told, ['ended'])
  })

  it('reset in its middle: what came is not taken for all', async () => {
    const { peer, response } = await setUp()
    peer.send(headers(1, ok, flags.endHeaders), data(1, 'part'))
    await settled()
    const got = read(response()!.body)
    peer.send(reset(1, 'INTERNAL_ERROR'))
    await settled()
    assert.deepEqual([got.text, got.ended, got.failed?.code], ['part', false, 'UPSTREAM_RESET'])
    assert.equal(response()!.failure?.code, 'UPSTREAM_RESET')
  })

  for (const [what, frames] of [
    ['no :status', [headers(1, block([['x-a', 'b']]))]],
    [':status that is none', [headers(1, block([[':status', '20']]))]],
    ['101', [headers(1, block([[':status', '101']]), flags.endHeaders)]],
    ['an informational one that ends it', [headers(1, block([[':status', '103']]))]],
    [
      'more DATA than Content-Length',
      [
        headers(
          1,
          block([
            [':status', '200'],
            ['content-length', '1'],
          ]),
          4,
        ),
        data(1, 'ab'),
      ],
    ],
    [
      'less',
      [
        headers(
          1,
          block([
            [':status', '200'],
            ['content-length', '3'],
          ]),
          4,
        ),
        data(1, 'ab', true),
      ],
    ],
    ['DATA before it', [data(1, 'ab', true)]],
    [
      '204 with a body',
      [
        headers(
          1,
          block([
            [':status', '204'],
            ['content-length', '3'],
          ]),
          4,
        ),
        data(1, 'abc', true),
      ],
    ],
    ['trailers that end nothing', [headers(1, ok, 4), headers(1, block([['x', 'y']]), 4)]],
    [
      'informational ones without end',
      Array.from({ length: 80 }, () =>
        headFrames(
          1,
          block([
            [':status', '103'],
            ['link', 'x'.repeat(1_000)],
          ]),
          false,
        ),
      ),
    ],
  ] as [string, Buffer[]][]) {
    it(`none: ${what}`, async () => {
      const { peer, response, error, session } = await setUp()
      peer.send(...frames)
      await settled()
      assert.equal(peer.answer(1).reset, 'PROTOCOL_ERROR')
      assert.equal(error()?.code ?? response()!.failure?.code, 'UPSTREAM_PROTOCOL')
      assert.equal(session.streams.size, 0)
      assert.equal(session.closed, false, 'of one stream only')
    })
  }
})

describe('a tunnel', () => {
  it('whose server says all it has to say at once: nothing of it is lost, and the client may go on', async () => {
    const { peer, response, session } = await setUp({ upgrade: 'websocket' })
    peer.send(headers(1, ok, flags.endHeaders), data(1, 'hello', true))
    await settled()
    const { socket } = response()!.tunnel!
    assert.equal(peer.answer(1).reset, undefined)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.write('and you')
    await settled()
    assert.equal(text, 'hello')
    assert.equal(peer.answer(1).body, 'and you')
    socket.end()
    await settled()
    assert.equal(peer.answer(1).over, true)
    assert.equal(session.streams.size, 0)
  })

  it('that is lost before anybody splices it breaks nothing', async () => {
    const { peer, response } = await setUp({ upgrade: 'websocket' })
    peer.send(headers(1, ok, flags.endHeaders), data(1, 'hello'))
    await settled()
    const { socket } = response()!.tunnel!
    peer.socket.destroy()
    await settled()
    assert.equal(socket.destroyed, true)
  })
})

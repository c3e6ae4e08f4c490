/** Requests of clients, and their answers, at the edges: windows, ends, what nobody reads. */
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { fakeServer, whole } from '../../test/support/http2/fake-server.ts'
import { settled } from '../../test/support/http2/fake-sockets.ts'
import {
  data,
  type Frame,
  flags,
  frame,
  head,
  reset,
  settings,
  types,
  windowUpdate,
} from '../../test/support/http2/frames.ts'
import { block } from '../../test/support/http2/hpack.ts'
import { type RawHttp2, requestFields } from '../../test/support/http2/raw.ts'
import type { Body, BodySink } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Headers, Response } from '../base/exchange.ts'
import { http2Limits } from './limits.ts'

const never = new Promise<Response>(() => {})

/** Sum of the WINDOW_UPDATE that came for a stream. */
function given(client: RawHttp2, stream: number): number {
  const updates = client.frames.filter((one) => one.type === types.window && one.stream === stream)
  return updates.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0)
}

/** Of the connection, without what was given at its beginning. */
const givenToConnection = (client: RawHttp2): number => given(client, 0) - (http2Limits.connectionWindowBytes - 65_535)

/** A sink that keeps what it gets and is full when it is told. */
class Sink implements BodySink {
  bytes = 0
  full = false
  ended: Headers | true | undefined
  failed: MeshError | undefined

  data(chunk: Buffer): boolean {
    this.bytes += chunk.length
    return !this.full
  }

  end(trailers: Headers | undefined): void {
    this.ended = trailers ?? true
  }

  fail(error: MeshError): void {
    this.failed = error
  }
}

/** A body that the test sends. */
class Source implements Body {
  readonly length: number | undefined = undefined
  readonly whole = undefined
  sink: BodySink | undefined
  resumed = 0
  discarded = 0

  pipe(sink: BodySink): void {
    this.sink = sink
  }

  pause(): void {}

  resume(): void {
    this.resumed++
  }

  discard(): void {
    this.discarded++
  }
}

const post = requestFields({ method: 'POST' })
const kib16 = Buffer.alloc(16_384, 'x')

describe('windows for what a client sends', () => {
  it('give back what has been passed on, to the byte, padding included', async () => {
    const sink = new Sink()
    const { open, exchanges } = fakeServer((exchange) => {
      exchange.body.pipe(sink)
      return never
    })
    const client = open()
    const stream = client.request(post, false)
    let sent = 0
    // Every length of padding, in frames of all sizes.
    for (let i = 0; sent < 400_000; i++) {
      const padding = (i * 37) % 256
      const bytes = (i * 1_231) % 9_000
      const payload = Buffer.concat([Buffer.from([padding]), Buffer.alloc(bytes, 'y'), Buffer.alloc(padding)])
      client.send(frame(types.data, flags.padded, stream, payload))
      sent += payload.length
      await settled()
      assert.ok(sent - given(client, stream) <= 65_535, 'never more than a window is out')
      assert.ok(sent - given(client, stream) < 32_768, 'a half of it is given back')
      assert.ok(sent - givenToConnection(client) < 524_288)
    }
    assert.equal(exchanges.length, 1)
    assert.equal(client.goaway, undefined)
  })

  it('a sink that is full gets no more than a window; then all of it', async () => {
    const sink = new Sink()
    sink.full = true
    let body: Body | undefined
    const { open } = fakeServer((exchange) => {
      body = exchange.body
      body.pipe(sink)
      return never
    })
    const client = open()
    const stream = client.request(post, false)
    for (let i = 0; i < 3; i++) client.send(data(stream, kib16))
    client.send(data(stream, kib16.subarray(0, 16_383)))
    await settled()
    assert.equal(given(client, stream), 0)
    assert.equal(sink.bytes, 16_384)
    sink.full = false
    body!.resume()
    assert.equal(sink.bytes, 65_535)
    await settled()
    assert.equal(given(client, stream), 65_535)
    client.send(data(stream, '', true))
    await settled()
    assert.equal(sink.ended, true)
  })

  it('one byte more than the window resets the stream, and the connection has its bytes again', async () => {
    const sink = new Sink()
    sink.full = true
    const { open, completed, exchanges } = fakeServer((exchange) => {
      exchange.body.pipe(sink)
      return never
    })
    const client = open()
    for (let i = 0; i < 40; i++) {
      const stream = client.request(post, false)
      for (let j = 0; j < 4; j++) client.send(data(stream, kib16))
      assert.equal((await client.whole(stream, 1_000)).reset, 'FLOW_CONTROL_ERROR')
    }
    assert.ok(40 * 65_536 - givenToConnection(client) < 524_288)
    assert.ok(sink.failed)
    assert.deepEqual([...new Set(exchanges.map((exchange) => completed.get(exchange)))], [1])
  })

  it('bodies that nobody reads: their bytes are not held when the answer is out', async () => {
    const answers: ((response: Response) => void)[] = []
    const { open } = fakeServer(() => new Promise((resolve) => answers.push(resolve)))
    const client = open()
    for (let i = 0; i < 60; i++) {
      const stream = client.request(post, false)
      for (let j = 0; j < 3; j++) client.send(data(stream, kib16))
      client.send(data(stream, 'the end', true))
      await settled()
      answers[i]!(whole(503))
      assert.equal((await client.whole(stream, 1_000)).status, 503)
    }
    assert.ok(60 * 49_159 - givenToConnection(client) < 524_288, 'the window of the connection is open')
  })

  it('a frame that goes on after its stream has ended holds nothing', async () => {
    const timeout = http2Limits.bodyTimeoutMs
    const { open, clock, exchanges } = fakeServer(
      (exchange) => {
        exchange.body.pipe(new Sink())
        return never
      },
      { quietMs: 1e9 },
    )
    const client = open()
    // Its acknowledgement of SETTINGS must not fall into a frame.
    await settled()
    let sent = 0
    for (let i = 0; i < 100; i++) {
      const stream = client.request(post, false)
      const first = data(stream, kib16)
      client.send(first, first.subarray(0, 100))
      await settled()
      await clock.advance(timeout + 500)
      await settled()
      assert.equal(client.answer(stream).reset, 'CANCEL')
      client.send(first.subarray(100))
      sent += 2 * kib16.length
      await settled()
    }
    assert.equal(exchanges.length, 100)
    assert.ok(sent - givenToConnection(client) < 524_288, `${sent - givenToConnection(client)} bytes are lost`)
  })
})

describe('windows for what a client gets', () => {
  /** One stream whose answer is a source. */
  async function begun(said: Parameters<ReturnType<typeof fakeServer>['open']>[0], grpc = false) {
    const source = new Source()
    const made = fakeServer(async () => new Response(200, '', [], source))
    const client = made.open(said)
    const fields = grpc
      ? requestFields({ method: 'POST' }, ['content-type', 'application/grpc'], ['te', 'trailers'])
      : post
    const stream = client.request(fields, true)
    await settled()
    return { ...made, client, stream, source, sink: source.sink!, answer: client.answer(stream) }
  }

  it('no byte more than the window; END_STREAM waits behind what is queued', async () => {
    const { client, stream, sink, answer, source } = await begun({ initialWindowSize: 1_000 })
    assert.equal(sink.data(Buffer.alloc(1_500, 'a')), true, 'less than the queue takes')
    sink.end(undefined)
    await settled()
    assert.equal(answer.body.length, 1_000)
    assert.equal(answer.over, false)
    client.send(windowUpdate(stream, 499))
    await settled()
    assert.equal(answer.body.length, 1_499)
    assert.equal(answer.over, false)
    client.send(windowUpdate(stream, 1))
    await settled()
    assert.equal(answer.body.length, 1_500)
    assert.equal(answer.over, true)
    assert.equal(source.discarded, 0)
  })

  it('trailers wait behind what is queued', async () => {
    const { client, stream, sink, answer } = await begun({ initialWindowSize: 10 })
    sink.data(Buffer.alloc(20, 'a'))
    sink.end(['grpc-status', '0'])
    await settled()
    assert.equal(answer.trailers, undefined)
    client.send(windowUpdate(stream, 100))
    await settled()
    assert.equal(answer.body.length, 20)
    assert.deepEqual(answer.trailers, [['grpc-status', '0']])
  })

  it('a call whose answer fails gets its status behind what is queued, and completes once', async () => {
    const { client, stream, sink, answer, completed } = await begun({ initialWindowSize: 10 }, true)
    sink.data(Buffer.alloc(20, 'a'))
    sink.fail(new MeshError('UPSTREAM_RESET', 'gone'))
    client.send(windowUpdate(stream, 100))
    await settled()
    assert.equal(answer.body.length, 20)
    assert.equal(answer.field('grpc-status'), '14')
    assert.deepEqual([...completed.values()], [1])
  })

  it('below zero after SETTINGS: it sends when the window is above it again', async () => {
    const { client, stream, sink, answer } = await begun({ initialWindowSize: 1_000 })
    sink.data(Buffer.alloc(900, 'a'))
    await settled()
    client.send(settings({ initialWindowSize: 100 }))
    await settled()
    sink.data(Buffer.alloc(50, 'b'))
    await settled()
    assert.equal(answer.body.length, 900, 'the window is -800')
    client.send(windowUpdate(stream, 800))
    await settled()
    assert.equal(answer.body.length, 900, 'it is 0')
    client.send(settings({ initialWindowSize: 120 }))
    await settled()
    assert.equal(answer.body.length, 920)
    client.send(windowUpdate(stream, 30))
    sink.end(undefined)
    await settled()
    assert.equal(answer.body.length, 950)
    assert.equal(answer.over, true)
  })

  it('an answer that is here whole, and a window below zero', async () => {
    let answer: ((response: Response) => void) | undefined
    const { open } = fakeServer(() => new Promise((resolve) => (answer = resolve)))
    const client = open({ initialWindowSize: 0 })
    const empty = client.request(post, true)
    await settled()
    answer!(whole(200, ''))
    assert.equal((await client.whole(empty, 1_000)).over, true, 'no window is needed for nothing')
    const some = client.request(post, true)
    await settled()
    answer!(whole(200, 'some'))
    await settled()
    assert.equal(client.answer(some).over, false)
    client.send(settings({ initialWindowSize: 4 }))
    await settled()
    assert.equal(client.answer(some).body, 'some')
    assert.equal(client.answer(some).over, true)
  })

  it('the window of the connection is shared; every stream goes on when it opens', async () => {
    const sources: Source[] = []
    const { open } = fakeServer(async () => {
      sources.push(new Source())
      return new Response(200, '', [], sources.at(-1)!)
    })
    const client = open({ initialWindowSize: 1_000_000 }, 0)
    const streams = Array.from({ length: 10 }, () => client.request(post, true))
    await settled()
    for (const source of sources) source.sink!.data(Buffer.alloc(20_000))
    await settled()
    const got = (): number => streams.reduce((sum, stream) => sum + client.answer(stream).body.length, 0)
    assert.equal(got(), 65_535)
    for (const source of sources) source.sink!.end(undefined)
    for (let window = 65_535; window < 200_000; window += 1_000) {
      client.send(windowUpdate(0, 1_000))
      await settled()
      assert.equal(got(), Math.min(200_000, window + 1_000))
    }
    assert.ok(streams.every((stream) => client.answer(stream).over))
  })

  it('a source that is told to wait is told to go on: after WINDOW_UPDATE, and after the socket has drained', async () => {
    const { client, stream, sink, source, answer } = await begun({ initialWindowSize: 1_000 })
    let sent = 0
    while (sink.data(Buffer.alloc(10_000))) sent += 10_000
    sent += 10_000
    assert.ok(sent <= 80_000, `${sent} bytes wait here`)
    assert.equal(source.resumed, 0)
    client.send(windowUpdate(stream, 1_000_000))
    await settled()
    assert.equal(answer.body.length, sent)
    assert.equal(source.resumed, 1)
    // Now the socket is what is full.
    client.socket.pause()
    await settled()
    for (let i = 0; i < 40 && sink.data(Buffer.alloc(10_000)); i++) await settled()
    const before = source.resumed
    client.socket.resume()
    await settled()
    assert.ok(source.resumed > before)
  })

  it('a client that takes nothing for a minute is reset', async () => {
    const { client, clock, sink, answer, source, completed } = await begun({ initialWindowSize: 10 })
    sink.data(Buffer.alloc(20))
    await settled()
    await clock.advance(http2Limits.stallTimeoutMs + 500)
    await settled()
    assert.equal(answer.reset, 'CANCEL')
    assert.equal(source.discarded, 1)
    assert.deepEqual([...completed.values()], [1])
    assert.equal(client.goaway, undefined)
  })

  it('windows over 2^31-1 are errors: of the stream, of the connection', async () => {
    const { client, stream, answer } = await begun({ initialWindowSize: 0x7fff_ffff })
    client.send(windowUpdate(stream, 1))
    await settled()
    assert.equal(answer.reset, 'FLOW_CONTROL_ERROR')
    client.send(windowUpdate(0, 0x7fff_ffff))
    await settled()
    assert.equal(client.goaway?.error, 'FLOW_CONTROL_ERROR')
  })
})

describe('ends', () => {
  it('an answer that is written when the client ends its side still leaves', async () => {
    let answer: ((response: Response) => void) | undefined
    const { open, server } = fakeServer(() => new Promise((resolve) => (answer = resolve)))
    const client = open()
    const stream = client.request(post, true)
    await settled()
    answer!(whole(200, 'late'))
    // Between the answer and the write at the end of the turn.
    await Promise.resolve()
    client.socket.end()
    assert.equal((await client.whole(stream, 1_000)).body, 'late')
    await settled()
    assert.equal(server.connections, 0)
  })

  it('a client that ends its side: what it has asked is answered, what it has not asked to its end is over', async () => {
    const answers: ((response: Response) => void)[] = []
    const { open, exchanges, completed, server, clock } = fakeServer(
      () => new Promise((resolve) => answers.push(resolve)),
    )
    const client = open()
    const asked = client.request(post, true)
    const half = client.request(post, false)
    await settled()
    client.socket.end()
    await settled()
    assert.equal(client.answer(half).reset, 'CANCEL')
    assert.equal(exchanges[1]!.cancelled?.code, 'DOWNSTREAM_RESET')
    const pings = (): number => client.frames.filter(({ type }) => type === types.ping).length
    assert.equal(pings(), 1, 'it is asked whether it is there')
    await clock.advance(500)
    await settled()
    assert.equal(pings(), 2, 'and again: only then a socket that is gone says so')
    answers[0]!(whole(200, 'yes'))
    assert.equal((await client.whole(asked, 1_000)).body, 'yes')
    await settled()
    assert.equal(server.connections, 0)
    assert.deepEqual([...completed.values()], [1, 1])
  })

  it('a connection whose requests are all refused is idle all the same', async () => {
    const { open, server, clock } = fakeServer(() => never)
    const client = open()
    client.request([[':method', 'GET']])
    await settled()
    assert.equal(client.answer(1).reset, 'PROTOCOL_ERROR')
    await clock.advance(http2Limits.idleTimeoutMs + 1_000)
    await settled()
    assert.ok(client.goaway !== undefined, 'it is told to go')
    assert.equal(server.connections, 0)
  })

  it('a tunnel whose client has sent all it has to say gets it through', async () => {
    const got: Buffer[] = []
    let ended = false
    const far = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        got.push(chunk)
        done()
      },
      final(done) {
        ended = true
        this.push('bye')
        this.push(null)
        done()
      },
    })
    let answer: ((response: Response) => void) | undefined
    const { open, completed } = fakeServer(() => new Promise((resolve) => (answer = resolve)))
    const client = open()
    const stream = client.nextStream()
    const fields = [...requestFields({ method: 'CONNECT', path: '/chat' }), [':protocol', 'websocket'] as const]
    const pseudo = [...fields.slice(0, 4), fields.at(-1)!]
    client.send(head(stream, block(pseudo), false), data(stream, 'early', true))
    await settled()
    const response = new Response(101, '', [], whole(200).body)
    response.tunnel = { socket: far, head: Buffer.alloc(0) }
    answer!(response)
    const { status, body } = await client.whole(stream, 1_000)
    assert.deepEqual([status, body, Buffer.concat(got).toString(), ended], [200, 'bye', 'early', true])
    await settled()
    assert.deepEqual([...completed.values()], [1])
  })

  it('each exchange completes once: answered, reset by the client, cut off, malformed, with its body too long', async () => {
    const answers: ((response: Response) => void)[] = []
    const { open, completed, exchanges, server } = fakeServer(() => new Promise((resolve) => answers.push(resolve)))
    const client = open()
    const streams = Array.from({ length: 6 }, () => client.request(post, false))
    client.request(requestFields({ method: 'POST' }, ['content-length', '3']), false)
    await settled()
    answers[0]!(whole(200))
    answers[1]!(whole(200))
    client.send(
      reset(streams[1]!, 'CANCEL'),
      reset(streams[2]!, 'CANCEL'),
      frame(types.window, 0, streams[3]!, Buffer.alloc(4)),
      data(streams[5]! + 2, 'four'),
    )
    await settled()
    client.socket.destroy()
    await settled()
    for (const answer of answers) answer(whole(200))
    await settled()
    assert.equal(exchanges.length, 7)
    assert.deepEqual([...new Set(exchanges.map((exchange) => completed.get(exchange)))], [1])
    assert.equal(server.connections, 0)
  })

  it('frames behind the one that ends a connection mean nothing', async () => {
    const { open, exchanges } = fakeServer(() => never)
    const client = open()
    const bad: Frame['payload'] = Buffer.alloc(8)
    client.send(frame(types.ping, 0, 1, bad), head(1, block(post), true))
    await settled()
    assert.equal(client.goaway?.error, 'PROTOCOL_ERROR')
    assert.equal(exchanges.length, 0)
  })
})

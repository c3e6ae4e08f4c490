import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Body, type BodySink, textBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Completion, type Exchange, Response } from '../base/exchange.ts'
import { http1Limits } from './limits.ts'
import { Http1Server } from './server.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A client whose network takes nothing while `stuck`. */
class FakeClient extends Duplex {
  received = ''
  stuck = false
  #done: (() => void) | undefined

  constructor() {
    super({ allowHalfOpen: true, highWaterMark: 1_000 })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.received += chunk.toString('latin1')
    if (this.stuck) this.#done = done
    else done()
  }

  unstick(): void {
    this.stuck = false
    this.#done?.()
  }

  /** Bytes from the client. */
  send(text: string): Promise<void> {
    this.push(Buffer.from(text, 'latin1'))
    return settle()
  }

  /** The client has sent its last byte. */
  finish(): Promise<void> {
    this.push(null)
    return settle()
  }
}

/** A response body that the test pushes. */
class PushedBody implements Body {
  readonly length: number | undefined
  readonly whole = undefined
  sink: BodySink | undefined
  resumed = 0
  discarded: MeshError | undefined

  constructor(length: number | undefined) {
    this.length = length
  }

  pipe(sink: BodySink): void {
    this.sink = sink
  }
  pause(): void {}
  resume(): void {
    this.resumed++
  }
  discard(reason: MeshError): void {
    this.discarded = reason
  }
}

/** Takes a request body and remembers. */
class TakenBody implements BodySink {
  text = ''
  ended = false
  failed: MeshError | undefined
  full = false

  data(chunk: Buffer): boolean {
    this.text += chunk.toString('latin1')
    return !this.full
  }
  end(): void {
    this.ended = true
  }
  fail(error: MeshError): void {
    this.failed = error
  }
}

interface Call {
  readonly exchange: Exchange
  answer(response: Response): Promise<void>
  fail(error: Error): Promise<void>
  completion: Completion | undefined
}

function setup() {
  const clock = new FakeClock()
  const calls: Call[] = []
  const refusals: MeshError[] = []
  const server = new Http1Server({
    clock,
    limits: { ...http1Limits, wholeBodyBytesMax: 0 },
    serve: (exchange) =>
      new Promise((resolve, reject) => {
        const call: Call = {
          exchange,
          answer: (response) => {
            resolve(response)
            return settle()
          },
          fail: (error) => {
            reject(error)
            return settle()
          },
          completion: undefined,
        }
        exchange.onComplete = (completion) => {
          assert.equal(call.completion, undefined, 'an exchange completes once')
          call.completion = completion
        }
        calls.push(call)
      }),
    refuse: (error) => {
      refusals.push(error)
      return new Response(error.status, '', [], textBody(error.code))
    },
    dropReserved: true,
    allowConnect: false,
    splice: () => Promise.resolve(),
  })
  const client = new FakeClient()
  server.accept(client as unknown as Socket, {
    direction: 'inbound',
    remoteAddress: '',
    remotePort: 0,
    proxy: undefined,
    localAddress: '',
    localPort: 0,
    identity: undefined,
    tls: false,
    captured: false,
  })
  return { clock, server, client, calls, refusals }
}

const get = (fields = ''): string => `GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`
const post = (length: number, fields = ''): string =>
  `POST / HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: ${length}\r\n\r\n`
const answered = (text = 'ok'): Response => new Response(200, 'OK', [], textBody(text))

describe('a client connection that is closing', () => {
  it('lingers only once its last byte is out', async () => {
    const { clock, client, calls } = setup()
    client.stuck = true
    await client.send(get('Connection: close\r\n'))
    await calls[0]!.answer(answered())
    await clock.advance(50_000)
    assert.equal(client.destroyed, false, 'a slow reader has the time that every reader has')
    client.unstick()
    await clock.advance(600)
    assert.equal(client.writableFinished, true)
    assert.equal(client.destroyed, false)
    await clock.advance(1_500)
    assert.equal(client.destroyed, true)
  })

  it('is cut off when its reader never reads', async () => {
    const { clock, client, calls } = setup()
    client.stuck = true
    await client.send(get('Connection: close\r\n'))
    await calls[0]!.answer(answered())
    await clock.advance(61_000)
    assert.equal(client.destroyed, true)
  })

  it('ends by itself when the peer ends too', async () => {
    const { client, calls, server } = setup()
    await client.send(get('Connection: close\r\n'))
    await calls[0]!.answer(answered())
    await client.finish()
    assert.equal(client.destroyed, true)
    assert.equal(server.connections, 0)
  })
})

describe('the reader of a response that stops reading', () => {
  it('is given writeTimeout, whatever the request body does meanwhile', async () => {
    const { clock, client, calls } = setup()
    await client.send(post(10))
    const taken = new TakenBody()
    calls[0]!.exchange.body.pipe(taken)
    const body = new PushedBody(undefined)
    await calls[0]!.answer(new Response(200, 'OK', [], body))
    client.stuck = true
    assert.equal(body.sink!.data(Buffer.alloc(5_000)), false)
    await clock.advance(40_000)
    // A byte of the request must not give the response more time, nor take the limit away.
    await client.send('0123456789')
    assert.equal(taken.ended, true)
    await clock.advance(19_000)
    assert.equal(client.destroyed, false)
    await clock.advance(2_000)
    assert.equal(client.destroyed, true)
    assert.equal(calls[0]!.completion?.error?.code, 'DOWNSTREAM_RESET')
    assert.equal(calls[0]!.exchange.cancelled?.code, 'DOWNSTREAM_RESET')
    assert.equal(body.discarded?.code, 'DOWNSTREAM_RESET')
  })

  it('that reads on in time loses nothing', async () => {
    const { clock, client, calls } = setup()
    await client.send(get())
    const body = new PushedBody(undefined)
    await calls[0]!.answer(new Response(200, 'OK', [], body))
    client.stuck = true
    body.sink!.data(Buffer.alloc(5_000))
    await clock.advance(59_000)
    client.unstick()
    await settle()
    assert.equal(body.resumed, 1)
    await clock.advance(100_000)
    assert.equal(client.destroyed, false, 'who waits for the upstream is not to blame')
  })

  it('gets no second answer, whatever it asks, until it has read the first', async () => {
    const { client, calls } = setup()
    client.stuck = true
    await client.send(get() + get())
    await calls[0]!.answer(new Response(200, 'OK', [], textBody('x'.repeat(5_000))))
    assert.equal(calls[0]!.completion?.bytesOut, 5_000)
    await client.send(get())
    assert.equal(calls.length, 1)
    client.unstick()
    await settle()
    assert.equal(calls.length, 2)
    await calls[1]!.answer(new Response(200, 'OK', [], textBody('second')))
    assert.equal(calls.length, 3)
    assert.match(client.received, /second$/)
  })

  it('and asks on is cut off after writeTimeout', async () => {
    const { clock, client, calls } = setup()
    client.stuck = true
    await client.send(get() + get())
    await calls[0]!.answer(new Response(200, 'OK', [], textBody('x'.repeat(5_000))))
    await clock.advance(59_000)
    assert.equal(client.destroyed, false)
    await clock.advance(2_000)
    assert.equal(client.destroyed, true)
    assert.equal(calls.length, 1)
  })
})

describe('a request body', () => {
  it('that the client ends too early is an error, though nobody had asked for it yet', async () => {
    const { client, calls } = setup()
    await client.send(`${post(10)}abc`)
    await client.finish()
    const taken = new TakenBody()
    calls[0]!.exchange.body.pipe(taken)
    assert.equal(taken.text, 'abc')
    assert.equal(taken.failed?.code, 'DOWNSTREAM_RESET')
    assert.equal(taken.ended, false)
    assert.equal(calls[0]!.exchange.cancelled?.code, 'DOWNSTREAM_RESET')
  })

  it('that is paused when the client goes fails once', async () => {
    const { client, calls } = setup()
    await client.send(post(10))
    const taken = new TakenBody()
    taken.full = true
    calls[0]!.exchange.body.pipe(taken)
    await client.send('abc')
    client.destroy()
    await settle()
    assert.equal(taken.failed?.code, 'DOWNSTREAM_RESET')
    assert.equal(calls[0]!.completion?.status, 0)
    await calls[0]!.answer(answered())
  })

  it('is counted in full although an early answer did not want the rest', async () => {
    const { client, calls } = setup()
    await client.send(post(10))
    const taken = new TakenBody()
    const { body } = calls[0]!.exchange
    body.pipe(taken)
    await client.send('abcde')
    body.discard(new MeshError('UPSTREAM_RESET', 'answered early'))
    await calls[0]!.answer(answered())
    assert.equal(calls[0]!.completion?.bytesIn, 5)
    await client.send(`fghij${get()}`)
    assert.equal(calls.length, 2, 'the connection goes on behind the rest')
    assert.equal(taken.text, 'abcde')
  })

  it('is discarded by nobody once the connection is closing', async () => {
    const { client, calls } = setup()
    await client.send(post(10, 'Connection: close\r\n'))
    const { body } = calls[0]!.exchange
    await calls[0]!.answer(answered())
    body.discard(new MeshError('UPSTREAM_RESET', 'late'))
    await client.send(`0123456789${get()}`)
    assert.equal(calls.length, 1)
    assert.match(client.received, /connection: close\r\n\r\nok$/)
  })

  it('of an earlier request has no say over a later one', async () => {
    const { client, calls } = setup()
    await client.send(`${post(3)}abc`)
    const first = calls[0]!.exchange.body
    first.pipe(new TakenBody())
    await calls[0]!.answer(answered())
    await client.send(`${post(3)}def`)
    first.discard(new MeshError('UPSTREAM_RESET', 'late'))
    first.pause()
    first.resume()
    const late = new TakenBody()
    first.pipe(late)
    assert.equal(late.failed?.code, 'DOWNSTREAM_RESET')
    const taken = new TakenBody()
    calls[1]!.exchange.body.pipe(taken)
    assert.equal(taken.text, 'def')
    assert.equal(taken.ended, true)
  })
})

describe('an answer', () => {
  for (const [name, answer, wanted] of [
    ['shorter than announced', 'abc', /content-length: 5\r\n\r\nabc$/],
    ['longer than announced', 'abcdefgh', /^$/],
  ] as const) {
    it(`${name} never looks whole`, async () => {
      const { client, calls } = setup()
      await client.send(get())
      const body = new PushedBody(5)
      await calls[0]!.answer(new Response(200, 'OK', [], body))
      client.received = name.startsWith('longer') ? '' : client.received
      body.sink!.data(Buffer.from(answer))
      body.sink!.end(undefined)
      await settle()
      assert.match(client.received, wanted)
      assert.equal(client.destroyed, true)
      assert.equal(calls[0]!.completion?.error?.code, 'UPSTREAM_PROTOCOL')
    })
  }

  it('to HTTP/1.0 carries no trailers and no chunks', async () => {
    const { client, calls } = setup()
    await client.send('GET / HTTP/1.0\r\n\r\n')
    const body = new PushedBody(undefined)
    await calls[0]!.answer(new Response(200, 'OK', [], body))
    body.sink!.data(Buffer.from('abc'))
    body.sink!.end(['x-sum', '1'])
    await settle()
    assert.equal(client.received, 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc')
  })

  it('comes once: what the service says after the client is gone is let go', async () => {
    const { client, calls } = setup()
    await client.send(get())
    client.destroy()
    await settle()
    const body = new PushedBody(undefined)
    await calls[0]!.answer(new Response(200, 'OK', [], body))
    assert.equal(body.discarded?.code, 'DOWNSTREAM_RESET')
    assert.equal(body.sink, undefined)
    assert.equal(calls[0]!.completion?.status, 0)
  })

  it('that is an unexpected error is a bare 500; one with reset is none', async () => {
    const bare = setup()
    await bare.client.send(get())
    await bare.calls[0]!.fail(new Error('a bug'))
    assert.match(bare.client.received, /^HTTP\/1\.1 500 .*connection: close\r\n\r\n$/s)
    const reset = setup()
    await reset.client.send(get())
    await reset.calls[0]!.fail(new MeshError('FAULT_ABORTED', 'injected', { reset: true }))
    assert.equal(reset.client.received, '')
    assert.equal(reset.client.destroyed, true)
    assert.equal(reset.calls[0]!.completion?.error?.code, 'FAULT_ABORTED')
  })
})

describe('drain', () => {
  it('lets a request on its way come, answers it with close, and ends what stays idle', async () => {
    const { clock, server, client, calls } = setup()
    await client.send(get())
    await calls[0]!.answer(answered())
    server.drain()
    await clock.advance(200)
    await client.send(get())
    await calls[1]!.answer(answered())
    assert.match(client.received, /ok.*connection: close\r\n\r\nok$/s)

    const idle = setup()
    await idle.client.send(get())
    await idle.calls[0]!.answer(answered())
    idle.server.drain()
    await idle.clock.advance(200)
    assert.equal(idle.client.writableEnded, false)
    await idle.clock.advance(200)
    assert.equal(idle.client.writableEnded, true)
  })

  it('answers what was pipelined before it', async () => {
    const { server, client, calls } = setup()
    await client.send(get() + get())
    server.drain()
    await calls[0]!.answer(answered('one'))
    await calls[1]!.answer(answered('two'))
    assert.match(client.received, /one.*connection: close\r\n\r\ntwo$/s)
    assert.equal(client.received.match(/connection: close/g)?.length, 1)
  })
})

describe('a connection in which nothing is said', () => {
  it('has firstByteTimeout, then headTimeout, then idleTimeout', async () => {
    const silent = setup()
    await silent.clock.advance(10_500)
    assert.equal(silent.client.destroyed, true)
    assert.equal(silent.client.received, '')

    const slow = setup()
    await slow.clock.advance(9_000)
    await slow.client.send('GET / HT')
    await slow.clock.advance(9_000)
    await slow.client.send('TP/1.1\r\n')
    assert.equal(slow.client.received, '')
    await slow.clock.advance(2_000)
    assert.match(slow.client.received, /^HTTP\/1\.1 408 /)

    const idle = setup()
    await idle.client.send(get())
    await idle.clock.advance(100_000)
    assert.equal(idle.client.destroyed, false, 'an answer may take its time')
    await idle.calls[0]!.answer(answered())
    await idle.clock.advance(59_000)
    assert.equal(idle.client.destroyed, false)
    await idle.clock.advance(2_000)
    assert.equal(idle.client.destroyed, true)
  })

  it('is not taken on when it is dead already', async () => {
    const { server } = setup()
    const dead = new FakeClient()
    dead.destroy()
    await settle()
    server.accept(dead as unknown as Socket, {} as never)
    assert.equal(server.connections, 1)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { answer, exchange } from '../../test/support/exchanges.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { MirrorSchema } from '../api/gen/outrigger_pb.ts'
import { type Body, type BodySink, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import type { PolicyEvent } from './env.ts'
import { mirror, mirrorBodyBytesMax, mirrorsMax, mirrorTimeoutMs } from './mirror.ts'

function setUp(ppm = 1_000_000, send: Service = () => Promise.resolve(answer())) {
  const clock = new FakeClock()
  const events: PolicyEvent[] = []
  const copies: Exchange[] = []
  const layer = mirror(
    create(MirrorSchema, { ppm }),
    (of) => {
      copies.push(of)
      return send(of)
    },
    undefined,
    { clock, onEvent: (event) => void events.push(event) },
  )
  const service = layer?.(() => Promise.resolve(answer(201)))
  return { clock, events, copies, service: service! }
}

/** A body that flows when asked. */
class Chunks implements Body {
  readonly length: number | undefined
  readonly whole: undefined = undefined
  readonly #chunks: string[]
  readonly #broken: boolean
  constructor(chunks: string[], options: { length?: number; broken?: boolean } = {}) {
    this.#chunks = chunks
    this.length = options.length
    this.#broken = options.broken ?? false
  }
  pipe(sink: BodySink): void {
    for (const chunk of this.#chunks) sink.data(Buffer.from(chunk))
    if (this.#broken) sink.fail(new MeshError('DOWNSTREAM_RESET', 'gone'))
    else sink.end(undefined)
  }
  pause(): void {}
  resume(): void {}
  discard(): void {}
}

const nowhere: BodySink = { data: () => true, end: () => {}, fail: () => {} }

test('a copy goes out with the same head, and is its own', async () => {
  const { service, copies, events } = setUp()
  const request = exchange({ method: 'POST', target: '/a?b', headers: ['x', '1'] })
  request.body = new WholeBody('hello')
  assert.equal((await service(request)).status, 201)
  const [copy] = copies
  assert.deepEqual([copy!.request.method, copy!.request.target, copy!.request.headers], ['POST', '/a?b', ['x', '1']])
  assert.equal(copy!.body.whole, 'hello')
  assert.notEqual(copy!.request.headers, request.request.headers)
  assert.deepEqual(
    events.map(({ outcome }) => outcome),
    ['mirrored'],
  )
})

test('trailers and a length that was not told go with the copy, of a body that is here and of one that streams', async () => {
  const { service, copies } = setUp()
  const whole = exchange({ method: 'POST' })
  whole.body = new WholeBody('hello', ['x-sum', '1'], false)
  await service(whole)
  const streams = exchange({ method: 'POST' })
  streams.body = {
    length: undefined,
    whole: undefined,
    pipe: (sink) => {
      sink.data(Buffer.from('hello'))
      sink.end(['x-sum', '1'])
    },
    pause: () => {},
    resume: () => {},
    discard: () => {},
  }
  await service(streams)
  streams.body.pipe(nowhere)
  await settle()
  assert.deepEqual(
    copies.map(({ body }) => [body.whole, body.trailers, body.announced]),
    [
      ['hello', ['x-sum', '1'], false],
      ['hello', ['x-sum', '1'], false],
    ],
  )
})

test('nothing that happens to the copy is seen', async () => {
  const { service, copies } = setUp(1_000_000, () => Promise.reject(new MeshError('UPSTREAM_CONNECT', 'x')))
  assert.equal((await service(exchange())).status, 201)
  await settle()
  assert.equal(copies.length, 1)
})

test('the client does not wait for it, and it is given up after a while', async () => {
  let ended: string | undefined
  const { clock, service } = setUp(1_000_000, (of) => {
    of.waiting = (reason) => {
      ended = reason.code
    }
    return new Promise(() => {})
  })
  assert.equal((await service(exchange())).status, 201)
  await clock.advance(mirrorTimeoutMs)
  assert.equal(ended, 'DEADLINE')
})

test('a share', async () => {
  const { service, copies } = setUp(250_000)
  for (let i = 0; i < 4_000; i++) await service(exchange())
  assert.ok(Math.abs(copies.length - 1_000) < 100, String(copies.length))
  assert.equal(setUp(0).service, undefined)
})

test('no more at a time than the limit', async () => {
  const { service, copies, events } = setUp(1_000_000, () => new Promise(() => {}))
  for (let i = 0; i < mirrorsMax + 5; i++) await service(exchange())
  assert.equal(copies.length, mirrorsMax)
  assert.equal(events.filter(({ outcome }) => outcome === 'mirror-dropped').length, 5)
})

test('a body that streams is copied once it is whole', async () => {
  const { service, copies } = setUp()
  const request = exchange({ method: 'POST' })
  request.body = new Chunks(['hel', 'lo'])
  await service(request)
  assert.equal(copies.length, 0)
  request.body.pipe(nowhere)
  assert.equal(copies[0]!.body.whole, 'hello')
})

test('a body that breaks off, or is too large, is not', async () => {
  const large = 'x'.repeat(mirrorBodyBytesMax + 1)
  const bodies = [new Chunks(['hel'], { broken: true }), new Chunks([large]), new Chunks([], { length: large.length })]
  for (const body of bodies) {
    const { service, copies, events } = setUp()
    const request = exchange({ method: 'POST' })
    request.body = body
    await service(request)
    request.body.pipe(nowhere)
    assert.equal(copies.length, 0)
    assert.deepEqual(
      events.map(({ outcome }) => outcome),
      ['mirror-dropped'],
    )
  }
})

test('an upgrade is not mirrored', async () => {
  const { service, copies } = setUp()
  await service(exchange({ upgrade: 'websocket' }))
  assert.equal(copies.length, 0)
})

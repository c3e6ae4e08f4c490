/** grpc-js at both ends, two sidecars with mTLS between: what gRPC promises holds through them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, beforeEach, describe, it } from 'node:test'
import { status } from '@grpc/grpc-js'
import { eventually } from '../support/control.ts'
import { asks, GrpcApp, GrpcClient, type GrpcOutcome, settle } from '../support/grpc.ts'
import { Mesh } from '../support/mesh.ts'

const MiB = 1_048_576
const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: test }
spec: { mtls: { mode: STRICT } }
`

describe('gRPC through two sidecars', { timeout: 60_000 }, () => {
  let app: GrpcApp
  let mesh: Mesh
  let client: GrpcClient
  before(async () => {
    app = await GrpcApp.start()
    mesh = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'server', runsAt: app.port, portName: 'grpc' }],
      policies,
    })
    client = new GrpcClient(mesh.get('client').outbound, 'server:8080')
  })
  after(async () => {
    client?.[Symbol.dispose]()
    await mesh?.[Symbol.asyncDispose]()
    await app?.[Symbol.asyncDispose]()
  })
  beforeEach(() => {
    app.cancelled = 0
  })

  it('a unary call: message, metadata before and behind, text and bytes, several of one name', async () => {
    const got = await client.unary(Buffer.from('hello'), {
      metadata: { 'x-echo': 'one, two', 'x-echo-bin': Buffer.from([0, 255, 10, 13]) },
    })
    assert.equal(got.code, status.OK, got.details)
    assert.deepEqual(got.messages.map(String), ['hello'])
    assert.deepEqual(got.initial.get('x-echo'), ['one, two'])
    assert.deepEqual(got.initial.get('x-echo-bin'), [Buffer.from([0, 255, 10, 13])])
    assert.deepEqual(got.trailers.get('x-trailer'), ['behind'])
    assert.deepEqual(got.trailers.get('x-trailer-bin'), [Buffer.from([0, 1, 254, 255])])
    assert.equal(app.deadline, Number.POSITIVE_INFINITY)
  })

  for (const [what, options] of [
    ['plain', {}],
    ['compressed', { 'grpc.default_compression_algorithm': 2 }],
  ] as const) {
    it(`messages of none and of 1 MiB, ${what}`, async () => {
      using own = new GrpcClient(mesh.get('client').outbound, 'server:8080', options)
      const large = Buffer.from(Array.from({ length: MiB }, (_, i) => (i * 7) ^ (i >> 8)))
      for (const message of [Buffer.alloc(0), large]) {
        const got = await own.unary(message)
        assert.equal(got.code, status.OK, got.details)
        assert.ok(got.messages[0]?.equals(message), `${message.length} bytes`)
      }
    })
  }

  it('twenty calls of 1 MiB at once', async () => {
    const message = Buffer.alloc(MiB, 'm')
    const all = await Promise.all(Array.from({ length: 20 }, () => client.unary(message)))
    assert.deepEqual(
      all.map(({ code, messages }) => [code, messages[0]?.length]),
      all.map(() => [status.OK, MiB]),
    )
  })

  it('a stream of requests, and one of answers, in order and whole', async () => {
    const up = await client.clientStream(Array.from({ length: 1_000 }, (_, i) => Buffer.alloc(i)))
    assert.deepEqual([up.code, up.messages.map(String)], [status.OK, [String((1_000 * 999) / 2)]])
    const down = await client.serverStream(10_000)
    assert.deepEqual([down.code, down.messages.length], [status.OK, 10_000])
    assert.ok(down.messages.every((message, i) => String(message) === String(i)))
    assert.deepEqual((await client.serverStream(0)).messages, [])
  })

  it('both ways at once: each message is there before the next one is sent', async () => {
    const call = client.bidi()
    const ended = new Promise<GrpcOutcome>((resolve) => settle(call, [], resolve))
    for (let i = 0; i < 200; i++) {
      call.write(Buffer.from(`ping ${i}`))
      const [message] = (await once(call, 'data')) as [Buffer]
      assert.equal(String(message), `ping ${i}`)
    }
    call.end()
    assert.equal((await ended).code, status.OK)
  })

  it('a stream that nobody reads stands still, and the others do not', async () => {
    const call = client.bidi()
    const ended = new Promise<GrpcOutcome>((resolve) => settle(call, [], resolve))
    call.pause()
    for (let i = 0; i < 64; i++) call.write(Buffer.alloc(65_536, 's'))
    assert.equal((await client.unary(Buffer.from('beside'))).code, status.OK)
    let bytes = 0
    call.on('data', (message: Buffer) => (bytes += message.length))
    call.resume()
    call.end()
    assert.equal((await ended).code, status.OK)
    assert.equal(bytes, 64 * 65_536)
  })

  it('every status, with its message and what comes with it, as trailers alone and behind messages', async () => {
    for (let code = 1; code <= 16; code++) {
      const message = `no: 100 % für ${code} \n☺ 😈\t`
      const ask = { metadata: { [asks.code]: String(code), [asks.message]: Buffer.from(message) } }
      const alone = await client.unary(Buffer.from('a'), ask)
      const behind = await client.serverStream(3, ask)
      for (const got of [alone, behind])
        assert.deepEqual([got.code, got.details, got.trailers.get('x-trailer')], [code, message, ['behind']])
      assert.equal(behind.messages.length, 3)
    }
  })

  it('a method or a service that is not there', async () => {
    for (const path of ['/test.Echo/Nothing', '/test.Nobody/Nothing'])
      assert.equal((await client.unary(Buffer.alloc(0), {}, path)).code, status.UNIMPLEMENTED, path)
  })

  it('a deadline: the server has it, the client is told, the server is told', async () => {
    const before = Date.now()
    const got = await client.unary(Buffer.alloc(0), { metadata: { [asks.hang]: '1' }, deadlineMs: 400 })
    assert.equal(got.code, status.DEADLINE_EXCEEDED, got.details)
    const deadline = Number(app.deadline)
    assert.ok(deadline >= before && deadline <= before + 2_000, `${deadline - before} ms at the server`)
    await eventually(() => app.cancelled === 1, 'the server hears that nobody waits')
  })

  it('a client that takes its call back: before an answer, and in the middle of one', async () => {
    const call = client.bidi({ metadata: { [asks.hang]: '1' } })
    const ended = new Promise<GrpcOutcome>((resolve) => settle(call, [], resolve))
    call.write(Buffer.from('a'))
    await once(call, 'data')
    call.cancel()
    assert.equal((await ended).code, status.CANCELLED)
    await eventually(() => app.cancelled === 1, 'the server hears of it')
    const stream = await client.serverStream(1_000_000, {}, (reading, count) => {
      if (count === 10) reading.cancel()
    })
    assert.equal(stream.code, status.CANCELLED)
    await eventually(() => app.cancelled === 2, 'the server stops')
  })

  it('a sidecar of the server that is replaced: calls go on', async () => {
    const outcomes = new Map<number, number>()
    let running = true
    const load = Array.from({ length: 4 }, async () => {
      while (running) {
        const { code } = await client.unary(Buffer.from('x'))
        outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
      }
    })
    await eventually(() => (outcomes.get(status.OK) ?? 0) > 50, 'there is a load')
    await mesh.get('server').restart()
    const so = outcomes.get(status.OK) ?? 0
    await eventually(() => (outcomes.get(status.OK) ?? 0) > so + 50, 'it is served by the new one')
    running = false
    await Promise.all(load)
    // With one endpoint there is a time without any: nothing else may go wrong.
    assert.deepEqual(
      [...outcomes.keys()].filter((code) => code !== status.OK && code !== status.UNAVAILABLE),
      [],
    )
  })
})

describe('gRPC to two servers', { timeout: 60_000 }, () => {
  it('each call of one connection is placed by itself', async () => {
    await using one = await GrpcApp.start()
    await using two = await GrpcApp.start()
    await using mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'server-1', service: 'server', runsAt: one.port, portName: 'grpc' },
        { name: 'server-2', service: 'server', runsAt: two.port, portName: 'grpc' },
      ],
      policies,
    })
    using client = new GrpcClient(mesh.get('client').outbound, 'server:8080')
    for (let i = 0; i < 40; i++) assert.equal((await client.unary(Buffer.from('x'))).code, status.OK)
    assert.equal(one.calls + two.calls, 40)
    assert.ok(Math.min(one.calls, two.calls) >= 10, `${one.calls} and ${two.calls}`)
  })
})

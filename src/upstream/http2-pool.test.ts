import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { downstream, head } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Http2Dial, Http2Dialer, settled } from '../../test/support/http2/fake-sockets.ts'
import { data, frame, goaway, headers, reset, settings, types } from '../../test/support/http2/frames.ts'
import { block } from '../../test/support/http2/hpack.ts'
import { type Body, noBody, textBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { Exchange, type RequestHead, type Response } from '../base/exchange.ts'
import { SharedTable, sharedMemory } from '../base/shared-table.ts'
import { http1Limits } from '../http1/limits.ts'
import { responseRules } from '../http1/response-head.ts'
import { http2Limits } from '../http2/limits.ts'
import { Http2Pool } from './http2-pool.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'
import { PoolShares } from './pool-share.ts'

const to = { key: '10.0.0.1:80', address: '10.0.0.1', port: 80, identity: '' }

function call(request: Partial<RequestHead> = {}, body: Body = noBody): Exchange {
  return new Exchange({ request: head({ version: '2', ...request }), body, downstream: downstream(), startedAt: 0 })
}

const post = (): Exchange => call({ method: 'POST' }, textBody('x'))
const socketOf = (): Exchange => call({ upgrade: 'websocket' })

function setUp(limits: Partial<PoolLimits> = {}, shared?: { readonly shares: PoolShares; readonly clock: FakeClock }) {
  const dialer = new Http2Dialer()
  const clock = shared?.clock ?? new FakeClock()
  const rules = responseRules(http1Limits, { dropReserved: true })
  const pool = new Http2Pool(to, dialer, { clock, http2: http2Limits, rules, shares: shared?.shares })
  pool.limits = { ...defaultPoolLimits, ...limits }
  const results: string[] = []
  const responses: Response[] = []
  const send = (exchange: Exchange = call()): Exchange => {
    const at = results.push('pending') - 1
    pool.send(exchange, '').then(
      (response) => {
        results[at] = String(response.status)
        responses[at] = response
      },
      (error: MeshError) => (results[at] = `${error.code}${error.unsent ? ' unsent' : ''}`),
    )
    return exchange
  }
  return { dialer, clock, pool, send, results, responses }
}

const ok = (stream: number): Buffer => headers(stream, block([[':status', '200']]))
/** Streams on which requests have come, in their order. */
const asked = ({ peer }: Http2Dial): number[] =>
  peer.frames.filter(({ type }) => type === types.headers).map(({ stream }) => stream)

describe('a pool of HTTP/2', () => {
  it('one connection for all that wait, and for those that follow', async () => {
    const { dialer, pool, send, results } = setUp()
    for (let i = 0; i < 50; i++) send()
    assert.equal(dialer.dials.length, 1)
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 50 })
    const [dial] = dialer.dials
    await dial!.connect()
    dial!.peer.send(settings())
    await settled()
    assert.deepEqual(pool.size, { open: 1, idle: 0, active: 50, waiting: 0 })
    send()
    await settled()
    dial!.peer.send(...asked(dial!).map(ok))
    await settled()
    assert.deepEqual([...new Set(results)], ['200'])
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
  })

  it('as many streams as the peer takes, then one more connection, or the wait for a stream that ends', async () => {
    const { dialer, pool, send, results } = setUp({ connectionsMax: 2 })
    send()
    const [first] = dialer.dials
    first!.peer.send(settings({ maxConcurrentStreams: 2 }))
    await first!.connect()
    for (let i = 0; i < 4; i++) send()
    await settled()
    assert.equal(dialer.dials.length, 2)
    const second = dialer.dials[1]!
    second.peer.send(settings({ maxConcurrentStreams: 2 }))
    await second.connect()
    await settled()
    assert.deepEqual(pool.size, { open: 2, idle: 0, active: 4, waiting: 1 }, 'two connections are all there may be')
    first!.peer.send(ok(1))
    await settled()
    assert.deepEqual(asked(first!), [1, 3, 5])
    first!.peer.send(ok(3), ok(5))
    second.peer.send(ok(1), ok(3))
    await settled()
    assert.deepEqual(results, ['200', '200', '200', '200', '200'])
    assert.deepEqual(pool.size, { open: 2, idle: 2, active: 0, waiting: 0 })
  })

  it('a burst at a peer that takes few: who was refused waits for what it says it takes', async () => {
    const { dialer, send, results } = setUp({ connectionsMax: 1 })
    for (let i = 0; i < 9; i++) send(post())
    const [dial] = dialer.dials
    await dial!.connect()
    const all = asked(dial!)
    assert.equal(all.length, 9)
    dial!.peer.send(settings({ maxConcurrentStreams: 2 }), ...all.slice(2).map((id) => reset(id, 'REFUSED_STREAM')))
    await settled()
    for (let answered = 0; answered < 9; answered++) {
      const open = asked(dial!).filter((id) => !all.slice(2).includes(id))
      assert.ok(open.length - answered <= 2, `${open.length - answered} at once`)
      dial!.peer.send(ok(open[answered]!))
      await settled()
    }
    assert.deepEqual([...new Set(results)], ['200'])
    assert.equal(dialer.dials.length, 1)
  })

  it('GOAWAY: streams above its last go elsewhere whatever their method, those below end where they are', async () => {
    const { dialer, pool, send, results } = setUp()
    send(post())
    send(post())
    send(call({ method: 'POST' }, { ...textBody('y'), whole: undefined, length: undefined, pipe: () => {} } as Body))
    await dialer.dials[0]!.connect()
    const [first] = dialer.dials
    first!.peer.send(settings(), goaway(1, 'NO_ERROR'))
    await settled()
    assert.deepEqual(results, ['pending', 'pending', 'UPSTREAM_RESET unsent'], 'a body that flows cannot be sent again')
    assert.equal(dialer.dials.length, 2)
    await dialer.dials[1]!.connect()
    dialer.dials[1]!.peer.send(settings(), ok(1))
    first!.peer.send(ok(1))
    await settled()
    assert.deepEqual(results.slice(0, 2), ['200', '200'])
    assert.equal(first!.peer.ended, 'end')
    await settled()
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
  })

  it('refused twice is refused', async () => {
    const { dialer, send, results } = setUp()
    send(post())
    const [dial] = dialer.dials
    dial!.peer.send(settings())
    await dial!.connect()
    dial!.peer.send(reset(1, 'REFUSED_STREAM'))
    await settled()
    assert.deepEqual(asked(dial!), [1, 3])
    dial!.peer.send(reset(3, 'REFUSED_STREAM'))
    await settled()
    assert.deepEqual(asked(dial!), [1, 3])
    assert.deepEqual(results, ['UPSTREAM_RESET unsent'])
  })

  it('a connection that is lost: idempotent methods once more, others not', async () => {
    const { dialer, pool, send, results } = setUp()
    send()
    send(post())
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.peer.send(settings())
    await settled()
    dialer.dials[0]!.peer.socket.destroy()
    await settled()
    assert.deepEqual(results, ['pending', 'UPSTREAM_RESET'])
    await dialer.dials[1]!.connect()
    dialer.dials[1]!.peer.send(settings(), ok(1))
    await settled()
    assert.deepEqual(results, ['200', 'UPSTREAM_RESET'])
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
  })

  it('requestsMax and pendingRequestsMax', async () => {
    const { dialer, send, results } = setUp({ requestsMax: 3, pendingRequestsMax: 2 })
    send()
    send()
    send()
    await settled()
    assert.deepEqual(results, ['pending', 'pending', 'POOL_OVERFLOW unsent'])
    dialer.dials[0]!.peer.send(settings())
    await dialer.dials[0]!.connect()
    send()
    send()
    await settled()
    assert.deepEqual(results.slice(3), ['pending', 'POOL_OVERFLOW unsent'])
  })

  it('requestsPerConnectionMax: the connection ends after the last answer, the rest goes on another', async () => {
    const { dialer, pool, send, results } = setUp({ requestsPerConnectionMax: 2 })
    for (let i = 0; i < 3; i++) send()
    await dialer.dials[0]!.connect()
    assert.deepEqual(asked(dialer.dials[0]!), [1, 3])
    assert.equal(dialer.dials.length, 2)
    await dialer.dials[1]!.connect()
    for (const { peer } of dialer.dials) peer.send(settings(), ok(1))
    dialer.dials[0]!.peer.send(ok(3))
    await settled()
    assert.deepEqual(results, ['200', '200', '200'])
    assert.equal(dialer.dials[0]!.peer.goaway?.error, 'NO_ERROR')
    assert.equal(pool.size.open, 1)
  })

  it('a request that is cancelled while it waits for a dial is gone; the connection is for the next', async () => {
    const { dialer, pool, send, results } = setUp()
    send().cancel(new MeshError('DEADLINE', 'too late'))
    await settled()
    assert.deepEqual(results, ['DEADLINE unsent'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
    dialer.dials[0]!.peer.send(settings())
    await dialer.dials[0]!.connect()
    assert.deepEqual(asked(dialer.dials[0]!), [])
    send()
    assert.equal(dialer.dials.length, 1)
    const cancelled = call()
    cancelled.cancel(new MeshError('DEADLINE', 'too late'))
    send(cancelled)
    await settled()
    assert.deepEqual(asked(dialer.dials[0]!), [1], 'what is cancelled does not begin')
  })

  it('a dial that fails: all who wait hear it', async () => {
    const { dialer, pool, send, results } = setUp()
    for (let i = 0; i < 5; i++) send()
    await dialer.dials[0]!.fail()
    assert.deepEqual([...new Set(results)], ['UPSTREAM_CONNECT unsent'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
    assert.equal(dialer.dials.length, 1)
  })

  it('a dial that fails beside a connection that is full: who waits goes on waiting, the next dial is a second later', async () => {
    const { dialer, clock, pool, send, results } = setUp()
    send()
    dialer.dials[0]!.peer.send(settings({ maxConcurrentStreams: 1 }))
    await dialer.dials[0]!.connect()
    send()
    for (let i = 1; i < 4; i++) {
      assert.equal(dialer.dials.length, i + 1)
      await dialer.dials[i]!.fail()
      assert.equal(dialer.dials.length, i + 1, 'it does not dial as fast as it is refused')
      await clock.advance(1_000)
      pool.checkTime(clock.now())
    }
    dialer.dials[0]!.peer.send(ok(1))
    await settled()
    dialer.dials[0]!.peer.send(ok(3))
    await settled()
    assert.deepEqual(results, ['200', '200'])
  })

  it('a peer that ends before its SETTINGS is a dial that failed, also for those who wait for what it supports', async () => {
    const { dialer, pool, send, results } = setUp()
    send(socketOf())
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.peer.socket.end()
    await settled()
    assert.equal(dialer.dials.length, 1)
    assert.deepEqual(results, ['UPSTREAM_RESET unsent'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('a peer that takes no streams at all is dialled once, not for ever', async () => {
    const { dialer, send, results } = setUp()
    dialer.greeting = settings({ maxConcurrentStreams: 0 })
    send(socketOf())
    await settled()
    assert.equal(dialer.dials.length, 1)
    assert.deepEqual(results, ['UPSTREAM_CONNECT unsent'])
    send(post())
    await settled()
    const [, second] = dialer.dials
    second!.peer.send(...asked(second!).map((id) => reset(id, 'REFUSED_STREAM')))
    await settled()
    assert.equal(results[1]?.endsWith('unsent'), true)
    assert.ok(dialer.dials.length <= 3, `${dialer.dials.length} dials`)
  })

  it('Upgrade waits for the SETTINGS of a peer and is refused where it takes none', async () => {
    const { dialer, send, results } = setUp()
    send(socketOf())
    await dialer.dials[0]!.connect()
    assert.deepEqual(asked(dialer.dials[0]!), [])
    dialer.dials[0]!.peer.send(settings())
    await settled()
    assert.deepEqual(results, ['UPSTREAM_PROTOCOL unsent'])
  })

  it('a peer that breaks the rules and does not end is ended', async () => {
    const { dialer, clock, pool, send, results } = setUp()
    dialer.peersEnd = false
    send(post())
    dialer.dials[0]!.peer.send(settings(), frame(types.ping, 0, 1, Buffer.alloc(8)))
    await dialer.dials[0]!.connect()
    assert.deepEqual(results, ['UPSTREAM_PROTOCOL'])
    assert.equal(dialer.dials[0]!.peer.goaway?.error, 'PROTOCOL_ERROR')
    assert.equal(dialer.dials[0]!.socket.destroyed, false, 'it has a moment to read why')
    await clock.advance(http2Limits.lingerMs)
    pool.checkTime(clock.now())
    await settled()
    assert.equal(dialer.dials[0]!.socket.destroyed, true)
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('close: who waits is told, what is under way ends, nothing begins', async () => {
    const { dialer, pool, send, results } = setUp()
    send()
    dialer.dials[0]!.peer.send(settings({ maxConcurrentStreams: 1 }))
    await dialer.dials[0]!.connect()
    send()
    pool.close()
    send()
    await settled()
    assert.deepEqual(results, ['pending', 'DRAINING unsent', 'DRAINING unsent'])
    await dialer.dials[1]!.connect()
    assert.equal(dialer.dials[1]!.socket.destroyed, true)
    dialer.dials[0]!.peer.send(ok(1))
    await settled()
    assert.equal(results[0], '200')
    assert.equal(dialer.dials[0]!.peer.ended, 'end')
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('an idle connection ends after its time', async () => {
    const { dialer, clock, pool, send } = setUp({ idleTimeoutMs: 1_000 })
    send()
    dialer.dials[0]!.peer.send(settings())
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.peer.send(ok(1))
    await settled()
    await clock.advance(1_000)
    pool.checkTime(clock.now())
    await settled()
    assert.equal(dialer.dials[0]!.peer.goaway?.error, 'NO_ERROR')
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })
})

describe('shares of a pool of HTTP/2', () => {
  it('what is taken is given back, however a request or connection ends', async () => {
    const clock = new FakeClock()
    const shares = new PoolShares(new SharedTable(sharedMemory(2), 0, clock), () => {})
    const { dialer, pool, send } = setUp({ connectionsMax: 3 }, { shares, clock })
    const share = shares.open(`h2 ${to.key}  `, () => {})
    const dials = dialer.dials
    // A dial that fails, with waiters.
    send()
    await dials[0]!.fail()
    // Answered, reset, refused twice, cancelled, malformed, cut off by GOAWAY; a connection that dies.
    for (let i = 0; i < 6; i++) send(post())
    dials[1]!.peer.send(settings())
    await dials[1]!.connect()
    assert.equal(share.requests, 6)
    dials[1]!.peer.send(ok(1), reset(3, 'CANCEL'), reset(5, 'REFUSED_STREAM'), data(7, 'x'), goaway(9, 'NO_ERROR'))
    await settled()
    dials[2]!.peer.send(settings())
    await dials[2]!.connect()
    for (const { peer } of dials.slice(1)) peer.socket.destroy()
    await settled()
    // A connection that breaks the rules; one nobody wants any more.
    send()
    await dials.at(-1)!.connect()
    dials.at(-1)!.peer.send(frame(types.data, 0, 1))
    await settled()
    for (const { peer } of dials) peer.socket.destroy()
    await settled()
    send()
    pool.close()
    await dials.at(-1)!.connect()
    await settled()
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
    assert.deepEqual([share.requests, share.waiting, share.wanted], [0, 0, false])
    // All three may be taken again.
    assert.deepEqual([share.take(3), share.take(3), share.take(3), share.take(3)], [true, true, true, false])
  })
})

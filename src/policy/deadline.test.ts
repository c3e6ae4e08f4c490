import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { answer, begunCall, endCall, exchange, grpcExchange, trailersOnly } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { noBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Attempt, type Exchange, Response } from '../base/exchange.ts'
import { headerValue } from '../base/headers.ts'
import type { Service } from '../base/stack.ts'
import { deadline } from './deadline.ts'
import { DeadlineQueue } from './deadline-queue.ts'
import { perTryTimeout } from './per-try-timeout.ts'
import { TimeoutQueue } from './timeout-queue.ts'

const policy = { kind: 'HTTPRoute', namespace: 'shop', name: 'r', version: '1' }

/** A try that ends only when it is told to. */
const hang: Service = (of) =>
  new Promise((_, reject) => {
    of.waiting = reject
  })

const code = (error: unknown): string => (error as MeshError).code

describe('deadline', () => {
  test('0 is none', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const next: Service = () => Promise.resolve(answer())
    assert.equal((await deadline(0, undefined, clock)(next)(request)).status, 200)
    assert.equal(clock.pendingTimers, 0)
    assert.equal(request.deadlineAt, Number.POSITIVE_INFINITY)
  })

  test('ends what hangs, at its time, and for good', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const at = deadline(
      500,
      policy,
      clock,
    )(hang)(request).catch((error: unknown) => [code(error), clock.now(), (error as MeshError).policy])
    await clock.advance(1_000)
    assert.deepEqual(await at, ['DEADLINE', 1_500, policy])
    assert.equal(request.cancelled?.code, 'DEADLINE')
  })

  test('spares what ends in time, well or badly', async () => {
    const clock = new FakeClock()
    const layer = deadline(500, policy, clock)
    const request = exchange()
    await layer(() => Promise.resolve(answer()))(request)
    await assert.rejects(layer(() => Promise.reject(new Error('x')))(request))
    await clock.advance(1_000)
    assert.equal(request.cancelled, undefined)
  })

  test('covers the body', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const response = new Response(200, '', [], noBody)
    await deadline(500, policy, clock)(() => Promise.resolve(response))(request)
    let told: MeshError | undefined
    request.waiting = (reason) => {
      told = reason
    }
    await clock.advance(500)
    assert.equal(told?.code, 'DEADLINE')
  })

  test('ends with the body', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const response = new Response(200, '', [], noBody)
    await deadline(500, policy, clock)(() => Promise.resolve(response))(request)
    response.finish(undefined)
    await clock.advance(500)
    assert.equal(request.cancelled, undefined)
  })

  test('a tunnel may last', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const response = new Response(101, '', [], noBody)
    response.tunnel = { socket: undefined as never, head: Buffer.alloc(0) }
    await deadline(500, policy, clock)(() => Promise.resolve(response))(request)
    await clock.advance(5_000)
    assert.equal(request.cancelled, undefined)
  })
})

describe('deadline of a gRPC call', () => {
  /** What the upstream is told, and what became of it, with the time at which it did. */
  async function call(timeout: string | undefined, ms: number, waitedMs = 0) {
    const clock = new FakeClock()
    const request = grpcExchange(timeout === undefined ? [] : ['grpc-timeout', timeout])
    await clock.advance(waitedMs)
    let told: string | undefined = 'nothing: it was not called'
    const outcome = deadline(
      ms,
      policy,
      clock,
    )((of) => {
      told = headerValue(of.request.headers, 'grpc-timeout')
      return hang(of)
    })(request).catch((error: unknown) => error as MeshError)
    await clock.advance(60_000)
    const over = request.cancelled
    if (over === undefined) request.cancel(new MeshError('DOWNSTREAM_RESET', 'the test is over'))
    return { told, error: (await outcome) as MeshError, request }
  }

  test("the caller's alone", async () => {
    const { told, error } = await call('500m', 0)
    assert.equal(told, '500m')
    assert.deepEqual([error.code, error.grpc, error.policy], ['DEADLINE', 4, undefined])
    assert.match(error.message, /within 500 ms, the caller's grpc-timeout/)
  })

  test("the policy's alone is told upstream", async () => {
    const { told, error } = await call(undefined, 700)
    assert.equal(told, '700m')
    assert.deepEqual([error.code, error.policy], ['DEADLINE', policy])
  })

  test('the smaller one holds, and names who set it', async () => {
    const callers = await call('2S', 3_000)
    assert.deepEqual([callers.told, callers.error.policy, callers.request.deadlineAt], ['2000m', undefined, 3_000])
    const policys = await call('3S', 2_000)
    assert.deepEqual([policys.told, policys.error.policy, policys.request.deadlineAt], ['2000m', policy, 3_000])
  })

  test("the caller's time began with its call", async () => {
    const { told, request } = await call('500m', 0, 200)
    assert.equal(told, '300m')
    assert.equal(request.deadlineAt, 1_500)
  })

  test('nothing goes out for a caller who waits no longer', async () => {
    for (const [timeout, waitedMs] of [
      ['0m', 0],
      ['100m', 100],
      ['100m', 5_000],
    ] as const) {
      const { told, error } = await call(timeout, 0, waitedMs)
      assert.match(told!, /^nothing/)
      assert.deepEqual([error.code, error.unsent], ['DEADLINE', true])
    }
  })

  test('neither: no limit, and nothing is added', async () => {
    const { told, error } = await call(undefined, 0)
    assert.equal(told, undefined)
    assert.equal(error.code, 'DOWNSTREAM_RESET')
  })

  for (const bad of ['', '5', '123456789m', '5x', '-5m', '5m, 6m']) {
    test(`"${bad}" is refused`, async () => {
      const { told, error } = await call(bad, 1_000)
      assert.match(told!, /^nothing/)
      assert.deepEqual([error.code, error.grpc], ['BAD_REQUEST', 13])
      assert.ok(error.message.includes(`"${bad}"`))
    })
  }

  test('what is no call may have any field of that name', async () => {
    const clock = new FakeClock()
    const request = exchange({ headers: ['grpc-timeout', 'x'] })
    await deadline(500, policy, clock)(() => Promise.resolve(answer()))(request)
    assert.deepEqual(request.request.headers, ['grpc-timeout', 'x'])
  })

  test('it covers the stream, and ends with it', async () => {
    const clock = new FakeClock()
    const layer = deadline(0, undefined, clock)
    const long = grpcExchange(['grpc-timeout', '1S'])
    const short = grpcExchange(['grpc-timeout', '1S'])
    await layer(() => Promise.resolve(begunCall()))(long)
    const response = begunCall()
    await layer(() => Promise.resolve(response))(short)
    await layer(() => Promise.resolve(trailersOnly(5)))(grpcExchange(['grpc-timeout', '1S']))
    let told: MeshError | undefined
    long.waiting = (reason) => {
      told = reason
    }
    endCall(response, 0)
    await clock.advance(1_000)
    assert.equal(told?.grpc, 4)
    assert.equal(short.cancelled, undefined)
    assert.equal(clock.pendingTimers, 0)
  })

  test('a branch has what its origin has', () => {
    const request = grpcExchange()
    request.deadlineAt = 7
    assert.equal(request.branch(request.request, request.body).deadlineAt, 7)
  })
})

test('deadlines that were cancelled leave the others in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ at: fc.integer({ min: 1, max: 300 }), cancelled: fc.boolean() }), {
        minLength: 20,
        maxLength: 60,
        size: 'max',
      }),
      async (list) => {
        const clock = new FakeClock()
        const expired: number[] = []
        const queue = new DeadlineQueue(clock, ({ at }) => {
          assert.ok(Math.abs(clock.now() - at) <= 1, 'at its time')
          expired.push(at)
        })
        const dues = list.map(({ at }) => queue.add(exchange(), 1_000 + at, false))
        for (const [i, due] of dues.entries()) if (list[i]!.cancelled) queue.cancel(due)
        await clock.advance(400)
        const left = list.filter(({ cancelled }) => !cancelled).map(({ at }) => 1_000 + at)
        assert.deepEqual(
          expired,
          left.toSorted((a, b) => a - b),
        )
      },
    ),
    { numRuns: 200 },
  )
})

test('deadlines of any length come due in order, at their time, and cancelled ones never', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ at: fc.integer({ min: 1, max: 500 }), cancelled: fc.boolean(), addedAt: fc.nat(400) }), {
        maxLength: 40,
      }),
      async (list) => {
        const clock = new FakeClock()
        const expired: number[] = []
        const queue = new DeadlineQueue(clock, ({ at }) => {
          assert.ok(Math.abs(clock.now() - at) <= 1, 'at its time')
          expired.push(at)
        })
        const wanted: number[] = []
        for (const { at, cancelled, addedAt } of list) {
          clock.after(addedAt, () => {
            const due = queue.add(exchange(), clock.now() + at, false)
            if (!cancelled) wanted.push(due.at)
            else
              clock.after(at / 2, () => {
                queue.cancel(due)
                queue.cancel(due)
              })
          })
        }
        await clock.advance(2_000)
        assert.deepEqual(
          expired,
          wanted.toSorted((a, b) => a - b),
        )
        assert.equal(clock.pendingTimers, 0)
      },
    ),
    { numRuns: 60 },
  )
})

describe('per-try timeout', () => {
  const begin = (of: Exchange): void => void of.attempts.push({} as Attempt)

  test('ends the try, not the exchange', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const service = perTryTimeout(200, policy, clock)!((of) => {
      begin(of)
      return hang(of)
    })
    const failed = service(request).catch(code)
    await clock.advance(200)
    assert.equal(await failed, 'TRY_TIMEOUT')
    assert.equal(request.cancelled, undefined)
    const again = service(request).catch(code)
    await clock.advance(199)
    assert.equal(request.attempts.length, 2)
    await clock.advance(1)
    assert.equal(await again, 'TRY_TIMEOUT')
  })

  test('does not hit the try that came after', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const given = new Response(503, '', [], noBody)
    const service = perTryTimeout(200, policy, clock)!((of) => {
      begin(of)
      return Promise.resolve(given)
    })
    await service(request)
    begin(request)
    let hit = false
    request.waiting = () => {
      hit = true
    }
    await clock.advance(300)
    assert.equal(hit, false)
  })
})

test('a queue expires in order, at the right times, and a cancelled one never', async () => {
  const clock = new FakeClock()
  const expired: [string, number][] = []
  const queue = new TimeoutQueue<Exchange>(clock, 100, ({ of }) => expired.push([of.request.target, clock.now()]))
  const add = (target: string) => queue.add(exchange({ target }))
  const a = add('/a')
  await clock.advance(10)
  add('/b')
  const c = add('/c')
  await clock.advance(10)
  add('/d')
  queue.cancel(a)
  queue.cancel(c)
  queue.cancel(c)
  await clock.advance(500)
  assert.deepEqual(expired, [
    ['/b', 1_110],
    ['/d', 1_120],
  ])
  assert.equal(clock.pendingTimers, 0)
  add('/e')
  await clock.advance(100)
  assert.equal(expired.length, 3)
})

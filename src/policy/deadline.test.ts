import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { answer, exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { noBody } from '../base/body.ts'
import type { MeshError } from '../base/errors.ts'
import { type Attempt, type Exchange, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import { deadline } from './deadline.ts'
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
  test('0 is none', () => assert.equal(deadline(0, undefined, new FakeClock()), undefined))

  test('ends what hangs, at its time, and for good', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const at = deadline(500, policy, clock)!(hang)(request).catch((error: unknown) => [
      code(error),
      clock.now(),
      (error as MeshError).policy,
    ])
    await clock.advance(1_000)
    assert.deepEqual(await at, ['DEADLINE', 1_500, policy])
    assert.equal(request.cancelled?.code, 'DEADLINE')
  })

  test('spares what ends in time, well or badly', async () => {
    const clock = new FakeClock()
    const layer = deadline(500, policy, clock)!
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
    await deadline(500, policy, clock)!(() => Promise.resolve(response))(request)
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
    await deadline(500, policy, clock)!(() => Promise.resolve(response))(request)
    response.finish(undefined)
    await clock.advance(500)
    assert.equal(request.cancelled, undefined)
  })

  test('a tunnel may last', async () => {
    const clock = new FakeClock()
    const request = exchange()
    const response = new Response(101, '', [], noBody)
    response.tunnel = { socket: undefined as never, head: Buffer.alloc(0) }
    await deadline(500, policy, clock)!(() => Promise.resolve(response))(request)
    await clock.advance(5_000)
    assert.equal(request.cancelled, undefined)
  })
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

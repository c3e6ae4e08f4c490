/** What two threads of one sidecar know together: the same memory, a registry each. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { BackendPolicySchema, EndpointSetSchema } from '../api/gen/outrigger_pb.ts'
import { SharedTable, sharedMemory } from '../base/shared-table.ts'
import { type Backend, BackendRegistry } from './backends.ts'
import type { Breaker } from './breaker.ts'

type Policy = MessageInitShape<typeof BackendPolicySchema>

const endpoints = create(EndpointSetSchema, {
  namespace: 'shop',
  name: 'orders',
  endpoints: ['10.0.0.1', '10.0.0.2'].map((address) => ({ address, ready: true, ports: { 80: 8080 } })),
})

function setUp(policy: Policy) {
  const clock = new FakeClock()
  const memory = sharedMemory(2)
  const told: string[] = []
  const backends = [0, 1].map((thread): Backend => {
    const registry = new BackendRegistry({
      clock,
      onTransition: ({ endpoint, to }) => void told.push(`${thread} ${endpoint} ${to}`),
      onEjection: ({ endpoint, ejected }) => void told.push(`${thread} ${endpoint} ${ejected ? 'out' : 'back'}`),
      shared: new SharedTable(memory, thread, clock),
    })
    registry.update('shop/orders', create(BackendPolicySchema, policy))
    registry.updateEndpoints('shop/orders', endpoints)
    return registry.backend('shop/orders', 80)
  })
  const [a, b] = backends as [Backend, Backend]
  /** A thread that died: what it held is given back, its timers never fire. */
  const bury = (thread: number): void => new SharedTable(memory, 2, clock).bury(thread)
  const fail = (of: Breaker, times: number): void => {
    for (let i = 0; i < times; i++) of.failed(of.admit(), clock.now(), 'x')
  }
  const chosen = (of: Backend): string[] =>
    [...new Set(Array.from({ length: 60 }, () => of.choose(exchange()).target.address))].sort()
  return { clock, a, b, told, bury, fail, chosen }
}

const breaker = { errorThresholdPercent: 50, volumeThreshold: 4, rollingWindowMs: 10_000, resetTimeoutMs: 5_000 }

describe('a breaker of two threads', () => {
  test('opens by what both saw, and rejects in both at once', () => {
    const { a, b, told, fail } = setUp({ circuitBreakers: [breaker] })
    fail(a.breaker!, 2)
    fail(b.breaker!, 1)
    assert.equal(a.breaker!.admit(), 'counted')
    fail(b.breaker!, 1)
    assert.deepEqual([a.breaker!.admit(), b.breaker!.admit()], ['rejected', 'rejected'])
    assert.deepEqual(told, ['1  open'])
    assert.equal(a.breaker!.snapshot().failures, 4)
  })

  test('what one answered well holds the share of failures down in the other', () => {
    const { clock, a, b, fail } = setUp({ circuitBreakers: [breaker] })
    for (let i = 0; i < 10; i++) a.breaker!.succeeded(a.breaker!.admit(), clock.now())
    fail(b.breaker!, 9)
    assert.equal(b.breaker!.state, 'closed')
    fail(b.breaker!, 2)
    assert.equal(a.breaker!.snapshot().state, 'open')
  })

  test('what is older than the window does not count', async () => {
    const { clock, a, b, fail } = setUp({ circuitBreakers: [breaker] })
    fail(a.breaker!, 3)
    await clock.advance(11_000)
    fail(b.breaker!, 3)
    assert.equal(b.breaker!.state, 'closed')
    fail(b.breaker!, 1)
    assert.equal(b.breaker!.state, 'open')
  })

  test('has one probe, whoever asks first, and its outcome holds for both', async () => {
    for (const outcome of ['succeeded', 'failed'] as const) {
      const { clock, a, b, told, fail } = setUp({ circuitBreakers: [breaker] })
      fail(a.breaker!, 4)
      await clock.advance(5_000)
      const probe = b.breaker!.admit()
      assert.deepEqual([probe, a.breaker!.admit(), b.breaker!.admit()], ['probe', 'rejected', 'rejected'])
      if (outcome === 'succeeded') b.breaker!.succeeded(probe, clock.now())
      else b.breaker!.failed(probe, clock.now(), 'x')
      await clock.advance(0)
      const after = outcome === 'succeeded' ? 'counted' : 'rejected'
      assert.deepEqual([a.breaker!.admit(), b.breaker!.admit()], [after, after])
      assert.deepEqual(told, ['0  open', '0  half-open', outcome === 'succeeded' ? '1  closed' : '1  open'])
      // A second round, led by the other one.
      if (outcome === 'succeeded') continue
      await clock.advance(5_000)
      const again = a.breaker!.admit()
      assert.equal(again, 'probe')
      a.breaker!.succeeded(again, clock.now())
      await clock.advance(0)
      assert.equal(b.breaker!.admit(), 'counted')
    }
  })

  test('a probe that says nothing leaves it to the other thread', async () => {
    const { clock, a, b, fail } = setUp({ circuitBreakers: [breaker] })
    fail(a.breaker!, 4)
    await clock.advance(5_000)
    a.breaker!.ended(a.breaker!.admit())
    assert.equal(b.breaker!.admit(), 'probe')
  })

  test('the death of the one that opened it, or that has the probe, stops nothing', async () => {
    const { clock, a, b, told, bury, fail } = setUp({ circuitBreakers: [breaker] })
    fail(a.breaker!, 4)
    // Its timer is gone with it.
    a.breaker!.close()
    bury(0)
    assert.equal(b.breaker!.admit(), 'rejected')
    await clock.advance(5_049)
    assert.equal(b.breaker!.admit(), 'rejected')
    await clock.advance(1)
    assert.deepEqual(told, ['0  open', '1  half-open'])
    assert.equal(b.breaker!.admit(), 'probe')
    bury(1)
  })

  test('of an endpoint is passed over by a thread that never met it', async () => {
    const { clock, a, b, fail, chosen } = setUp({ circuitBreakers: [{ ...breaker, endpointScope: true }] })
    const bad = a.endpoints.get('10.0.0.1:8080')!
    assert.deepEqual(chosen(b), ['10.0.0.1', '10.0.0.2'])
    fail(a.breakerOf(bad)!, 4)
    assert.deepEqual(chosen(b), ['10.0.0.2'])
    await clock.advance(5_000)
    assert.deepEqual(chosen(b), ['10.0.0.1', '10.0.0.2'])
    const probe = a.breakerOf(bad)!.admit()
    assert.deepEqual([chosen(a), chosen(b)], [['10.0.0.2'], ['10.0.0.2']])
    a.breakerOf(bad)!.succeeded(probe, clock.now())
    await clock.advance(0)
    assert.deepEqual(chosen(b), ['10.0.0.1', '10.0.0.2'])
  })

  test('in Shadow it counts together and rejects nobody', () => {
    const { a, b, told, fail } = setUp({ circuitBreakers: [{ ...breaker, shadow: true }] })
    fail(a.breaker!, 2)
    fail(b.breaker!, 2)
    assert.deepEqual([a.breaker!.admit(), b.breaker!.admit()], ['uncounted', 'uncounted'])
    assert.deepEqual(told, ['1  open'])
  })
})

describe('outlier detection of two threads', () => {
  const policy = { outlierDetection: { consecutive5xx: 4, baseEjectionMs: 1_000, maxEjectionPercent: 50 } }
  const record = (of: Backend, failed: boolean, now: number): void =>
    of.outlier!.record(of.endpoints.get('10.0.0.1:8080')!, failed, now)

  test('counts failures in a row over both, ejects for both, and lets back for both', async () => {
    const { clock, a, b, told, chosen } = setUp(policy)
    for (const each of [a, a, b]) record(each, true, clock.now())
    record(b, false, clock.now())
    for (const each of [a, b, a]) record(each, true, clock.now())
    assert.deepEqual(chosen(b), ['10.0.0.1', '10.0.0.2'])
    record(b, true, clock.now())
    assert.deepEqual([chosen(a), chosen(b)], [['10.0.0.2'], ['10.0.0.2']])
    await clock.advance(1_000)
    assert.deepEqual(
      [chosen(a), chosen(b)],
      [
        ['10.0.0.1', '10.0.0.2'],
        ['10.0.0.1', '10.0.0.2'],
      ],
    )
    await clock.advance(1_000)
    assert.deepEqual(told, ['1 10.0.0.1:8080 out', '1 10.0.0.1:8080 back'])
  })

  test('the next ejection is longer, whichever thread makes it', async () => {
    const { clock, a, b, chosen } = setUp(policy)
    for (let i = 0; i < 4; i++) record(a, true, clock.now())
    await clock.advance(1_000)
    for (let i = 0; i < 4; i++) record(b, true, clock.now())
    await clock.advance(1_999)
    assert.deepEqual(chosen(a), ['10.0.0.2'])
    await clock.advance(1)
    assert.deepEqual(chosen(a), ['10.0.0.1', '10.0.0.2'])
  })

  test('one that was ejected by a thread that died comes back', async () => {
    const { clock, a, b, told, bury, chosen } = setUp(policy)
    for (let i = 0; i < 4; i++) record(a, true, clock.now())
    for (const endpoint of a.endpoints.all()) endpoint.close()
    bury(0)
    assert.deepEqual(chosen(b), ['10.0.0.2'])
    await clock.advance(1_100)
    assert.deepEqual(chosen(b), ['10.0.0.1', '10.0.0.2'])
    assert.equal(told.at(-1), '1 10.0.0.1:8080 back')
  })
})

test('one retry budget for two threads', () => {
  const { clock, a, b } = setUp({})
  const limits = { percent: 20, intervalMs: 10_000, minPerSecond: 0 }
  const budgets = [a.budget(10_000), b.budget(10_000)]
  for (let i = 0; i < 100; i++) budgets[i % 2]!.request(clock.now())
  let retries = 0
  for (let i = 0; i < 60; i++) if (budgets[i % 2]!.tryRetry(limits, clock.now())) retries++
  assert.equal(retries, 20)
  assert.deepEqual([budgets[0]!.requests, budgets[1]!.retries], [100, 20])
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Algorithm, BackendPolicySchema, EndpointSetSchema } from '../api/gen/outrigger_pb.ts'
import type { Attempt } from '../base/exchange.ts'
import { BackendRegistry } from './backends.ts'
import type { Transition } from './breaker.ts'
import type { Ejection } from './outlier.ts'

type Policy = MessageInitShape<typeof BackendPolicySchema>

function setUp(policy?: Policy) {
  const clock = new FakeClock()
  const transitions: Transition[] = []
  const ejections: Ejection[] = []
  const registry = new BackendRegistry({
    clock,
    onTransition: (transition) => transitions.push(transition),
    onEjection: (ejection) => ejections.push(ejection),
  })
  registry.update('shop/orders', policy === undefined ? undefined : create(BackendPolicySchema, policy))
  return { clock, registry, transitions, ejections, backend: registry.backend('shop/orders', 80) }
}

const set = (...addresses: (string | { address: string; ready: boolean })[]) =>
  create(EndpointSetSchema, {
    namespace: 'shop',
    name: 'orders',
    endpoints: addresses.map((of) => ({
      ...(typeof of === 'string' ? { address: of, ready: true } : of),
      ports: { 80: 8080 },
    })),
  })

describe('endpoints', () => {
  test('none at all, and none ready, are told apart', () => {
    const { registry, backend } = setUp()
    assert.throws(() => backend.choose(exchange()), {
      code: 'NO_HEALTHY_ENDPOINT',
      message: 'shop/orders port 80 has no endpoints',
      unsent: true,
    })
    registry.updateEndpoints('shop/orders', set({ address: '10.0.0.1', ready: false }))
    assert.throws(() => backend.choose(exchange()), {
      code: 'NO_HEALTHY_ENDPOINT',
      message: /has 1 endpoints, none of them ready/,
    })
  })

  test('only those that have the port, dialled where the endpoint says; IPv6 in brackets', () => {
    const { registry } = setUp()
    registry.updateEndpoints('shop/orders', set('10.0.0.1', 'fd00::1'))
    assert.throws(() => registry.backend('shop/orders', 81).choose(exchange()), { code: 'NO_HEALTHY_ENDPOINT' })
    const keys = registry.snapshot()[0]!.backends[0]!.endpoints.map(({ endpoint }) => endpoint)
    assert.deepEqual(keys, ['10.0.0.1:8080', '[fd00::1]:8080'])
  })

  test('health survives an update; what left is gone', () => {
    const { registry, backend } = setUp()
    registry.updateEndpoints('shop/orders', set('10.0.0.1', '10.0.0.2'))
    const first = backend.endpoints.get('10.0.0.1:8080')!
    first.inFlight = 7
    registry.updateEndpoints('shop/orders', set('10.0.0.3', '10.0.0.1'))
    assert.equal(backend.endpoints.get('10.0.0.1:8080'), first)
    assert.equal(first.inFlight, 7)
    assert.equal(backend.endpoints.get('10.0.0.2:8080'), undefined)
  })

  test('what is tried already comes last', () => {
    const { registry, backend } = setUp()
    registry.updateEndpoints('shop/orders', set('10.0.0.1', '10.0.0.2', '10.0.0.3'))
    for (let round = 0; round < 50; round++) {
      const request = exchange()
      const keys: string[] = []
      for (let i = 0; i < 3; i++) {
        const { target } = backend.choose(request)
        keys.push(target.key)
        request.attempts.push({ endpoint: target.key } as Attempt)
      }
      assert.equal(new Set(keys).size, 3)
      backend.choose(request)
    }
  })

  test('a captured connection to an endpoint gets that endpoint', () => {
    const { registry, backend } = setUp()
    registry.updateEndpoints('shop/orders', set('10.0.0.1', '10.0.0.2', 'fd00::1'))
    const to = (localAddress: string) => exchange({}, { captured: true, localAddress, localPort: 8080 })
    for (let i = 0; i < 20; i++) {
      assert.equal(backend.choose(to('10.0.0.2')).target.key, '10.0.0.2:8080')
      assert.equal(backend.choose(to('fd00::1')).target.key, '[fd00::1]:8080')
    }
    assert.ok(backend.choose(to('10.96.0.1')))
  })
})

describe('breakers', () => {
  const policy: Policy = {
    circuitBreakers: [
      {
        endpointScope: true,
        errorThresholdPercent: 50,
        volumeThreshold: 2,
        rollingWindowMs: 10_000,
        resetTimeoutMs: 5_000,
      },
      { errorThresholdPercent: 50, volumeThreshold: 20, rollingWindowMs: 10_000, resetTimeoutMs: 5_000 },
    ],
  }

  test('an endpoint whose breaker rejects is passed over, probed by one, and let back', async () => {
    const { clock, registry, backend, transitions } = setUp(policy)
    registry.updateEndpoints('shop/orders', set('10.0.0.1', '10.0.0.2'))
    const bad = backend.endpoints.get('10.0.0.1:8080')!
    const breaker = backend.breakerOf(bad)!
    for (let i = 0; i < 3; i++) breaker.failed(breaker.admit(), clock.now(), 'x')
    for (let i = 0; i < 50; i++) assert.notEqual(backend.choose(exchange()), bad)
    await clock.advance(5_000)
    assert.ok(Array.from({ length: 50 }, () => backend.choose(exchange())).includes(bad))
    const probe = breaker.admit()
    for (let i = 0; i < 50; i++) assert.notEqual(backend.choose(exchange()), bad)
    breaker.succeeded(probe, clock.now())
    await clock.advance(0)
    assert.ok(Array.from({ length: 50 }, () => backend.choose(exchange())).includes(bad))
    assert.equal(transitions.map(({ to }) => to).join(), 'open,half-open,closed')
    assert.equal(transitions[0]!.endpoint, '10.0.0.1:8080')
  })

  test('if every breaker rejects, one is chosen all the same: its refusal is the answer', () => {
    const { clock, registry, backend } = setUp(policy)
    registry.updateEndpoints('shop/orders', set('10.0.0.1'))
    const breaker = backend.breakerOf(backend.choose(exchange()))!
    for (let i = 0; i < 3; i++) breaker.failed(breaker.admit(), clock.now(), 'x')
    assert.equal(backend.choose(exchange()).target.key, '10.0.0.1:8080')
  })

  test('a policy update keeps breakers; removing it removes them', () => {
    const { clock, registry, backend } = setUp(policy)
    registry.updateEndpoints('shop/orders', set('10.0.0.1'))
    const endpoint = backend.choose(exchange())
    const breaker = backend.breakerOf(endpoint)!
    for (let i = 0; i < 3; i++) breaker.failed(breaker.admit(), clock.now(), 'x')
    const service = backend.breaker
    registry.update(
      'shop/orders',
      create(BackendPolicySchema, { ...policy, loadBalancer: { algorithm: Algorithm.RANDOM } } as Policy),
    )
    assert.equal(backend.breakerOf(endpoint), breaker)
    assert.equal(backend.breaker, service)
    assert.equal(breaker.state, 'open')
    registry.update('shop/orders', undefined)
    assert.equal(backend.breakerOf(endpoint), undefined)
    assert.equal(backend.breaker, undefined)
    assert.equal(clock.pendingTimers, 0)
  })

  test('a policy that cannot be compiled changes nothing', () => {
    const { registry, backend } = setUp(policy)
    const before = backend.breaker
    const bad = create(BackendPolicySchema, { loadBalancer: { algorithm: Algorithm.CONSISTENT_HASH } })
    assert.throws(() => registry.update('shop/orders', bad), /exactly one of/)
    assert.equal(backend.breaker, before)
  })

  test('snapshot shows it all', () => {
    const { registry, backend } = setUp(policy)
    registry.updateEndpoints('shop/orders', set('10.0.0.1', { address: '10.0.0.2', ready: false }))
    backend.breakerOf(backend.choose(exchange()))
    backend.budget(10_000).request(1_000)
    const [service] = registry.snapshot()
    assert.equal(service!.service, 'shop/orders')
    assert.equal(service!.breaker?.state, 'closed')
    const [of] = service!.backends
    assert.deepEqual(
      of!.endpoints.map(({ endpoint, ready, breaker }) => [endpoint, ready, breaker?.state]),
      [
        ['10.0.0.1:8080', true, 'closed'],
        ['10.0.0.2:8080', false, undefined],
      ],
    )
    assert.deepEqual(of!.budgets, [{ intervalMs: 10_000, requests: 1, retries: 0 }])
    registry.remove('shop/orders')
    assert.deepEqual(registry.snapshot(), [])
  })
})

describe('outlier detection', () => {
  const outlier = { consecutive5xx: 3, intervalMs: 10_000, baseEjectionMs: 1_000, maxEjectionPercent: 50 }

  function failing(policy: object = {}) {
    const all = setUp({ outlierDetection: { ...outlier, ...policy } })
    all.registry.updateEndpoints('shop/orders', set('10.0.0.1', '10.0.0.2', '10.0.0.3'))
    const fail = (address: string, times = 3): void => {
      const endpoint = all.backend.endpoints.get(`${address}:8080`)!
      for (let i = 0; i < times; i++) all.backend.outlier!.record(endpoint, true, all.clock.now())
    }
    const chosen = (): Set<string> =>
      new Set(Array.from({ length: 100 }, () => all.backend.choose(exchange()).target.address))
    return { ...all, fail, chosen }
  }

  test('so many in a row eject; time brings back', async () => {
    const { clock, backend, fail, chosen, ejections } = failing()
    fail('10.0.0.1', 2)
    backend.outlier!.record(backend.endpoints.get('10.0.0.1:8080')!, false, clock.now())
    fail('10.0.0.1', 2)
    assert.equal(chosen().size, 3)
    fail('10.0.0.1', 1)
    assert.deepEqual([...chosen()].sort(), ['10.0.0.2', '10.0.0.3'])
    await clock.advance(1_000)
    assert.equal(chosen().size, 3)
    assert.deepEqual(
      ejections.map(({ ejected, durationMs, endpoint }) => [ejected, durationMs, endpoint]),
      [
        [true, 1_000, '10.0.0.1:8080'],
        [false, 0, '10.0.0.1:8080'],
      ],
    )
  })

  test('each time it is longer, and a quiet interval forgives one', async () => {
    const { clock, fail, ejections } = failing()
    fail('10.0.0.1')
    await clock.advance(1_000)
    fail('10.0.0.1')
    await clock.advance(2_000)
    fail('10.0.0.1')
    await clock.advance(3_000 + 25_000)
    fail('10.0.0.1')
    const durations = ejections.filter(({ ejected }) => ejected).map(({ durationMs }) => durationMs)
    assert.deepEqual(durations, [1_000, 2_000, 3_000, 2_000])
  })

  test('no more than the share', () => {
    const { fail, chosen } = failing()
    fail('10.0.0.1')
    fail('10.0.0.2')
    assert.equal(chosen().size, 2)
  })

  test('the first may go however small the share; a lone endpoint may not', () => {
    const { fail, chosen } = failing({ maxEjectionPercent: 1 })
    fail('10.0.0.1')
    assert.equal(chosen().size, 2)
    const lone = setUp({ outlierDetection: outlier })
    lone.registry.updateEndpoints('shop/orders', set('10.0.0.1'))
    for (let i = 0; i < 9; i++) lone.backend.outlier!.record(lone.backend.choose(exchange()), true, 1_000)
    assert.deepEqual(lone.ejections, [])
  })

  test('if all are ejected all are used', () => {
    const { fail, chosen } = failing({ maxEjectionPercent: 100 })
    fail('10.0.0.1')
    fail('10.0.0.2')
    fail('10.0.0.3')
    assert.equal(chosen().size, 3)
  })

  test('in Shadow it only tells', () => {
    const { fail, chosen, ejections } = failing({ shadow: true })
    fail('10.0.0.1')
    assert.equal(chosen().size, 3)
    assert.equal(ejections[0]!.shadow, true)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { CircuitBreakerSchema } from '../api/gen/outrigger_pb.ts'
import { Breaker, type Transition } from './breaker.ts'

type Init = MessageInitShape<typeof CircuitBreakerSchema>

const usual = { errorThresholdPercent: 50, volumeThreshold: 4, rollingWindowMs: 10_000, resetTimeoutMs: 5_000 }

function setUp(policy: Init = {}) {
  const clock = new FakeClock()
  const transitions: Transition[] = []
  let changes = 0
  const breaker = new Breaker(create(CircuitBreakerSchema, { ...usual, ...policy } as Init), {
    clock,
    service: 'shop/orders',
    endpoint: '10.0.0.1:80',
    onChange: () => changes++,
    onTransition: (transition) => transitions.push(transition),
  })
  const succeed = (times = 1): void => {
    for (let i = 0; i < times; i++) breaker.succeeded(breaker.admit(), clock.now())
  }
  const fail = (times = 1): void => {
    for (let i = 0; i < times; i++) breaker.failed(breaker.admit(), clock.now(), 'status 503')
  }
  const states = (): string => transitions.map(({ from, to }) => `${from}>${to}`).join(' ')
  return { clock, breaker, transitions, succeed, fail, states, changes: () => changes }
}

test('closed > open > half-open > closed, with causes', async () => {
  const { clock, breaker, transitions, succeed, fail, states } = setUp()
  succeed(2)
  fail(2)
  assert.equal(breaker.state, 'closed', '50 % is not above 50 %')
  fail(1)
  assert.equal(breaker.state, 'open', 'in force as soon as the failure is counted')
  assert.equal(breaker.rejecting, true)
  assert.equal(breaker.admit(), 'rejected')
  await clock.advance(4_999)
  assert.equal(breaker.admit(), 'rejected')
  await clock.advance(1)
  assert.equal(breaker.state, 'half-open')
  assert.equal(breaker.rejecting, false)
  const probe = breaker.admit()
  assert.equal(probe, 'probe')
  assert.equal(breaker.rejecting, true)
  assert.equal(breaker.admit(), 'rejected', 'exactly one probe')
  breaker.succeeded(probe, clock.now())
  await settle()
  assert.equal(breaker.state, 'closed')
  assert.equal(states(), 'closed>open open>half-open half-open>closed')
  const [opened, half, closed] = transitions
  assert.match(opened!.cause, /^3 of 5 requests failed within 10000 ms, the last: status 503$/)
  assert.equal(half!.cause, '5000 ms have passed')
  assert.equal(closed!.cause, 'the probe was answered')
  assert.equal(opened!.service, 'shop/orders')
  assert.equal(opened!.endpoint, '10.0.0.1:80')
  assert.equal(opened!.at, clock.wall() - 5_000)
})

test('a failed probe opens it again, for the whole time', async () => {
  const { clock, breaker, fail, states } = setUp()
  fail(4)
  await clock.advance(5_000)
  fail(1)
  await settle()
  assert.equal(breaker.state, 'open')
  await clock.advance(4_999)
  assert.equal(breaker.state, 'open')
  await clock.advance(1)
  assert.equal(states(), 'closed>open open>half-open half-open>open open>half-open')
})

test('after it closed, old failures are forgotten', async () => {
  const { clock, breaker, succeed, fail } = setUp()
  fail(4)
  await clock.advance(5_000)
  succeed(1)
  await settle()
  fail(2)
  assert.equal(breaker.state, 'closed')
  fail(1)
  assert.equal(breaker.state, 'open')
})

test('a probe that says nothing is given back', async () => {
  const { clock, breaker, fail } = setUp()
  fail(4)
  await clock.advance(5_000)
  const probe = breaker.admit()
  breaker.ended(probe)
  assert.equal(breaker.rejecting, false)
  assert.equal(breaker.admit(), 'probe')
})

test('what began while it was closed cannot decide about the probe', async () => {
  const { clock, breaker, fail } = setUp()
  const early = [breaker.admit(), breaker.admit()]
  fail(4)
  await clock.advance(5_000)
  const probe = breaker.admit()
  breaker.succeeded(early[0]!, clock.now())
  breaker.failed(early[1]!, clock.now(), 'late')
  await settle()
  assert.equal(breaker.state, 'half-open')
  breaker.succeeded(probe, clock.now())
  await settle()
  assert.equal(breaker.state, 'closed')
})

test('below the volume it stays closed', () => {
  const { breaker, fail } = setUp({ volumeThreshold: 10 })
  fail(9)
  assert.equal(breaker.state, 'closed')
  fail(1)
  assert.equal(breaker.state, 'open')
})

test('100 % means all', () => {
  const { breaker, succeed, fail } = setUp({ errorThresholdPercent: 100 })
  succeed(1)
  fail(50)
  assert.equal(breaker.state, 'closed')
  const all = setUp({ errorThresholdPercent: 100 })
  all.fail(4)
  assert.equal(all.breaker.state, 'open')
})

test('the window slides', async () => {
  const { clock, breaker, succeed, fail } = setUp()
  fail(3)
  await clock.advance(11_000)
  succeed(1)
  fail(1)
  assert.equal(breaker.state, 'closed')
  assert.deepEqual([breaker.snapshot().requests, breaker.snapshot().failures], [2, 1])
})

test('in Shadow it changes state and rejects nothing', async () => {
  const { clock, breaker, fail, transitions } = setUp({ shadow: true })
  fail(4)
  assert.equal(breaker.state, 'open')
  assert.equal(breaker.rejecting, false)
  assert.equal(breaker.admit(), 'uncounted')
  assert.equal(breaker.snapshot().rejected, 1)
  assert.equal(transitions[0]!.shadow, true)
  await clock.advance(5_000)
  assert.equal(breaker.admit(), 'probe')
})

test('a changed policy keeps state and counts', async () => {
  const { clock, breaker, fail, states } = setUp()
  fail(3)
  breaker.configure(create(CircuitBreakerSchema, { ...usual, volumeThreshold: 3 }))
  assert.deepEqual([breaker.snapshot().requests, breaker.snapshot().failures], [3, 3])
  fail(1)
  assert.equal(breaker.state, 'open')
  breaker.configure(create(CircuitBreakerSchema, { ...usual, volumeThreshold: 9 }))
  assert.equal(breaker.state, 'open')
  assert.equal(breaker.admit(), 'rejected')
  await clock.advance(5_000)
  breaker.configure(create(CircuitBreakerSchema, { ...usual, volumeThreshold: 2 }))
  assert.equal(breaker.admit(), 'probe')
  assert.equal(states(), 'closed>open open>half-open')
})

test('a policy that changes while the probe is out holds from its outcome on', async () => {
  const { clock, breaker, fail } = setUp()
  fail(4)
  await clock.advance(5_000)
  const probe = breaker.admit()
  breaker.configure(create(CircuitBreakerSchema, { ...usual, volumeThreshold: 1, errorThresholdPercent: 1 }))
  breaker.succeeded(probe, clock.now())
  await settle()
  assert.equal(breaker.state, 'closed')
  fail(1)
  assert.equal(breaker.state, 'open')
})

test('it tells when it begins and ceases to accept', async () => {
  const { clock, breaker, fail, changes } = setUp()
  fail(4)
  assert.equal(changes(), 1)
  await clock.advance(5_000)
  assert.equal(changes(), 2)
  breaker.admit()
  assert.equal(changes(), 3)
})

test('it leaves no timer behind', async () => {
  const { clock, breaker, fail } = setUp()
  fail(4)
  breaker.close()
  assert.equal(clock.pendingTimers, 0)
  breaker.failed('counted', clock.now(), 'late')
  await settle()
})

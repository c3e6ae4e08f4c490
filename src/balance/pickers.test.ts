import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Algorithm, LoadBalancerSchema } from '../api/gen/outrigger_pb.ts'
import type { Attempt } from '../base/exchange.ts'
import { Endpoint, untried } from './endpoint-set.ts'
import { hash, MaglevTable } from './maglev.ts'
import { makePicker } from './pickers.ts'

function endpoints(count: number): Endpoint[] {
  return Array.from({ length: count }, (_, i) => {
    const address = `10.0.${i >> 8}.${i & 255}`
    const names = { identity: '', workload: '', canonicalService: '', canonicalRevision: '', zone: '' }
    return new Endpoint({ key: `${address}:80`, address, port: 80, ...names })
  })
}

const picker = (init: MessageInitShape<typeof LoadBalancerSchema>, seed = 1) =>
  makePicker(create(LoadBalancerSchema, init), new FakeClock(seed))

function counts(all: Endpoint[], picks: Endpoint[]): number[] {
  return all.map((endpoint) => picks.filter((pick) => pick === endpoint).length)
}

test('round robin takes turns, from a place of its own', () => {
  const all = endpoints(3)
  const robin = picker({ algorithm: Algorithm.ROUND_ROBIN })
  assert.deepEqual(
    counts(
      all,
      Array.from({ length: 300 }, () => robin.pick(all, exchange())),
    ),
    [100, 100, 100],
  )
  const starts = new Set(
    [1, 2, 3, 4, 5, 6].map((seed) => picker({ algorithm: Algorithm.ROUND_ROBIN }, seed).pick(all, exchange())),
  )
  assert.ok(starts.size > 1)
})

test('random is even', () => {
  const all = endpoints(4)
  const random = picker({ algorithm: Algorithm.RANDOM })
  for (const count of counts(
    all,
    Array.from({ length: 4_000 }, () => random.pick(all, exchange())),
  )) {
    assert.ok(Math.abs(count - 1_000) < 120, String(count))
  }
})

test('least request never takes the busiest', () => {
  const all = endpoints(3)
  all[1]!.inFlight = 50
  const least = picker({ algorithm: Algorithm.LEAST_REQUEST })
  const picks = counts(
    all,
    Array.from({ length: 300 }, () => least.pick(all, exchange())),
  )
  assert.equal(picks[1], 0)
})

test('least request is the default, and keeps the load level', () => {
  const all = endpoints(10)
  const least = makePicker(undefined, new FakeClock())
  for (let i = 0; i < 1_000; i++) least.pick(all, exchange()).inFlight++
  for (const { inFlight } of all) assert.ok(inFlight >= 95 && inFlight <= 105, String(inFlight))
})

test('EWMA prefers the fast, gives a new one one try, and forgives with time', () => {
  const [slow, fast] = endpoints(2) as [Endpoint, Endpoint]
  slow.observe(100, 1_000)
  fast.observe(10, 1_000)
  const ewma = picker({ algorithm: Algorithm.EWMA })
  assert.equal(ewma.pick([slow, fast], exchange()), fast)
  fast.inFlight = 20
  assert.equal(ewma.pick([slow, fast], exchange()), slow)
  const fresh = endpoints(3)[2]!
  assert.equal(ewma.pick([slow, fresh], exchange()), fresh)
  fresh.inFlight = 1
  assert.equal(ewma.pick([slow, fresh], exchange()), slow)
  slow.observe(10, 61_000)
  assert.ok(slow.latencyMs < 11, String(slow.latencyMs))
  slow.observe(500, 61_001)
  assert.equal(slow.latencyMs, 500)
})

test('consistent hash: same key, same endpoint; few keys move when one leaves', () => {
  const all = endpoints(10)
  const ring = picker({ algorithm: Algorithm.CONSISTENT_HASH, hashHeader: 'X-User' })
  const where = (set: Endpoint[], user: number): Endpoint =>
    ring.pick(set, exchange({ headers: ['x-user', `u${user}`] }))
  const users = Array.from({ length: 2_000 }, (_, i) => i)
  const before = users.map((user) => where(all, user))
  assert.deepEqual(
    users.map((user) => where(all, user)),
    before,
  )
  for (const count of counts(all, before)) assert.ok(count > 120 && count < 290, String(count))
  const less = all.filter((_, i) => i !== 3)
  const moved = users.filter((user, i) => before[i] !== all[3] && where(less, user) !== before[i])
  assert.ok(moved.length < 200, `${moved.length} moved`)
})

test('consistent hash: a retry goes to the same second choice', () => {
  const all = endpoints(5)
  const ring = picker({ algorithm: Algorithm.CONSISTENT_HASH, hashSourceIp: true })
  const seen = new Set<Endpoint>()
  for (let i = 0; i < 20; i++) {
    const request = exchange()
    const first = ring.pick(all, request)
    request.attempts.push({ endpoint: first.target.key } as Attempt)
    const second = ring.pick(untried(all, request.attempts), request)
    assert.notEqual(second, first)
    seen.add(first).add(second)
  }
  assert.equal(seen.size, 2)
})

test('consistent hash by cookie and by address', () => {
  const all = endpoints(20)
  const cookie = picker({ algorithm: Algorithm.CONSISTENT_HASH, hashCookie: 'session' })
  const pick = (value: string): Endpoint =>
    cookie.pick(all, exchange({ headers: ['Cookie', `a=b; session=${value}; c`] }))
  assert.equal(pick('one'), pick('one'))
  assert.ok(new Set(['1', '2', '3', '4', '5', '6'].map(pick)).size > 1)
  const address = picker({ algorithm: Algorithm.CONSISTENT_HASH, hashSourceIp: true })
  const by = (remoteAddress: string): Endpoint => address.pick(all, exchange({}, { remoteAddress }))
  assert.equal(by('10.9.9.9'), by('10.9.9.9'))
})

test('without a key any will do', () => {
  const all = endpoints(5)
  const ring = picker({ algorithm: Algorithm.CONSISTENT_HASH, hashHeader: 'x-user' })
  assert.ok(new Set(Array.from({ length: 50 }, () => ring.pick(all, exchange()))).size > 1)
})

test('refuses a hash without key, with two, and an unknown algorithm', () => {
  assert.throws(() => picker({ algorithm: Algorithm.CONSISTENT_HASH }), /exactly one of/)
  assert.throws(
    () => picker({ algorithm: Algorithm.CONSISTENT_HASH, hashCookie: 'a', hashSourceIp: true }),
    /exactly one of/,
  )
  assert.throws(() => picker({ algorithm: 77 as Algorithm }), /not known to this version/)
})

test('the table is bounded, full, and does not depend on the order of its members', () => {
  const names = Array.from({ length: 3_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}:80`)
  const table = new MaglevTable(names)
  assert.equal(table.size, 65_521)
  const shuffled = names.toReversed()
  const other = new MaglevTable(shuffled)
  for (let i = 0; i < 1_000; i++) {
    const slot = hash(`key${i}`, 0)
    assert.equal(names[table.at(slot)], shuffled[other.at(slot)])
  }
})

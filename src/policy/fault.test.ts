import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { answer, exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { FaultSchema, StringMatchType } from '../api/gen/outrigger_pb.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { PolicyEvent } from './env.ts'
import { fault } from './fault.ts'

type Init = MessageInitShape<typeof FaultSchema>

const all = 1_000_000

function setUp(faults: Init[], seed = 1) {
  const clock = new FakeClock(seed)
  const events: PolicyEvent[] = []
  const layer = fault(
    faults.map((init) =>
      create(FaultSchema, {
        ref: { kind: 'FaultInjection', namespace: 'shop', name: 'f', version: '3' },
        ...init,
      } as Init),
    ),
    { clock, onEvent: (event) => void events.push(event) },
  )!
  let reached = 0
  const service = layer(() => {
    reached++
    return Promise.resolve(answer(200))
  })
  const run = (request: Exchange = exchange()): Promise<Response | MeshError> =>
    service(request).catch((error: unknown) => error as MeshError)
  return { clock, events, run, reached: () => reached }
}

test('no faults, no layer', () => assert.equal(fault([], { clock: new FakeClock() }), undefined))

test('an abort names its policy and says that nothing was sent', async () => {
  const { run, reached } = setUp([{ abortPpm: all, abortStatus: 503 }])
  const error = (await run()) as MeshError
  assert.deepEqual([error.code, error.status, error.unsent, error.reset], ['FAULT_ABORTED', 503, true, false])
  assert.equal(error.policy?.name, 'f')
  assert.equal(reached(), 0)
})

test('status 0 is a reset', async () => {
  const error = (await setUp([{ abortPpm: all }]).run()) as MeshError
  assert.equal(error.reset, true)
})

for (const ppm of [0, 1_000, 100_000, 500_000, 999_000, all]) {
  test(`${ppm} ppm of 10,000 requests`, async () => {
    const { run, reached } = setUp([{ abortPpm: ppm, abortStatus: 500 }], 7)
    for (let i = 0; i < 10_000; i++) await run()
    const aborted = 10_000 - reached()
    assert.ok(Math.abs(aborted - ppm / 100) <= (ppm === 0 || ppm === all ? 0 : 150), String(aborted))
  })
}

test('a delay is a delay', async () => {
  const { clock, run, reached, events } = setUp([{ delayPpm: all, delayMs: 300 }])
  const done = run()
  await clock.advance(299)
  assert.equal(reached(), 0)
  await clock.advance(1)
  assert.equal(((await done) as Response).status, 200)
  assert.equal(events[0]?.outcome, 'delayed')
})

test('a delay from a range', async () => {
  const at = new Set<number>()
  for (let seed = 1; seed < 40; seed++) {
    const { clock, run } = setUp([{ delayPpm: all, delayMs: 100, delayMaxMs: 200 }], seed)
    const started = clock.now()
    const done = run().then(() => clock.now() - started)
    await clock.advance(1_000)
    const took = await done
    assert.ok(took >= 100 && took <= 200, String(took))
    at.add(took)
  }
  assert.ok(at.size > 10)
})

test('delay first, then abort', async () => {
  const { clock, run } = setUp([{ delayPpm: all, delayMs: 50, abortPpm: all, abortStatus: 500 }])
  const started = clock.now()
  const done = run().then((outcome) => [(outcome as MeshError).code, clock.now() - started])
  await clock.advance(50)
  assert.deepEqual(await done, ['FAULT_ABORTED', 50])
})

test('a delay can be cancelled, and leaves no timer', async () => {
  const { clock, run, reached } = setUp([{ delayPpm: all, delayMs: 5_000 }])
  const request = exchange()
  const done = run(request)
  const reason = new MeshError('DEADLINE', 'over')
  request.cancel(reason)
  assert.equal(await done, reason)
  assert.equal(clock.pendingTimers, 0)
  assert.equal(reached(), 0)
})

test('a cancelled exchange is not delayed any more', async () => {
  const { run } = setUp([{ delayPpm: all, delayMs: 5_000 }])
  const request = exchange()
  const reason = new MeshError('DOWNSTREAM_RESET', 'gone')
  request.cancel(reason)
  assert.equal(await run(request), reason)
})

test('it expires by the clock on the wall, without a change of policy', async () => {
  const { clock, run, reached } = setUp([
    { abortPpm: all, abortStatus: 500, expiresAt: BigInt(new FakeClock().wall() + 60_000) },
  ])
  await run()
  assert.equal(reached(), 0)
  await clock.advance(59_999)
  await run()
  assert.equal(reached(), 0)
  await clock.advance(1)
  await run()
  assert.equal(reached(), 1)
})

test('in Shadow it counts and changes nothing', async () => {
  const { run, reached, events } = setUp([{ abortPpm: all, abortStatus: 500, delayPpm: all, delayMs: 9, shadow: true }])
  const request = exchange()
  request.decisions = []
  await run(request)
  assert.equal(reached(), 1)
  assert.deepEqual(
    events.map(({ outcome, shadow }) => [outcome, shadow]),
    [
      ['delayed', true],
      ['aborted', true],
    ],
  )
  assert.deepEqual(
    request.decisions.map(({ what }) => what),
    ['would be delayed by 9 ms', 'would be aborted with 500'],
  )
})

test('only what matches, any one match', async () => {
  const { run, reached } = setUp([
    {
      abortPpm: all,
      abortStatus: 500,
      matches: [
        { headers: [{ name: 'x-user', type: StringMatchType.EXACT, value: 'tester' }] },
        { pathType: StringMatchType.PREFIX, path: '/slow', method: 'POST' },
      ],
    },
  ])
  await run(exchange({ target: '/slow' }))
  await run(exchange({ headers: ['x-user', 'other'] }))
  assert.equal(reached(), 2)
  await run(exchange({ headers: ['X-User', 'tester'] }))
  await run(exchange({ method: 'POST', target: '/slow/x?y' }))
  assert.equal(reached(), 2)
})

test('several faults: delays add up, the first abort wins', async () => {
  const { clock, run } = setUp([
    { delayPpm: all, delayMs: 10 },
    { delayPpm: all, delayMs: 20, abortPpm: all, abortStatus: 500 },
    { abortPpm: all, abortStatus: 418 },
  ])
  const started = clock.now()
  const done = run().then((outcome) => [(outcome as MeshError).status, clock.now() - started])
  await clock.advance(100)
  assert.deepEqual(await done, [500, 30])
})

test('a bad match is refused when policy is compiled', () => {
  assert.throws(() => setUp([{ matches: [{ pathType: StringMatchType.REGEX, path: '(' }] }]), /is not RE2/)
})

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { eventually, LinesLog } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Leadership } from './lease.ts'

const spec = (api: FakeApi): Record<string, unknown> =>
  (api.get('Lease', 'outrigger-system', 'outrigger-leader')?.['spec'] ?? {}) as Record<string, unknown>

function replica(api: FakeApi, identity: string, clock: FakeClock, log = new LinesLog()) {
  const leadership = Leadership.start({
    api: api.cluster(clock),
    namespace: 'outrigger-system',
    name: 'outrigger-leader',
    identity,
    clock,
    log,
  })
  return Object.assign(leadership, { [Symbol.asyncDispose]: () => leadership.stop() })
}

/** Moves time in small steps, so that requests over real sockets end in between. */
async function pass(clocks: readonly FakeClock[], ms: number, api: FakeApi): Promise<void> {
  for (let at = 0; at < ms; at += 500) {
    for (const clock of clocks) await clock.advance(500)
    const asked = api.asked.length
    // A round is two requests; nothing more comes until time moves on.
    await new Promise((resolve) => setTimeout(resolve, 4))
    if (api.asked.length > asked) await new Promise((resolve) => setTimeout(resolve, 8))
  }
}

it('one of two replicas leads; the other takes over as soon as the Lease is given back', async () => {
  await using api = await FakeApi.start()
  const clock = new FakeClock()
  const a = replica(api, 'a', clock)
  await eventually(() => a.held.current, 'a leads')
  await using b = replica(api, 'b', clock)
  const both: boolean[] = []
  a.held.subscribe(() => both.push(a.held.current && b.held.current))
  b.held.subscribe(() => both.push(a.held.current && b.held.current))
  await pass([clock], 30_000, api)
  assert.deepEqual([a.held.current, b.held.current], [true, false])
  assert.equal(spec(api)['holderIdentity'], 'a')
  assert.match(String(spec(api)['renewTime']), /^2026-01-01T00:00:\d\d\.\d{6}Z$/)
  await a.stop()
  assert.equal(a.held.current, false)
  await pass([clock], 3_000, api)
  assert.equal(b.held.current, true)
  assert.deepEqual([spec(api)['holderIdentity'], spec(api)['leaseTransitions']], ['b', 1])
  assert.ok(!both.includes(true))
})

it('a replica that is killed is replaced 15 s after its last word, whatever the clocks say', async () => {
  await using api = await FakeApi.start()
  const own = new FakeClock()
  await using a = replica(api, 'a', own)
  await eventually(() => a.held.current, 'a leads')
  // A clock that is hours ahead sees a renewal that is hours old: only its own time counts.
  const ahead = new FakeClock(2)
  await ahead.advance(5 * 3_600_000)
  await using b = replica(api, 'b', ahead)
  await pass([own, ahead], 20_000, api)
  assert.deepEqual([a.held.current, b.held.current], [true, false])
  // a's time stands still: it is dead for b.
  await pass([ahead], 14_000, api)
  assert.equal(b.held.current, false)
  await pass([ahead], 4_000, api)
  assert.equal(b.held.current, true)
  // It was not dead but slow; the record says that it has lost.
  await pass([own], 3_000, api)
  assert.equal(a.held.current, false)
  assert.equal(spec(api)['holderIdentity'], 'b')
})

for (const trouble of ['hang', 'cut', { status: 500 }] as const) {
  it(`who cannot renew for 10 s leads no more (${JSON.stringify(trouble)}), and leads again when it can`, async () => {
    await using api = await FakeApi.start()
    const clock = new FakeClock()
    const log = new LinesLog()
    await using a = replica(api, 'a', clock, log)
    await eventually(() => a.held.current, 'a leads')
    await pass([clock], 4_000, api)
    api.intercepts.push(() => trouble)
    await pass([clock], 7_000, api)
    assert.equal(a.held.current, true)
    await pass([clock], 5_000, api)
    assert.equal(a.held.current, false)
    assert.match(log.lines.join('\n'), /a could not renew the Lease and does not lead any more/)
    api.intercepts.length = 0
    await pass([clock], 8_000, api)
    assert.equal(a.held.current, true)
  })
}

it('of two that try at the same moment one wins', async () => {
  for (let round = 0; round < 5; round++) {
    await using api = await FakeApi.start()
    const clock = new FakeClock(round)
    await using a = replica(api, 'a', clock)
    await using b = replica(api, 'b', clock)
    await eventually(() => a.held.current || b.held.current, 'one leads')
    await pass([clock], 5_000, api)
    assert.notEqual(a.held.current, b.held.current)
  }
})

it('says what it is not allowed to do, and leads nothing', async () => {
  await using api = await FakeApi.start()
  const message = 'leases is forbidden: User "x" cannot create resource "leases"'
  api.intercepts.push(({ method }) =>
    method === 'POST' ? { status: 403, body: { kind: 'Status', reason: 'Forbidden', message } } : undefined,
  )
  const log = new LinesLog()
  await using a = replica(api, 'a', new FakeClock(), log)
  await eventually(() => log.lines.length > 0, 'told')
  assert.match(log.lines[0]!, /cannot create resource "leases"/)
  assert.equal(a.held.current, false)
})

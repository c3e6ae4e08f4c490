import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { HelloSchema } from '../../src/api/gen/outrigger_pb.ts'
import { clientMessage } from '../../src/api/services.ts'
import { silentLog } from '../../src/base/log.ts'
import { TestResources } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Session } from './session.ts'
import { Sidecars } from './sidecars.ts'

function session(clock: FakeClock, workload: string, program: string): Session {
  const made = new Session({
    clock,
    log: silentLog,
    resources: new TestResources(),
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    identityExpiresAtMs: clock.wall() + 3_600_000,
    send: () => {},
    fail: (_code, details) => assert.fail(details),
  })
  const hello = create(HelloSchema, { namespace: 'shop', workload, program, schemas: ['v1alpha1'] })
  made.take(clientMessage({ case: 'hello', value: hello }))
  return made
}

test('of two streams of one sidecar the younger stands; who left is shown for ten minutes', async () => {
  const clock = new FakeClock()
  const sidecars = new Sidecars(clock)
  const old = session(clock, 'web-0', 'old')
  const young = session(clock, 'web-0', 'young')
  sidecars.add(old)
  sidecars.add(young)
  sidecars.add(session(clock, 'orders-0', 'other'))
  assert.deepEqual(
    sidecars.list().map((it) => [it.workload, it.program]),
    [
      ['shop/orders-0', 'other'],
      ['shop/web-0', 'young'],
    ],
  )
  sidecars.remove(old)
  assert.equal(sidecars.list()[1]?.connected, true, 'the end of the older one is no loss')
  await clock.advance(1_000)
  sidecars.remove(young)
  const gone = sidecars.list()[1]
  assert.equal(gone?.connected, false)
  assert.equal(gone?.since, clock.wall())
  await clock.advance(600_001)
  assert.deepEqual(
    sidecars.list().map((it) => it.workload),
    ['shop/orders-0'],
  )
})

test('those who left are bounded', () => {
  const clock = new FakeClock()
  const sidecars = new Sidecars(clock)
  for (let i = 0; i < 1_100; i++) {
    const one = session(clock, `web-${i}`, 'x')
    sidecars.add(one)
    sidecars.remove(one)
  }
  assert.equal(sidecars.list().length, 1_000)
  assert.equal(
    sidecars.list().some((it) => it.workload === 'shop/web-1099'),
    true,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  AckSchema,
  AcksRequestSchema,
  HelloSchema,
  NackSchema,
  ReportSchema,
  type ServerMessage,
  SubscribeSchema,
  UnsubscribeSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { clientMessage } from '../../src/api/services.ts'
import { silentLog } from '../../src/base/log.ts'
import { TestResources } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { countAcks } from './acks.ts'
import { Session } from './session.ts'

/** One sidecar, that answers when it is told to. */
function sidecar(resources: TestResources, workload: string, names: string[], have: Record<string, string> = {}) {
  const clock = new FakeClock()
  let nonce = ''
  const session = new Session({
    clock,
    log: silentLog,
    resources,
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    identityExpiresAtMs: clock.wall() + 1_000_000,
    send: ({ message }: ServerMessage) => {
      if (message.case === 'delta') nonce = message.value.nonce
    },
    fail: (code, details) => assert.fail(`${code}: ${details}`),
  })
  const take = (message: Parameters<typeof clientMessage>[0]): void => session.take(clientMessage(message))
  take({ case: 'hello', value: create(HelloSchema, { namespace: 'shop', workload, schemas: ['v1alpha1'], have }) })
  take({ case: 'subscribe', value: create(SubscribeSchema, { names }) })
  return {
    session,
    ack: () => take({ case: 'ack', value: create(AckSchema, { nonce }) }),
    nack: (resource: string, version: string, reason: string) =>
      take({ case: 'nack', value: create(NackSchema, { nonce, rejections: [{ resource, version, reason }] }) }),
    report: () => take({ case: 'report', value: create(ReportSchema, {}) }),
    leave: (...gone: string[]) => take({ case: 'unsubscribe', value: create(UnsubscribeSchema, { names: gone }) }),
    changed: (...changed: string[]) => session.changed(new Set(changed)),
  }
}

const orders = 'service/shop/orders'
const stock = 'service/shop/stock'
/** Policies by the names that carry them, at these versions. */
const question = (versions: Record<string, string>, ...policies: string[][]) => {
  const names = Object.keys(versions)
  return create(AcksRequestSchema, {
    resources: names.map((name) => ({ name, version: versions[name]! })),
    policies: policies.map((carried) => ({ resources: carried.map((name) => names.indexOf(name)) })),
  })
}
const short = ({ policies }: ReturnType<typeof countAcks>): string[] =>
  policies.map(({ sidecars, acked, rejected }) => `${acked}/${sidecars} -${rejected}`)

function published(): TestResources {
  const resources = new TestResources()
  resources.set(orders, '1')
  resources.set(stock, '1')
  return resources
}

test('a sidecar counts for what it asked for, once it has answered', () => {
  const resources = published()
  const web = sidecar(resources, 'web', [orders])
  const ask = question({ [orders]: '1', [stock]: '1' }, [orders], [stock], [orders, stock])
  assert.deepEqual(short(countAcks([web.session], ask)), ['0/1 -0', '0/0 -0', '0/1 -0'])
  web.ack()
  assert.deepEqual(short(countAcks([web.session], ask)), ['1/1 -0', '0/0 -0', '1/1 -0'])
  web.leave(orders)
  assert.deepEqual(short(countAcks([web.session], ask)), ['0/0 -0', '0/0 -0', '0/0 -0'])
})

test('a newer version has to be answered anew, also one that this replica does not have yet', () => {
  const resources = published()
  const web = sidecar(resources, 'web', [orders])
  web.ack()
  resources.set(orders, '2')
  assert.deepEqual(short(countAcks([web.session], question({ [orders]: '2' }, [orders]))), ['0/1 -0'])
  web.changed(orders)
  assert.deepEqual(short(countAcks([web.session], question({ [orders]: '2' }, [orders]))), ['0/1 -0'])
  web.ack()
  assert.deepEqual(short(countAcks([web.session], question({ [orders]: '2' }, [orders]))), ['1/1 -0'])
})

test('what a sidecar came with counts', () => {
  const web = sidecar(published(), 'web', [orders], { [orders]: '1' })
  assert.deepEqual(short(countAcks([web.session], question({ [orders]: '1' }, [orders]))), ['1/1 -0'])
})

test('a sidecar that waits for one of two resources is not done', () => {
  const resources = published()
  const web = sidecar(resources, 'web', [orders, stock])
  web.ack()
  resources.set(stock, '2')
  web.changed(stock)
  const ask = question({ [orders]: '1', [stock]: '2' }, [orders, stock], [orders])
  assert.deepEqual(short(countAcks([web.session], ask)), ['0/1 -0', '1/1 -0'])
})

test('a rejection is named, until the sidecar has another version or says that it took it', () => {
  const resources = published()
  const web = sidecar(resources, 'web', [orders])
  web.nack(orders, '1', 'too large')
  const ask = question({ [orders]: '1' }, [orders])
  const [one] = countAcks([web.session], ask).policies
  assert.deepEqual(short(countAcks([web.session], ask)), ['0/1 -1'])
  assert.deepEqual(
    one!.rejections.map(({ workload, resource, reason }) => [workload, resource, reason]),
    [['shop/web', orders, 'too large']],
  )
  // The version that it refused is not the one that is asked for.
  assert.deepEqual(short(countAcks([web.session], question({ [orders]: '2' }, [orders]))), ['0/1 -0'])
  web.report()
  assert.deepEqual(short(countAcks([web.session], ask)), ['1/1 -0'])
})

test('three rejections are named, all are counted', () => {
  const resources = published()
  const all = ['a', 'b', 'c', 'd', 'e'].map((name) => {
    const one = sidecar(resources, name, [orders])
    one.nack(orders, '1', `no, says ${name}`)
    return one.session
  })
  const [one] = countAcks(all, question({ [orders]: '1' }, [orders])).policies
  assert.equal(one!.rejected, 5)
  assert.equal(one!.rejections.length, 3)
})

test('a sidecar with two streams counts once, by the younger', () => {
  const resources = published()
  const old = sidecar(resources, 'web', [orders])
  old.ack()
  const young = sidecar(resources, 'web', [orders])
  assert.deepEqual(short(countAcks([old.session, young.session], question({ [orders]: '1' }, [orders]))), ['0/1 -0'])
})

test('places that are not in the question are nobody', () => {
  const web = sidecar(published(), 'web', [orders])
  const ask = create(AcksRequestSchema, { resources: [], policies: [{ resources: [0, 7] }] })
  assert.deepEqual(short(countAcks([web.session], ask)), ['0/0 -0'])
})

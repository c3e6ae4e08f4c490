import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import {
  AckSchema,
  type ClientMessage,
  HelloSchema,
  NackSchema,
  PongSchema,
  RejectionSchema,
  ReportSchema,
  ResourceSchema,
  type ServerMessage,
  SubscribeSchema,
  UnsubscribeSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { clientMessage } from '../../src/api/services.ts'
import { silentLog } from '../../src/base/log.ts'
import { TestResources } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Session } from './session.ts'

let clock: FakeClock
let resources: TestResources
let session: Session
let sent: ServerMessage['message'][]
let failures: { code: status; details: string }[]

const lifetimeMs = 3_600_000

beforeEach(() => {
  clock = new FakeClock()
  resources = new TestResources()
  sent = []
  failures = []
  session = new Session({
    clock,
    log: silentLog,
    resources,
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    identityExpiresAtMs: clock.wall() + lifetimeMs,
    send: (message) => void sent.push(message.message),
    fail: (code, details) => void failures.push({ code, details }),
  })
})

const take = (message: ClientMessage['message']): void => session.take(clientMessage(message))
const hello = (have: Record<string, string> = {}): void =>
  take({
    case: 'hello',
    value: create(HelloSchema, { namespace: 'shop', workload: 'web-0', schemas: ['v1alpha1'], have }),
  })
const subscribe = (...names: string[]): void => take({ case: 'subscribe', value: create(SubscribeSchema, { names }) })
const changed = (...names: string[]): void => session.changed(new Set(names))

/** What was sent since the last call, in words: `+name@version`, `-name`, `complete`. */
function words(): string[] {
  const all = sent.splice(0).flatMap((message) => {
    if (message.case === 'snapshotComplete') return ['complete']
    if (message.case !== 'delta') return [message.case ?? '?']
    const upserts = message.value.upserts
      .map((bytes) => fromBinary(ResourceSchema, bytes))
      .map((it) => `+${it.name}@${it.version}`)
    nonce = message.value.nonce
    return [...upserts, ...message.value.removes.map((name) => `-${name}`)]
  })
  return all
}

let nonce = ''
const ack = (): void => take({ case: 'ack', value: create(AckSchema, { nonce }) })

describe('Session', () => {
  test('sends what was asked for, then says that it is all', () => {
    resources.set('service/shop/a', 'v1')
    hello()
    assert.deepEqual(words(), [])
    subscribe('service/shop/a', 'service/shop/none')
    assert.deepEqual(words(), ['+service/shop/a@v1', '-service/shop/none'])
    assert.equal(session.status(true)?.inSync, false)
    ack()
    assert.deepEqual(words(), ['complete'])
    assert.equal(session.status(true)?.inSync, true)
  })

  test('does not send again what the sidecar has; removes what it has and is gone', () => {
    resources.set('service/shop/a', 'v1')
    resources.set('service/shop/b', 'v2')
    hello({ 'service/shop/a': 'v1', 'service/shop/b': 'v1', 'service/shop/gone': 'v1', 'service/shop/unasked': 'v1' })
    subscribe('service/shop/a', 'service/shop/b', 'service/shop/gone')
    assert.deepEqual(words(), ['+service/shop/b@v2', '-service/shop/gone'])
  })

  test('one delta is open at a time; what changes meanwhile comes once, at its newest', () => {
    resources.set('service/shop/a', 'v1')
    hello()
    subscribe('service/shop/a')
    words()
    for (const version of ['v2', 'v3', 'v4']) {
      resources.set('service/shop/a', version)
      changed('service/shop/a')
    }
    assert.deepEqual(words(), [])
    ack()
    assert.deepEqual(words(), ['+service/shop/a@v4'])
    ack()
    assert.deepEqual(words(), ['complete'])
  })

  test('a change that is taken back before it was sent is no delta', () => {
    resources.set('service/shop/a', 'v1')
    hello()
    subscribe('service/shop/a')
    words()
    resources.set('service/shop/a', 'v2')
    changed('service/shop/a')
    resources.set('service/shop/a', 'v1')
    changed('service/shop/a')
    ack()
    assert.deepEqual(words(), ['complete'])
  })

  test('changes of what it did not ask for, or no longer asks for, do not concern it', () => {
    resources.set('service/shop/a', 'v1')
    hello()
    subscribe('service/shop/a')
    words()
    ack()
    words()
    resources.set('service/shop/b', 'v1')
    changed('service/shop/b')
    take({ case: 'unsubscribe', value: create(UnsubscribeSchema, { names: ['service/shop/a'] }) })
    resources.set('service/shop/a', 'v2')
    changed('service/shop/a')
    assert.deepEqual(words(), [])
    subscribe('service/shop/a')
    assert.deepEqual(words(), ['+service/shop/a@v2'], 'asked for anew, it is sent anew')
  })

  test('publishes nothing before the sources are read', () => {
    resources.synced = false
    hello({ 'service/shop/a': 'v1' })
    subscribe('service/shop/a')
    assert.deepEqual(words(), [])
    resources.set('service/shop/a', 'v1')
    resources.sync()
    changed('service/shop/a')
    assert.deepEqual(words(), ['complete'])
  })

  test('the workload of someone else does not exist', () => {
    resources.set('workload/shop/web-0', 'v1')
    resources.set('workload/shop/orders-0', 'v1')
    resources.set('workload/bank/web-0', 'v1')
    hello()
    subscribe('workload/shop/web-0', 'workload/shop/orders-0', 'workload/bank/web-0')
    assert.deepEqual(words(), ['+workload/shop/web-0@v1', '-workload/shop/orders-0', '-workload/bank/web-0'])
  })

  test('a large answer is cut, and its rest waits for the acknowledgement', () => {
    for (let i = 0; i < 5; i++) resources.set(`service/shop/s${i}`, String(i).padEnd(300_000, '.'))
    hello()
    subscribe(...Array.from({ length: 5 }, (_, i) => `service/shop/s${i}`))
    const parts: number[] = []
    for (let part = words(); part[0] !== 'complete'; part = words()) {
      assert.deepEqual(words(), [], 'nothing follows before the answer')
      parts.push(part.length)
      ack()
    }
    assert.deepEqual(parts, [2, 2, 1])
  })

  test('a rejection is shown until a report says that it is over', () => {
    resources.set('service/shop/a', 'v1')
    hello()
    subscribe('service/shop/a')
    words()
    const rejection = create(RejectionSchema, { resource: 'service/shop/a', version: 'v1', reason: 'no' })
    take({ case: 'nack', value: create(NackSchema, { nonce, rejections: [rejection] }) })
    assert.deepEqual(session.status(true)?.rejected, [{ resource: 'service/shop/a', version: 'v1', reason: 'no' }])
    assert.deepEqual(words(), ['complete'], 'it is not sent again')
    take({ case: 'report', value: create(ReportSchema, { effectiveHash: 'abc', certificateExpiresAt: 5n }) })
    assert.deepEqual(session.status(true)?.rejected, [])
    assert.equal(session.status(true)?.effectiveHash, 'abc')
    assert.equal(session.status(true)?.certificateExpiresAt, 5)
  })

  test('keeps the newest breaker transitions only', () => {
    hello()
    const transitions = Array.from({ length: 50 }, (_, i) => ({
      service: 'shop/a',
      from: 'closed',
      to: 'open',
      cause: `${i}`,
    }))
    take({ case: 'report', value: create(ReportSchema, { transitions }) })
    const kept = session.status(true)?.breakerTransitions ?? []
    assert.equal(kept.length, 20)
    assert.equal(kept.at(-1)?.cause, '49')
  })

  test('an answer to what is not open ends the stream', () => {
    hello()
    take({ case: 'ack', value: create(AckSchema, { nonce: '9' }) })
    assert.equal(failures[0]?.code, status.INVALID_ARGUMENT)
  })

  test('too many or senseless names end the stream', () => {
    hello()
    subscribe('')
    assert.equal(failures[0]?.code, status.INVALID_ARGUMENT)
  })

  test('more subscriptions than allowed end the stream', () => {
    hello()
    subscribe(...Array.from({ length: 50_001 }, (_, i) => `service/shop/s${i}`))
    assert.equal(failures[0]?.code, status.RESOURCE_EXHAUSTED)
    assert.deepEqual(failures.length, 1)
  })

  test('who does not answer a delta is dropped after 30 s, who answers pings is not', async () => {
    resources.set('service/shop/a', 'v1')
    hello()
    subscribe('service/shop/a')
    words()
    ack()
    words()
    for (let i = 0; i < 20; i++) {
      await clock.advance(5_000)
      session.tick()
      const ping = sent.splice(0).find((message) => message.case === 'ping')
      if (ping !== undefined) take({ case: 'pong', value: create(PongSchema, { id: ping.value.id }) })
    }
    assert.equal(failures.length, 0)
    resources.set('service/shop/a', 'v2')
    changed('service/shop/a')
    await clock.advance(29_000)
    session.tick()
    assert.equal(failures.length, 0)
    await clock.advance(1_000)
    session.tick()
    assert.equal(failures[0]?.code, status.RESOURCE_EXHAUSTED)
    session.tick()
    assert.equal(failures.length, 1)
  })

  test('who says no Hello is dropped, and whose certificate has expired too', async () => {
    await clock.advance(10_000)
    session.tick()
    assert.equal(failures[0]?.code, status.DEADLINE_EXCEEDED)
    assert.equal(session.status(false), undefined, 'it was never a sidecar')
  })

  test('a stream does not outlive its certificate', async () => {
    hello()
    await clock.advance(lifetimeMs)
    session.tick()
    assert.equal(failures[0]?.code, status.UNAUTHENTICATED)
  })
})

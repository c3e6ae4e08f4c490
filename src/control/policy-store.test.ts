import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { serviceBytes, temporaryFolder } from '../../test/support/control.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { DeltaSchema, type Rejection } from '../api/gen/outrigger_pb.ts'
import { silentLog } from '../base/log.ts'
import { StateFolder } from '../base/state-folder.ts'
import { PolicyStore } from './policy-store.ts'

const a = 'service/shop/a'
const b = 'service/shop/b'

function newStore(state?: StateFolder): { clock: FakeClock; store: PolicyStore; asked: string[] } {
  const clock = new FakeClock()
  const store = new PolicyStore({ clock, log: silentLog, state })
  const asked: string[] = []
  store.onInterest({
    subscribe: (names) => asked.push(`+${names.join(',')}`),
    unsubscribe: (names) => asked.push(`-${names.join(',')}`),
  })
  return { clock, store, asked }
}

function apply(
  store: PolicyStore,
  upserts: [name: string, version: string][],
  removes: string[] = [],
  revision = 1n,
): Rejection[] {
  const delta = create(DeltaSchema, {
    revision,
    upserts: upserts.map(([name, version]) => serviceBytes(name, version)),
    removes,
  })
  return store.apply(delta)
}

describe('PolicyStore', () => {
  test('shows what is in force, whole', () => {
    const { store } = newStore()
    store.watch(a, () => {})
    apply(store, [[a, 'v1']])
    const [one, ...others] = store.contents()
    assert.deepEqual([one?.name, one?.version, others], [a, 'v1', []])
    assert.deepEqual((one?.content as { name?: string } | undefined)?.name, a)
  })

  test('asks for each name once, gathered, and again not while it lingers', async () => {
    const { clock, store, asked } = newStore()
    store.setConnected(true)
    const first = store.watch(a, () => {})
    const second = store.watch(a, () => {})
    store.watch(b, () => {})
    await settle()
    assert.deepEqual(asked, [`+${a},${b}`])
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    await clock.advance(120_000)
    assert.deepEqual(asked.length, 1, 'someone still listens')
    second[Symbol.dispose]()
    await clock.advance(59_000)
    const third = store.watch(a, () => {})
    await clock.advance(60_000)
    assert.deepEqual(asked.length, 1, 'it came back in time')
    third[Symbol.dispose]()
    await clock.advance(60_000)
    assert.deepEqual(asked, [`+${a},${b}`, `-${a}`])
    assert.deepEqual(store.names(), [b])
  })

  test('while the control plane is away nothing is forgotten', async () => {
    const { clock, store, asked } = newStore()
    store.setConnected(true)
    const watching = store.watch(a, () => {})
    apply(store, [[a, 'v1']])
    store.setConnected(false)
    watching[Symbol.dispose]()
    await clock.advance(600_000)
    assert.equal(store.status().resources.length, 1)
    store.setConnected(true)
    await clock.advance(60_000)
    assert.equal(store.status().resources.length, 0)
    assert.equal(asked.at(-1), `-${a}`)
  })

  test('listeners see all of a delta, hear only changes, and one that throws stops no other', () => {
    const { store } = newStore()
    const heard: string[] = []
    store.watch(a, () => {
      throw new Error('mine')
    })
    store.watch(a, (resource) => {
      const others: (string | undefined)[] = []
      store.watch(b, (it) => others.push(it?.version))[Symbol.dispose]()
      heard.push(`${resource?.version} with ${others[0]}`)
    })
    store.watch(b, () => {})
    assert.deepEqual(
      apply(store, [
        [a, 'v1'],
        [b, 'v1'],
      ]),
      [],
    )
    assert.deepEqual(
      apply(store, [
        [a, 'v1'],
        [b, 'v2'],
      ]),
      [],
    )
    assert.deepEqual(apply(store, [[a, 'v2']]), [])
    assert.deepEqual(heard, ['v1 with v1', 'v2 with v2'])
  })

  test('known absence is told at once; the unknown is not', () => {
    const { store } = newStore()
    const heard: unknown[] = []
    store.watch(a, (resource) => heard.push(resource))
    assert.equal(heard.length, 0)
    apply(store, [], [a])
    apply(store, [], [a])
    assert.equal(heard.length, 1)
    store.watch(a, (resource) => heard.push(resource))
    assert.deepEqual(heard, [undefined, undefined])
  })

  test('a resource that nobody wants any more is neither kept nor refused', () => {
    const { store } = newStore()
    assert.deepEqual(apply(store, [[a, 'v1']]), [])
    assert.deepEqual(
      store.apply(
        create(DeltaSchema, { upserts: [Buffer.concat([serviceBytes(a, 'v1'), Buffer.from([0xe0, 3, 1])])] }),
      ),
      [],
    )
    assert.deepEqual(store.status().resources, [])
    assert.deepEqual(store.status().rejected, [])
  })

  test('what cannot be read at all is refused and the rest applies', () => {
    const { store } = newStore()
    store.watch(a, () => {})
    const delta = create(DeltaSchema, { upserts: [Buffer.from([0xff, 0xff]), serviceBytes(a, 'v1')] })
    const rejections = store.apply(delta)
    assert.equal(rejections.length, 1)
    assert.notEqual(rejections[0]?.reason, '')
    assert.equal(store.status().resources.length, 1)
  })

  test('the effective hash is of names and versions, in whatever order they came', () => {
    const one = newStore().store
    const two = newStore().store
    for (const store of [one, two]) for (const name of [a, b]) store.watch(name, () => {})
    apply(one, [
      [a, 'v1'],
      [b, 'v1'],
    ])
    apply(two, [[b, 'v1']])
    assert.notEqual(one.effectiveHash, two.effectiveHash)
    apply(two, [[a, 'v1']])
    assert.equal(one.effectiveHash, two.effectiveHash)
  })

  test('what an earlier run held is in force from the start, is asked for, and survives only while it holds', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const first = newStore(state)
    first.store.watch(a, () => {})
    first.store.watch(b, () => {})
    apply(
      first.store,
      [
        [a, 'v1'],
        [b, 'v1'],
      ],
      [],
      7n,
    )
    apply(first.store, [], [b], 8n)
    await first.store.close()

    const clock = new FakeClock()
    const check = { refuses: '' }
    const open = (): PolicyStore =>
      new PolicyStore({
        clock,
        log: silentLog,
        state,
        check: (resource) => {
          if (resource.name === check.refuses) throw new Error('no')
        },
      })
    const second = open()
    assert.equal(second.synced, true)
    assert.equal(second.status().source, 'disk')
    assert.equal(second.status().revision, 8)
    assert.deepEqual(second.names(), [a])
    assert.deepEqual(second.have(), { [a]: 'v1' })
    const waiting = second.whenSynced(1_000)
    await clock.advance(1_000)
    assert.equal(await waiting, true, 'the disk will do, after the wait')
    second.complete(9n)
    assert.equal(await second.whenSynced(1_000), true)
    assert.equal(second.status().source, 'stream')
    await second.close()

    check.refuses = a
    assert.equal(open().synced, false, 'what this program cannot use is not in force')
  })

  test('whenSynced gives up after its time', async () => {
    const { clock, store } = newStore()
    const waiting = store.whenSynced(500)
    await clock.advance(500)
    assert.equal(await waiting, false)
  })
})

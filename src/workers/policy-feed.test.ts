/** Policy from the process to a thread: feed and mirror, with a message port's delay between them. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { MapSource } from '../../test/support/map-source.ts'
import { MeshSchema, type Resource } from '../api/gen/outrigger_pb.ts'
import { silentLog } from '../base/log.ts'
import { MirrorSource } from './mirror-source.ts'
import { PolicyFeed } from './policy-feed.ts'
import type { PolicyChange } from './protocol.ts'

function setUp() {
  const source = new MapSource()
  source.silent = true
  const queue: (() => void)[] = []
  const batches: (readonly PolicyChange[])[] = []
  const feed = new PolicyFeed(source, (serial, changes) => {
    batches.push(changes)
    queue.push(() => {
      mirror.apply(structuredClone(changes))
      feed.applied(serial)
    })
  })
  const mirror = new MirrorSource((name, wanted) => queue.push(() => feed.watch(name, wanted)), silentLog)
  /** Delivers what is on its way, both ways. */
  const deliver = async (): Promise<void> => {
    do {
      for (const message of queue.splice(0)) message()
      await Promise.resolve()
    } while (queue.length > 0)
  }
  const seen: (string | undefined)[] = []
  const listener = (resource: Resource | undefined): void => {
    seen.push(resource?.body.case === 'mesh' ? resource.body.value.trustDomain : undefined)
  }
  const set = (name: string, trustDomain: string): void =>
    source.set(name, { case: 'mesh', value: create(MeshSchema, { trustDomain }) })
  return { source, feed, mirror, batches, deliver, seen, listener, set }
}

describe('policy in a thread', () => {
  it('is what the process has, when it is known, and after each change, in order', async () => {
    const { source, feed, mirror, deliver, seen, listener, set } = setUp()
    mirror.watch('mesh', listener)
    await deliver()
    assert.deepEqual(seen, [])
    set('mesh', 'one')
    set('mesh', 'two')
    await deliver()
    set('mesh', 'three')
    source.remove('mesh')
    await deliver()
    assert.deepEqual(seen, ['two', 'two', undefined, undefined])
    assert.ok(feed.settled)
  })

  it('comes once for several listeners, and stays for the next', async () => {
    const { source, mirror, deliver, seen, listener, set } = setUp()
    const first = mirror.watch('mesh', listener)
    const second = mirror.watch('mesh', listener)
    await deliver()
    assert.deepEqual(source.watched, ['mesh'])
    set('mesh', 'one')
    await deliver()
    mirror.watch('mesh', listener)
    assert.deepEqual(seen, ['one', 'one', 'one'])
    first[Symbol.dispose]()
    second[Symbol.dispose]()
    await deliver()
    assert.deepEqual(source.watched, ['mesh'])
  })

  it('is not wanted any more when nobody listens, and anew when somebody does', async () => {
    const { source, mirror, deliver, seen, listener, set } = setUp()
    const watching = mirror.watch('mesh', listener)
    await deliver()
    set('mesh', 'late')
    watching[Symbol.dispose]()
    await deliver()
    assert.deepEqual([source.watched, seen], [[], []])
    mirror.watch('mesh', listener)
    await deliver()
    assert.deepEqual(seen, ['late'])
  })

  it('of one moment is one message, all of it known before anybody hears', async () => {
    const { mirror, batches, deliver, set } = setUp()
    const other: (string | undefined)[] = []
    let otherNow: Resource | undefined
    mirror.watch('b', (resource) => {
      otherNow = resource
    })
    mirror.watch('a', () => {
      mirror.watch('b', (resource) => other.push(resource?.name))
    })
    await deliver()
    set('a', '1')
    set('b', '2')
    await deliver()
    assert.equal(batches.length, 1)
    assert.equal(otherNow?.name, 'b')
    assert.equal(other[0], 'b')
  })

  it('is in force when the thread says so, or is gone', async () => {
    const { feed, mirror, deliver, listener, set } = setUp()
    mirror.watch('mesh', listener)
    await deliver()
    set('mesh', 'one')
    assert.ok(!feed.settled)
    let settled = 0
    void feed.whenSettled().then(() => settled++)
    await Promise.resolve()
    assert.equal(settled, 0)
    await deliver()
    assert.equal(settled, 1)
    set('mesh', 'two')
    void feed.whenSettled().then(() => settled++)
    feed.close()
    await Promise.resolve()
    assert.equal(settled, 2)
  })

  it('goes on although one of its readers fails', async () => {
    const { mirror, deliver, seen, listener, set } = setUp()
    mirror.watch('mesh', () => {
      throw new Error('a mistake')
    })
    mirror.watch('mesh', listener)
    await deliver()
    set('mesh', 'one')
    await deliver()
    assert.deepEqual(seen, ['one'])
  })
})

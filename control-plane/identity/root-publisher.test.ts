import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Live } from '../../src/base/live.ts'
import { eventually, LinesLog } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { rootStore } from '../cluster-stores.ts'
import { RootPublisher } from './root-publisher.ts'

function start(api: FakeApi, namespaces: string[], isLeader: Live<boolean>) {
  const clock = new FakeClock()
  const log = new LinesLog()
  const held = { pem: 'ROOT 1' }
  const publisher = RootPublisher.start({
    store: rootStore(api.cluster(), () => namespaces),
    rootPem: () => held.pem,
    isLeader,
    clock,
    log,
  })
  return { publisher, clock, log, held, [Symbol.asyncDispose]: () => publisher.stop() }
}

const pemIn = (api: FakeApi, namespace: string): string | undefined =>
  (api.get('ConfigMap', namespace, 'outrigger-root')?.['data'] as { 'root.pem': string } | undefined)?.['root.pem']
const writes = (api: FakeApi): number => api.asked.filter(({ method }) => method === 'PATCH').length

it('the Lease holder keeps the roots in every namespace, and writes only what is not so', async () => {
  await using api = await FakeApi.start()
  const namespaces = ['shop', 'default']
  const isLeader = new Live(false)
  await using it = start(api, namespaces, isLeader)
  it.publisher.changed()
  await it.clock.advance(60_000)
  assert.equal(api.asked.length, 0, 'who does not lead does nothing')
  isLeader.set(true)
  await eventually(() => pemIn(api, 'shop') === 'ROOT 1' && pemIn(api, 'default') === 'ROOT 1', 'written')
  const { labels } = api.get('ConfigMap', 'shop', 'outrigger-root')!.metadata!
  assert.deepEqual(labels, { 'outrigger.dev/root': 'true' })
  const list = api.asked.find(({ method }) => method === 'GET')
  assert.equal(list?.query.get('fieldSelector'), 'metadata.name=outrigger-root', 'RBAC can hold it to this name')
  assert.equal(writes(api), 2)

  namespaces.push('new')
  it.publisher.changed()
  await eventually(() => pemIn(api, 'new') === 'ROOT 1', 'a new namespace')
  assert.equal(writes(api), 3)

  // Edited by somebody, deleted by somebody else; a ConfigMap of another name is nobody's business.
  api.put({ kind: 'ConfigMap', metadata: { name: 'outrigger-root', namespace: 'shop' }, data: { 'root.pem': 'EVIL' } })
  api.put({ kind: 'ConfigMap', metadata: { name: 'other', namespace: 'shop' }, data: { 'root.pem': 'x' } })
  api.delete('ConfigMap', 'default', 'outrigger-root')
  await it.clock.advance(15_000)
  await eventually(() => pemIn(api, 'shop') === 'ROOT 1' && pemIn(api, 'default') === 'ROOT 1', 'mended')
  assert.equal(writes(api), 5)

  it.held.pem = 'ROOT 1 ROOT 2'
  it.publisher.changed()
  await eventually(() => namespaces.every((name) => pemIn(api, name) === 'ROOT 1 ROOT 2'), 'other roots')
  assert.deepEqual(it.log.lines, [])
})

it('a namespace that refuses keeps nobody else waiting; one that is ending is no news', async () => {
  await using api = await FakeApi.start()
  const message = (path: string): string | undefined => {
    if (path.includes('/locked/')) return 'configmaps "outrigger-root" is forbidden'
    return path.includes('/ending/')
      ? 'unable to create new content in namespace ending because it is being terminated'
      : undefined
  }
  api.intercepts.push(({ method, path }) => {
    const text = message(path)
    return method === 'PATCH' && text !== undefined
      ? { status: 403, body: { reason: 'Forbidden', message: text } }
      : undefined
  })
  await using it = start(api, ['locked', 'ending', 'shop'], new Live(true))
  await eventually(() => pemIn(api, 'shop') === 'ROOT 1', 'the others have it')
  assert.equal(it.log.lines.length, 1)
  assert.match(it.log.lines[0]!, /into the namespace locked: .*is forbidden/)
  api.intercepts.length = 0
  await it.clock.advance(15_000)
  await eventually(() => pemIn(api, 'locked') === 'ROOT 1', 'tried again')
})

it('an API server that cannot be reached is asked again', async () => {
  await using api = await FakeApi.start()
  api.intercepts.push(() => 'cut')
  await using it = start(api, ['shop'], new Live(true))
  await eventually(() => it.log.lines.length > 0, 'told')
  assert.match(it.log.lines[0]!, /the root ConfigMaps cannot be listed: .*cannot be reached/)
  api.intercepts.length = 0
  await it.clock.advance(15_000)
  await eventually(() => pemIn(api, 'shop') === 'ROOT 1', 'written')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, LinesLog, seen, startControl, startSidecar, temporaryFolder } from '../support/control.ts'

const at = (version: string) => (resource: { version: string } | undefined) => resource?.version === version
const timeout = 20_000
const log = new LinesLog()
process.on('exit', () => console.error(log.lines))

test('a sidecar enrols by token, gets what it asks for, and hears changes and removals', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path, log })
  control.resources.set('service/shop/orders', 'v1')
  control.resources.set('service/shop/other', 'v1')
  await using sidecar = await startSidecar({ control, log })
  const { store } = sidecar
  const versions: (string | undefined)[] = []
  store.watch('service/shop/orders', (resource) => versions.push(resource?.version))
  await seen(store, 'service/shop/orders', at('v1'))
  await seen(store, 'service/shop/missing', (resource) => resource === undefined)
  assert.equal(await store.whenSynced(10_000), true)
  control.resources.set('service/shop/orders', 'v2')
  await seen(store, 'service/shop/orders', at('v2'))
  control.resources.delete('service/shop/orders')
  await seen(store, 'service/shop/orders', (resource) => resource === undefined)
  assert.deepEqual(versions, ['v1', 'v2', undefined])
  assert.deepEqual(store.status().resources, [], 'nothing comes that was not asked for')
  assert.equal(store.status().connected, true)
  assert.equal(sidecar.certificate.credentials.current?.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web')
})

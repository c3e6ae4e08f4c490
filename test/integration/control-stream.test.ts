import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import {
  AckSchema,
  HelloSchema,
  type Resource,
  ResourceSchema,
  type ServerMessage,
  SubscribeSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import {
  eventually,
  LinesLog,
  rawWatch,
  seen,
  serviceBytes,
  startControl,
  startSidecar,
  TestResources,
  temporaryFolder,
} from '../support/control.ts'

const at = (version: string) => (resource: Resource | undefined) => resource?.version === version
const gone = (resource: Resource | undefined): boolean => resource === undefined
const timeout = 30_000

test('a sidecar enrols by token, gets what it asks for, and hears changes and removals', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/orders', 'v1')
  control.resources.set('service/shop/other', 'v1')
  await using sidecar = await startSidecar({ control })
  const { store } = sidecar
  const versions: (string | undefined)[] = []
  store.watch('service/shop/orders', (resource) => versions.push(resource?.version))
  await seen(store, 'service/shop/orders', at('v1'))
  await seen(store, 'service/shop/missing', gone)
  assert.equal(await store.whenSynced(10_000), true)
  control.resources.set('service/shop/orders', 'v2')
  await seen(store, 'service/shop/orders', at('v2'))
  control.resources.delete('service/shop/orders')
  await seen(store, 'service/shop/orders', gone)
  assert.deepEqual(versions, ['v1', 'v2', undefined])
  assert.deepEqual(store.status().resources, [], 'nothing comes that was not asked for')
  assert.equal(store.status().connected, true)
  assert.equal(sidecar.certificate.credentials.current?.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web')
})

test('a rejected resource keeps its last good version, the others of the same delta apply, and status says why', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/a', 'v1')
  control.resources.set('service/shop/b', 'v1')
  const check = (resource: Resource): void => {
    if (resource.version === 'bad') throw new Error('regex ( does not compile')
  }
  await using sidecar = await startSidecar({ control, check })
  const { store } = sidecar
  const a: (string | undefined)[] = []
  const b: (string | undefined)[] = []
  store.watch('service/shop/a', (resource) => a.push(resource?.version))
  store.watch('service/shop/b', (resource) => b.push(resource?.version))
  await store.whenSynced(10_000)
  control.resources.set('service/shop/a', 'bad')
  control.resources.set('service/shop/b', 'v2')
  await seen(store, 'service/shop/b', at('v2'))
  const rejected = [{ resource: 'service/shop/a', version: 'bad', reason: 'regex ( does not compile' }]
  assert.deepEqual(store.status().rejected, rejected)
  const ofServer = () => control.server.sidecars.list()[0]
  await eventually(() => ofServer()?.rejected.length === 1, 'the control plane knows of the rejection', 1_000)
  assert.deepEqual(ofServer()?.rejected, rejected)
  assert.equal(ofServer()?.inSync, true)
  control.resources.set('service/shop/a', 'v3')
  await seen(store, 'service/shop/a', at('v3'))
  await eventually(() => ofServer()?.rejected.length === 0, 'the rejection is over')
  assert.deepEqual(a, ['v1', 'v3'])
  assert.deepEqual(b, ['v1', 'v2'])
  assert.equal(ofServer()?.effectiveHash, store.effectiveHash)
})

test('what is accepted is acknowledged when it is in force', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/orders', 'v1')
  let inForce: Promise<void> | undefined
  await using sidecar = await startSidecar({ control, whenInForce: () => inForce })
  const status = () => control.server.sidecars.list()[0]!
  await seen(sidecar.store, 'service/shop/orders', at('v1'))
  await eventually(() => status().inSync, 'v1 is acknowledged')
  const { promise, resolve } = Promise.withResolvers<void>()
  inForce = promise
  control.resources.set('service/shop/orders', 'v2')
  await seen(sidecar.store, 'service/shop/orders', at('v2'))
  // A message that takes the same way: after the acknowledgement, were there one.
  sidecar.stream.report({ service: 'shop/orders', endpoint: '', from: 'closed', to: 'open', cause: '', at: 1 })
  await eventually(() => status().breakerTransitions.length === 1, 'the report has come')
  assert.equal(status().inSync, false)
  resolve()
  await eventually(() => status().inSync, 'v2 is acknowledged')
})

test('a field or an enum value that the sidecar does not know is a rejection, not a default', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  // Field 60 of Resource, a varint.
  const unknown = Buffer.concat([serviceBytes('service/shop/a', 'v1'), Buffer.from([0xe0, 0x03, 0x01])])
  control.resources.set('service/shop/a', 'v1', unknown)
  control.resources.set('service/shop/b', 'v1')
  await using sidecar = await startSidecar({ control })
  const { store } = sidecar
  store.watch('service/shop/a', () => assert.fail('it must not be in force'))
  await seen(store, 'service/shop/b', at('v1'))
  await store.whenSynced(10_000)
  assert.match(store.status().rejected[0]?.reason ?? '', /field \(number 60\).*upgrade the sidecar/)
})

test('a control plane that comes back: in sync within 2 s, nothing stale left, nothing lost meanwhile', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  const first = await startControl({ stateDir: folder.path })
  first.resources.set('service/shop/kept', 'v1')
  first.resources.set('service/shop/changed', 'v1')
  first.resources.set('service/shop/deleted', 'v1')
  await using sidecar = await startSidecar({ control: first })
  const { store } = sidecar
  const events: string[] = []
  for (const name of ['kept', 'changed', 'deleted']) {
    store.watch(`service/shop/${name}`, (resource) => events.push(`${name} ${resource?.version}`))
  }
  await store.whenSynced(10_000)
  events.length = 0
  const port = first.server.port
  await first.stop()
  await eventually(() => !store.status().connected, 'the loss is noticed')
  assert.equal(store.status().resources.length, 3, 'the last good policy stays')

  const resources = new TestResources()
  resources.synced = false
  await using second = await startControl({ stateDir: folder.path, port, resources })
  const since = performance.now()
  resources.set('service/shop/kept', 'v1')
  resources.set('service/shop/changed', 'v2')
  await eventually(() => second.server.sidecars.list()[0]?.connected === true, 'the sidecar is back', 2_000)
  assert.deepEqual(events, [], 'a control plane that has not read its sources says nothing')
  assert.equal(store.status().resources.length, 3)
  resources.sync()
  await eventually(() => store.status().connected, 'in sync', 2_000)
  assert.ok(performance.now() - since < 2_000)
  assert.deepEqual(events.sort(), ['changed v2', 'deleted undefined'])
})

test('a sidecar that never answers delays no other and is told the newest when it does', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/big', 'v0'.padEnd(900_000, '.'))
  await using slow = await startSidecar({ control, workload: 'own-stream' })
  await using raw = rawWatch(control.address, await slow.certificate.whenHeld())
  // It does not read at all: 900 kB are more than the flow-control window.
  raw.call.pause()
  raw.send({
    case: 'hello',
    value: create(HelloSchema, { namespace: 'shop', workload: 'slow-0', schemas: ['v1alpha1'] }),
  })
  raw.send({ case: 'subscribe', value: create(SubscribeSchema, { names: ['service/shop/big'] }) })
  await using quick = await startSidecar({ control, workload: 'quick-0' })
  await seen(quick.store, 'service/shop/big', (resource) => resource !== undefined)
  quick.store.watch('service/shop/big', () => {})
  const statusOf = (workload: string) => control.server.sidecars.list().find((sidecar) => sidecar.workload === workload)
  await eventually(() => statusOf('shop/slow-0') !== undefined, 'the slow one is known')
  for (let i = 1; i <= 40; i++) {
    const version = `v${i}`.padEnd(900_000, '.')
    const wanted = seen(quick.store, 'service/shop/big', at(version))
    const since = performance.now()
    control.resources.set('service/shop/big', version)
    await wanted
    assert.ok(performance.now() - since < 1_000, `change ${i} took too long`)
  }
  assert.equal(statusOf('shop/slow-0')?.inSync, false)
  await eventually(() => statusOf('shop/quick-0')?.inSync === true, 'the quick one has answered')
  const deltas: string[] = []
  raw.call.on('data', ({ message }: ServerMessage) => {
    if (message.case !== 'delta') return
    deltas.push(fromBinary(ResourceSchema, message.value.upserts[0]!).version.slice(0, 3))
    raw.send({ case: 'ack', value: create(AckSchema, { nonce: message.value.nonce }) })
  })
  raw.call.resume()
  await eventually(() => statusOf('shop/slow-0')?.inSync === true, 'it catches up')
  assert.deepEqual(deltas, ['v0.', 'v40'], 'the 39 versions between were never sent')
})

test('the stream moves to a new certificate without a gap', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path, certificateLifetimeMs: 3_000 })
  control.resources.set('service/shop/orders', 'v0')
  await using sidecar = await startSidecar({ control })
  const { store, certificate } = sidecar
  const connected: boolean[] = []
  const set = store.setConnected.bind(store)
  store.setConnected = (value) => {
    connected.push(value)
    set(value)
  }
  const certificates = new Set<string>()
  certificate.credentials.subscribe((held) => certificates.add(held?.certificateChainPem ?? 'none'))
  await seen(store, 'service/shop/orders', at('v0'))
  store.watch('service/shop/orders', () => {})
  let version = 0
  while (certificates.size < 5) {
    const next = `v${++version}`
    control.resources.set('service/shop/orders', next)
    await seen(store, 'service/shop/orders', at(next))
  }
  certificates.delete('none')
  assert.ok(certificates.size >= 4, 'the first and three renewals at least')
  assert.equal(connected.includes(false), false, 'never disconnected')
  await eventually(() => [...control.server.sidecars.sessions()].length === 1, 'the old streams are closed')
})

test('an outage is one line in the log, and so is what follows from it', { timeout }, async () => {
  using folder = temporaryFolder()
  const control = await startControl({ stateDir: folder.path })
  const log = new LinesLog()
  await using sidecar = await startSidecar({ control, log })
  await sidecar.store.whenSynced(10_000)
  await control.stop()
  await eventually(() => log.lines.some((line) => line.includes('nothing listens on')), 'the outage is said')
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  const outage = log.lines.filter((line) => line.startsWith('warn no stream'))
  assert.ok(outage.length <= 2, outage.join('\n'))
})

import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { AcksRequest } from '../../src/api/gen/outrigger_pb.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import { eventually, LinesLog } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { SnapshotCache } from '../snapshot/snapshot-cache.ts'
import { KubernetesSource } from '../sources/kubernetes/source.ts'
import type { PeerAnswers } from './peers.ts'
import { StatusWriter } from './writer.ts'

const controllerName = 'outrigger.dev/mesh-controller'

interface Said {
  readonly conditions?: readonly { type: string; status: string; reason: string; message: string }[]
  readonly parents?: readonly (Required<Said> & { controllerName: string })[]
}

/** Source, cache and writer against an API server of its own. */
async function start(api: FakeApi, answers: (request: AcksRequest) => PeerAnswers = nobody, isLeader = true) {
  await using running = new AsyncDisposableStack()
  const log = new LinesLog()
  const cluster = api.cluster()
  const source = new KubernetesSource({ api: cluster, server: api.url, clock: systemClock, log })
  running.adopt(source, (it) => it.stop())
  const cache = new SnapshotCache({
    trustDomain: 'cluster.local',
    trustBundle: '',
    clusterDomain: 'cluster.local',
    outboundPolicy: 'ALLOW_ANY',
  })
  await source.start()
  const publish = (): void => {
    if (source.current.blocking.length === 0) cache.setDocuments(source.current.documents)
  }
  publish()
  running.use(source.subscribe(publish))
  const leader = new Live(isLeader)
  const writer = StatusWriter.start({
    api: cluster,
    source,
    published: cache,
    sidecars: { sessions: () => [] },
    peers: { ask: (_documents, request) => Promise.resolve(answers(request)) },
    isLeader: leader,
    clock: systemClock,
    log,
  })
  running.adopt(writer, (it) => it.stop())
  const stopping = running.move()
  return { log, leader, cache, [Symbol.asyncDispose]: () => stopping.disposeAsync() }
}

function nobody(): PeerAnswers {
  return { answers: [], unasked: [] }
}

const service = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { ports: [{ port: 80 }] },
})
const parent = { group: '', kind: 'Service', name: 'orders' }
const route = (to: string, generation = 1, more: object = {}) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'r', namespace: 'shop', generation },
  spec: { parentRefs: [parent], rules: [{ backendRefs: [{ name: to, port: 80 }] }] },
  ...more,
})
const policy = (spec: object, generation = 1) => ({
  apiVersion: 'outrigger.dev/v1alpha1',
  kind: 'BackendPolicy',
  metadata: { name: 'p', namespace: 'shop', generation },
  spec: { targetRefs: [{ kind: 'Service', name: 'orders' }], ...spec },
})

const statusOf = (api: FakeApi, kind: string, name: string): Said =>
  (api.get(kind, 'shop', name)?.['status'] as Said | undefined) ?? {}
const conditionOf = (said: Said | undefined, type: string) => said?.conditions?.find((one) => one.type === type)
const ours = (api: FakeApi) =>
  statusOf(api, 'HTTPRoute', 'r').parents?.find((one) => one.controllerName === controllerName)
const short = (said: Said | undefined, type: string): string => {
  const { status = '', reason = '' } = conditionOf(said, type) ?? {}
  return `${status} ${reason}`
}
/** Writes of status so far. */
const writes = (api: FakeApi): string[] =>
  api.asked.filter(({ method, path }) => method === 'PATCH' && path.endsWith('/status')).map(({ path }) => path)

it('a route with a backend that is not there says so, and no more once it is', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.put(route('orders-v2'))
  await using _running = await start(api)
  await eventually(() => short(ours(api), 'ResolvedRefs') === 'False BackendNotFound', 'the fault is told')
  assert.equal(short(ours(api), 'Accepted'), 'True Accepted')
  api.put(service('orders-v2'))
  await eventually(() => short(ours(api), 'ResolvedRefs') === 'True ResolvedRefs', 'it is mended')
})

it('writes nothing that stands already, and nothing when it does not lead', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.put(route('orders'))
  {
    await using running = await start(api, nobody, false)
    await new Promise((resolve) => setTimeout(resolve, 600))
    assert.deepEqual(writes(api), [])
    running.leader.set(true)
    await eventually(() => short(ours(api), 'Accepted') === 'True Accepted', 'the new leader writes')
    await new Promise((resolve) => setTimeout(resolve, 600))
    assert.equal(writes(api).length, 1)
    // Its own writes change nothing that is published.
    const { revision } = running.cache
    api.put(service('other'))
    await eventually(() => running.cache.revision > revision, 'published')
    await new Promise((resolve) => setTimeout(resolve, 600))
    assert.equal(writes(api).length, 1)
  }
  await using _again = await start(api)
  await new Promise((resolve) => setTimeout(resolve, 800))
  assert.equal(writes(api).length, 1)
})

it('entries of other controllers stay, also one that comes between reading and writing', async () => {
  await using api = await FakeApi.start()
  const foreign = (name: string) => ({ parentRef: parent, controllerName: name, conditions: [] })
  api.put(service('orders'))
  api.put(route('orders', 1, { status: { parents: [foreign('x.test/a')] } }))
  let raced = false
  api.intercepts.push(({ method, path }) => {
    if (method === 'PATCH' && path.endsWith('/status') && !raced) {
      raced = true
      api.put(route('orders', 1, { status: { parents: [foreign('x.test/a'), foreign('x.test/b')] } }))
    }
    return undefined
  })
  await using running = await start(api)
  await eventually(() => short(ours(api), 'Accepted') === 'True Accepted', 'written after the conflict')
  assert.deepEqual(
    statusOf(api, 'HTTPRoute', 'r').parents!.map((one) => one.controllerName),
    ['x.test/a', 'x.test/b', controllerName],
  )
  assert.equal(writes(api).length, 2)
  assert.deepEqual(
    running.log.lines.filter((line) => line.startsWith('warn') && line.includes('cannot be written')),
    [],
  )
})

it('a policy that the API server admits and we cannot read is not accepted, and the last good one stays in force', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.put(policy({ retry: { attempts: 3 } }))
  await using running = await start(api)
  await eventually(() => short(statusOf(api, 'BackendPolicy', 'p'), 'Accepted') === 'True Accepted', 'accepted')
  const version = running.cache.get('service/shop/orders')!.version
  api.put({
    ...policy({ retry: { attempts: 3, perTryTimeout: 'soon' } }, 2),
    status: api.get('BackendPolicy', 'shop', 'p')!['status'],
  })
  await eventually(() => short(statusOf(api, 'BackendPolicy', 'p'), 'Accepted') === 'False Invalid', 'refused')
  const accepted = conditionOf(statusOf(api, 'BackendPolicy', 'p'), 'Accepted') as {
    message: string
    observedGeneration?: number
  }
  assert.match(
    accepted.message,
    /^spec\.retry\.perTryTimeout: "soon" is not a duration.*version 1 of it stays in force/,
  )
  assert.equal(accepted.observedGeneration, 2)
  assert.equal(running.cache.get('service/shop/orders')!.version, version)
})

it('the sidecars of other replicas count', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.put(policy({}))
  let acked = 1
  let rejected = 0
  const asked: AcksRequest[] = []
  await using _running = await start(api, (request) => {
    asked.push(request)
    const rejections =
      rejected === 0 ? [] : [{ workload: 'shop/web', resource: 'service/shop/orders', reason: 'too large' }]
    const one = { sidecars: 2, acked, rejected, rejections }
    return { answers: [{ policies: request.policies.map(() => one) } as never], unasked: [] }
  })
  await eventually(() => short(statusOf(api, 'BackendPolicy', 'p'), 'Programmed') === 'False Pending', 'one has it')
  assert.deepEqual(
    asked[0]!.resources.map(({ name }) => name),
    ['service/shop/orders'],
  )
  rejected = 1
  await eventually(() => short(statusOf(api, 'BackendPolicy', 'p'), 'Programmed') === 'False Rejected', 'one refuses')
  assert.match(conditionOf(statusOf(api, 'BackendPolicy', 'p'), 'Programmed')!.message, /shop\/web refused .*too large/)
  rejected = 0
  acked = 2
  await eventually(() => short(statusOf(api, 'BackendPolicy', 'p'), 'Programmed') === 'True Programmed', 'both have it')
})

it('an API server that refuses is asked again, and the log says it once', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.put(route('orders'))
  let refusals = 0
  api.intercepts.push(({ method, path }) => {
    if (method !== 'PATCH' || !path.endsWith('/status') || refusals >= 2) return undefined
    refusals++
    return { status: 403, body: { kind: 'Status', code: 403, reason: 'Forbidden', message: 'no rights' } }
  })
  await using running = await start(api)
  await eventually(() => short(ours(api), 'Accepted') === 'True Accepted', 'written at last')
  assert.equal(running.log.lines.filter((line) => line.includes('no rights')).length, 1)
})

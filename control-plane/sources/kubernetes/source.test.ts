import assert from 'node:assert/strict'
import { it } from 'node:test'
import { kindNames } from '../../../src/api/policy/kinds.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { eventually, LinesLog } from '../../../test/support/control.ts'
import { FakeApi } from '../../../test/support/fake-api.ts'
import { KubernetesSource } from './source.ts'

function open(api: FakeApi, log = new LinesLog()): KubernetesSource & AsyncDisposable {
  const source = new KubernetesSource({ api: api.cluster(), server: api.url, clock: systemClock, log })
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.stop() })
}

const service = (name: string, port = 80) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { ports: [{ port }] },
})
const policy = (name: string, spec: object, generation = 1) => ({
  apiVersion: 'outrigger.dev/v1alpha1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: 'shop', generation },
  spec,
})
const names = (source: KubernetesSource): string[] =>
  source.current.documents.map(({ kind, name }) => `${kind} ${name}`).sort()

/** What the source ever published, as sets of names. */
function published(source: KubernetesSource): string[][] {
  const seen: string[][] = []
  source.subscribe(() => seen.push(names(source)))
  return seen
}

it('publishes nothing before every kind was listed', async () => {
  await using api = await FakeApi.start()
  api.put(service('orders'))
  api.intercepts.push(({ path }) =>
    path.endsWith('/pods')
      ? { status: 403, body: { kind: 'Status', code: 403, reason: 'Forbidden', message: 'pods is forbidden' } }
      : undefined,
  )
  const log = new LinesLog()
  await using source = open(api, log)
  const seen = published(source)
  const started = source.start()
  await eventually(() => log.lines.some((line) => line.includes('pods is forbidden')), 'the refusal is told')
  assert.equal(source.synced, false)
  assert.deepEqual(source.current.documents, [])
  assert.match(source.current.problems[0]!.problem.message, /Pod objects cannot be watched.*pods is forbidden/)
  assert.equal(source.current.blocking.length, 1)
  assert.deepEqual(seen, [])
  api.intercepts.length = 0
  await started
  assert.deepEqual(names(source), ['Service orders'])
  assert.deepEqual(source.current.blocking, [])
  assert.deepEqual(source.current.problems, [])
})

it('reads a list in pages, and again in one when its pages have expired', async () => {
  await using api = await FakeApi.start()
  for (let at = 0; at < 1_200; at++) api.put(service(`s${at}`))
  await using source = open(api)
  await source.start()
  assert.equal(source.current.documents.length, 1_200)
  const pages = (from: number) =>
    api.asked
      .slice(from)
      .filter(({ path, query }) => path.endsWith('/services') && !query.has('watch'))
      .map(({ query }) => [query.get('limit'), query.has('continue')])
  assert.deepEqual(pages(0), [
    ['500', false],
    ['500', true],
    ['500', true],
  ])
  // Each second page comes too late, whatever it is of.
  api.intercepts.push(({ query }) =>
    query.has('continue') ? { status: 410, body: { kind: 'Status', code: 410, reason: 'Expired' } } : undefined,
  )
  const seen = published(source)
  const from = api.asked.length
  api.put(service('late'))
  api.expire('status')
  await eventually(() => pages(from).length === 3, 'listed again')
  await eventually(() => source.current.documents.length === 1_201, 'all are there')
  assert.deepEqual(pages(from), [
    ['500', false],
    ['500', true],
    [null, false],
  ])
  assert.ok(seen.every((set) => set.length >= 1_200))
})

for (const as of ['event', 'status'] as const) {
  it(`swaps what it holds when a version is gone (410 as ${as}), and is in sync within 5 s`, async () => {
    await using api = await FakeApi.start()
    for (const name of ['a', 'b', 'c']) api.put(service(name))
    await using source = open(api)
    await source.start()
    await eventually(() => api.watches === kindNames.length, 'every kind is watched')
    const [, b] = source.current.documents.toSorted((x, y) => (x.name < y.name ? -1 : 1))
    const seen = published(source)
    // What changes while nobody watches is found by the list.
    api.intercepts.push(({ query }) => (query.has('watch') ? { status: 503 } : undefined))
    api.cut()
    await eventually(() => api.watches === 0, 'no watch is left')
    api.delete('Service', 'shop', 'a')
    api.put(service('d'))
    api.intercepts.length = 0
    api.expire(as)
    const since = performance.now()
    await eventually(() => names(source).join() === 'Service b,Service c,Service d', 'in sync', 5_000)
    assert.ok(performance.now() - since < 5_000)
    // No state in between: neither empty nor without what stayed.
    for (const set of seen) assert.ok(set.includes('Service b') && set.includes('Service c'), set.join())
    assert.ok(source.current.documents.includes(b!), 'what did not change is the same object')
    await eventually(() => api.watches === kindNames.length, 'every kind is watched again')
  })
}

it('goes on after connections were cut, without a list and without a word', async () => {
  await using api = await FakeApi.start()
  api.put(service('a'))
  const log = new LinesLog()
  await using source = open(api, log)
  await source.start()
  await eventually(() => api.watches === kindNames.length, 'every kind is watched')
  const lists = () => api.asked.filter(({ query }) => !query.has('watch')).length
  const before = lists()
  for (let round = 0; round < 3; round++) {
    api.cut()
    await eventually(() => api.watches === 0, 'cut')
    api.put(service(`b${round}`))
    const since = performance.now()
    await eventually(() => names(source).includes(`Service b${round}`), 'in sync', 5_000)
    assert.ok(performance.now() - since < 5_000)
    await eventually(() => api.watches === kindNames.length, 'every kind is watched again')
  }
  assert.equal(lists(), before)
  assert.deepEqual(source.current.problems, [])
  assert.deepEqual(log.lines, [])
})

it('goes on from the version of a bookmark', async () => {
  await using api = await FakeApi.start()
  await using source = open(api)
  await source.start()
  await eventually(() => api.watches === kindNames.length, 'every kind is watched')
  // Another kind's changes move the version on; nothing is told to the quiet kinds but bookmarks.
  for (let at = 0; at < 5; at++) api.put(service(`s${at}`))
  api.bookmark()
  await eventually(() => names(source).length === 5, 'read')
  const from = api.asked.length
  api.cut()
  await eventually(
    () => api.asked.slice(from).filter(({ query }) => query.has('watch')).length === kindNames.length,
    'watched',
  )
  assert.deepEqual(
    [...new Set(api.asked.slice(from).map(({ query }) => query.get('resourceVersion')))],
    [String(100 + 5)],
  )
})

it('tells what cannot be watched for longer, keeps what it has, and takes the word back', async () => {
  await using api = await FakeApi.start()
  api.put(service('a'))
  await using source = open(api)
  await source.start()
  await eventually(() => api.watches === kindNames.length, 'every kind is watched')
  const forbidden = { kind: 'Status', code: 403, reason: 'Forbidden', message: 'services is forbidden' }
  api.intercepts.push(({ path }) => (path.endsWith('/services') ? { status: 403, body: forbidden } : undefined))
  api.cut()
  await eventually(() => source.current.problems.length === 1, 'told')
  assert.match(source.current.problems[0]!.problem.message, /Service objects cannot be watched.*services is forbidden/)
  assert.deepEqual(names(source), ['Service a'])
  api.intercepts.length = 0
  api.put(service('b'))
  await eventually(() => names(source).length === 2, 'in sync again')
  await eventually(() => source.current.problems.length === 0, 'the problem is over')
})

it('an object that is changed into something invalid stays in force as it was', async () => {
  await using api = await FakeApi.start()
  api.put(policy('guard', { action: 'DENY', rules: [{}] }))
  await using source = open(api)
  await source.start()
  const [good] = source.current.documents
  assert.equal(good?.version, '1')
  api.put(policy('guard', { action: 'MAYBE', rules: [{}] }, 2))
  await eventually(() => source.current.problems.length > 0, 'the problem is told')
  const { problem } = source.current.problems[0]!
  assert.equal(problem.file, 'cluster:AuthorizationPolicy/shop/guard')
  assert.equal(problem.path, 'spec.action')
  assert.match(problem.message, /version 1 of it stays in force/)
  assert.deepEqual(source.current.documents, [good])
  assert.deepEqual(source.current.blocking, [], 'nothing is held up: the mesh is protected')
  // Neither a cut nor a relist makes it forget.
  api.expire('status')
  api.put(service('x'))
  await eventually(() => names(source).length === 2, 'read again')
  assert.ok(source.current.documents.includes(good!))
  // A name that is deleted and made again is another object.
  api.delete('AuthorizationPolicy', 'shop', 'guard')
  await eventually(() => names(source).length === 1, 'gone')
  api.put(policy('guard', { action: 'MAYBE' }, 1))
  await eventually(() => source.current.problems.length > 0, 'told again')
  assert.deepEqual(names(source), ['Service x'])
  assert.match(source.current.problems[0]!.problem.message, /it is not in force/)
  api.put(policy('guard', { action: 'ALLOW', rules: [{}] }, 2))
  await eventually(() => names(source).length === 2 && source.current.problems.length === 0, 'in order')
})

it('publishes nothing at the start while something that protects cannot be read', async () => {
  await using api = await FakeApi.start()
  api.put(policy('guard', { action: 'MAYBE' }))
  api.put(service('a'))
  const log = new LinesLog()
  await using source = open(api, log)
  await source.start()
  assert.equal(source.current.blocking.length, 1)
  assert.match(log.lines.join('\n'), /AuthorizationPolicy\/shop\/guard.*nothing is published before this is in order/)
  api.put(policy('guard', { action: 'DENY', rules: [{}] }, 2))
  await eventually(() => source.current.blocking.length === 0, 'released')
})

it('lives without CRDs, sees them come, and believes that they are gone when it is told twice', async () => {
  await using api = await FakeApi.start()
  const ours = [
    'HTTPRoute',
    'GRPCRoute',
    'BackendPolicy',
    'FaultInjection',
    'PeerAuthentication',
    'AuthorizationPolicy',
    'TelemetryPolicy',
  ]
  for (const kind of ours) api.absent.add(kind)
  api.put(service('a'))
  const log = new LinesLog()
  await using source = open(api, log)
  await source.start()
  assert.deepEqual(names(source), ['Service a'])
  assert.match(log.lines[0]!, /does not know HTTPRoute, GRPCRoute, BackendPolicy.*not installed/)
  assert.deepEqual(
    [...source.watches()].filter(({ state }) => state === 'absent').map(({ kind }) => kind),
    ours,
  )
  api.put(policy('guard', { action: 'DENY', rules: [{}] }))
  api.absent.clear()
  await eventually(() => names(source).length === 2, 'the new kind is read')
  const from = api.asked.length
  api.absent.add('AuthorizationPolicy')
  api.cut()
  const asked = () => api.asked.slice(from).filter(({ path }) => path.endsWith('/authorizationpolicies')).length
  await eventually(() => asked() > 0, 'asked once')
  assert.equal(names(source).length, 2, 'one 404 takes nothing away that protects')
  await eventually(() => names(source).length === 1, 'gone', 15_000)
  assert.ok(asked() >= 2)
})

it('what only a status changes is no change', async () => {
  await using api = await FakeApi.start()
  const pod = (phase: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-0', namespace: 'shop', labels: { app: 'web' }, annotations: { 'other/x': phase } },
    spec: { serviceAccountName: 'web', containers: [{ name: 'app', image: 'x', ports: [{ containerPort: 8080 }] }] },
    status: { phase },
  })
  api.put(pod('Pending'))
  await using source = open(api)
  await source.start()
  const before = source.current
  api.put(pod('Running'))
  api.put(service('marker'))
  await eventually(() => names(source).length === 2, 'read on')
  assert.ok(source.current.documents.includes(before.documents[0]!))
  assert.deepEqual(before.documents[0]!.value, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'web-0',
      namespace: 'shop',
      labels: { app: 'web', 'outrigger.dev/inject': 'false' },
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { serviceAccountName: 'web', containers: [{ name: 'app', ports: [{ containerPort: 8080 }] }] },
  })
})

for (const kind of ['HTTPRoute', 'GRPCRoute']) {
  it(`of a ${kind} for Gateways alone only the parents are read, of one with a Service all`, async () => {
    const route = (name: string, parents: object[]) => ({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind,
      metadata: { name, namespace: 'shop' },
      spec: {
        parentRefs: parents,
        rules: [{ filters: [{ type: 'OfNextYear', ofNextYear: {} }], sessionPersistence: { type: 'Cookie' } }],
      },
    })
    const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' }
    await using api = await FakeApi.start()
    api.put(route('edge', [gateway]))
    api.put(route('both', [gateway, { group: '', kind: 'Service', name: 'orders' }]))
    await using source = open(api)
    await source.start()
    assert.deepEqual(names(source), [`${kind} edge`])
    const told = source.current.problems.map(({ problem: { file, path, code } }) => `${file} ${path} ${code}`)
    assert.ok(told.includes(`cluster:${kind}/shop/both spec.rules[0].filters[0].type wrong-value`), told.join('\n'))
    assert.ok(
      told.every((line) => line.startsWith(`cluster:${kind}/shop/both `)),
      told.join('\n'),
    )
  })
}

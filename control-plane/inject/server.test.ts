import assert from 'node:assert/strict'
import { request } from 'node:https'
import { it } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { eventually, LinesLog, temporaryFolder } from '../../test/support/control.ts'
import { applyPatch, FakeApi, type PatchStep } from '../../test/support/fake-api.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { patchCaBundle, readNamespaceLabels } from '../cluster-stores.ts'
import { parseControlPlaneConfig } from '../config.ts'
import { Authority } from '../identity/authority.ts'
import { ServerCertificate } from '../identity/server-certificate.ts'
import { Events } from '../kubernetes/events.ts'
import { CaBundle } from './ca-bundle.ts'
import { Injector } from './server.ts'

interface Answer {
  readonly status: number
  readonly body: {
    readonly message?: string
    readonly response?: {
      readonly uid: string
      readonly allowed: boolean
      readonly patch?: string
      readonly patchType?: string
      readonly warnings?: readonly string[]
      readonly status?: { readonly code: number; readonly message: string }
    }
  }
}

async function start(api: FakeApi) {
  const running = new AsyncDisposableStack()
  const folder = running.use(temporaryFolder())
  const state = running.use(StateFolder.open(folder.path))
  const clock = new FakeClock()
  const settings = { clock: systemClock, trustDomain: 'cluster.local', certificateLifetimeMs: 3_600_000 }
  const authority = await Authority.open({ ...settings, state })
  const log = new LinesLog()
  const certificate = running.adopt(
    await ServerCertificate.start(authority, systemClock, log, ['outrigger.outrigger-system.svc']),
    (it) => it.stop(),
  )
  const known = new Map<string, Readonly<Record<string, string>>>()
  const cluster = api.cluster()
  const injector = running.adopt(
    await Injector.start({
      log,
      host: '127.0.0.1',
      port: 0,
      certificate,
      template: {
        config: parseControlPlaneConfig('injector: {image: "outrigger:1"}', 'config'),
        systemNamespace: 'outrigger-system',
      },
      namespaceLabels: (name) => known.get(name),
      readNamespaceLabels: (name) => readNamespaceLabels(cluster, name),
      events: new Events({ api: cluster, replica: 'outrigger-0', clock, log }),
    }),
    (it) => it.stop(),
  )
  /** As the API server calls it: by the name of its Service, trusting the caBundle. */
  const call = (body: string, path = '/inject?timeout=10s', method = 'POST'): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: injector.port,
          servername: 'outrigger.outrigger-system.svc',
          ca: authority.trustBundlePem,
          agent: false,
          path,
          method,
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer['body'],
            }),
          )
        },
      )
      sent.on('error', reject)
      sent.end(body)
    })
  const review = (pod: object, more: object = {}): Promise<Answer> =>
    call(
      JSON.stringify({
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        request: { uid: 'u-1', namespace: 'shop', operation: 'CREATE', object: pod, ...more },
      }),
    )
  return { injector, log, known, clock, call, review, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

const pod = (spec: object = {}, metadata: object = {}) => ({
  metadata: { generateName: 'web-', ...metadata },
  spec: { containers: [{ name: 'app', image: 'web:1' }], ...spec },
})

it('answers an AdmissionReview with a patch', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  const given = pod()
  const { status, body } = await it.review(given)
  assert.equal(status, 200)
  assert.deepEqual([body.response?.uid, body.response?.allowed, body.response?.patchType], ['u-1', true, 'JSONPatch'])
  const patch = JSON.parse(Buffer.from(body.response!.patch!, 'base64').toString('utf8')) as PatchStep[]
  assert.deepEqual(
    patch.map(({ op, path }) => `${op} ${path}`),
    ['add /metadata/annotations', 'add /spec/containers/0/lifecycle', 'add /spec/initContainers', 'add /spec/volumes'],
  )
  assert.equal(applyPatch(given, patch), undefined)
  // Called again, by reinvocation: nothing more.
  const again = await it.review(given)
  assert.deepEqual(again.body.response, { uid: 'u-1', allowed: true })
  assert.deepEqual(
    [...it.injector.outcomes],
    [
      ['injected', 1],
      ['skip/injected', 1],
    ],
  )
  assert.deepEqual(api.all('Event'), [])
})

it('refuses what cannot be meshed, and tells it on the owner, once', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-7d4', uid: 'u-9', controller: true }
  const bad = pod({ securityContext: { runAsUser: 1337 } }, { ownerReferences: [owner] })
  const { body } = await it.review(bad)
  assert.equal(body.response?.allowed, false)
  assert.equal(body.response?.status?.code, 403)
  assert.match(body.response?.status?.message ?? '', /^outrigger: the Pod runs as user or group 1337/)
  await eventually(() => api.all('Event').length === 1, 'the event')
  const [event] = api.all('Event')
  const { metadata, regarding, ...rest } = event!
  assert.deepEqual(regarding, {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    namespace: 'shop',
    name: 'web-7d4',
    uid: 'u-9',
  })
  assert.match(metadata?.name ?? '', /^web-7d4\.[0-9a-f]{16}$/)
  assert.deepEqual(
    [rest['type'], rest['reason'], rest['action'], rest['reportingInstance']],
    ['Warning', 'InjectionRefused', 'Inject', 'outrigger-0'],
  )
  assert.match(String(rest['note']), /^the Pod was refused: the Pod runs as user/)
  assert.match(String(rest['eventTime']), /^2026-01-01T00:00:01\.000000Z$/)
  // A ReplicaSet tries for ever.
  for (let at = 0; at < 5; at++) await it.review(bad)
  await it.clock.advance(9 * 60_000)
  await it.review(bad)
  assert.equal(api.all('Event').length, 1)
  await it.clock.advance(2 * 60_000)
  await it.review(bad)
  await eventually(() => api.all('Event').length === 2, 'told again')
})

it('says why a Pod was left alone that nobody asked to leave alone; a dry run tells nothing', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  await it.review(pod({ hostNetwork: true }), { dryRun: true })
  const { body } = await it.review(pod({ hostNetwork: true }, { name: 'agent' }))
  assert.equal(body.response?.allowed, true)
  assert.deepEqual(body.response?.warnings, ['outrigger: not injected: it uses the network of its node (hostNetwork)'])
  await eventually(() => api.all('Event').length === 1, 'the event')
  assert.deepEqual(api.all('Event')[0]!['regarding'], {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: 'shop',
    name: 'agent',
  })
  await it.review(pod({}, { labels: { 'outrigger.dev/inject': 'false' } }))
  assert.deepEqual(
    [...it.injector.outcomes],
    [
      ['skip/host-network', 1],
      ['skip/pod-label', 1],
    ],
  )
  assert.equal(api.all('Event').length, 1)
})

it('what events cost is bounded, and a failure is told once', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  api.intercepts.push(({ path }) =>
    path.endsWith('/events') ? { status: 403, body: { message: 'events is forbidden' } } : undefined,
  )
  for (let at = 0; at < 60; at++) await it.review(pod({ hostNetwork: true }, { name: `agent-${at}` }))
  const asked = () => api.asked.filter(({ path }) => path.endsWith('/events')).length
  await eventually(() => asked() === 25, 'a burst')
  await eventually(() => it.log.lines.some((line) => line.includes('events is forbidden')), 'told')
  assert.equal(it.log.lines.filter((line) => line.includes('an event could not be written')).length, 1)
})

it('a Namespace that was labelled a moment ago is seen', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  // What is known here is older than what the API server's selector saw.
  it.known.set('shop', {})
  api.put({ kind: 'Namespace', metadata: { name: 'shop', labels: { 'outrigger.dev/inject': 'enabled' } } })
  const { body } = await it.review(pod())
  assert.ok(body.response?.patch !== undefined)
  api.put({ kind: 'Namespace', metadata: { name: 'shop', labels: {} } })
  const second = await it.review(pod())
  assert.equal(second.body.response?.patch, undefined)
  assert.deepEqual([...it.injector.outcomes.keys()], ['injected', 'skip/no-label'])
})

it('says what is wrong with a request that is no review', async () => {
  await using api = await FakeApi.start()
  await using it = await start(api)
  const wrong: [string, string, string, number, RegExp][] = [
    ['{', '/inject', 'POST', 400, /not JSON/],
    ['null', '/inject', 'POST', 400, /expected an AdmissionReview/],
    ['{}', '/inject', 'POST', 400, /expected an AdmissionReview/],
    [
      '{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"x"}}',
      '/inject',
      'POST',
      400,
      /v1 with/,
    ],
    ['', '/inject', 'GET', 405, /POST only/],
    ['', '/mutate', 'POST', 404, /there is: \/inject \/healthz/],
    ['x'.repeat(5 * 1_048_576), '/inject', 'POST', 413, /more than/],
  ]
  for (const [body, path, method, status, says] of wrong) {
    const answer = await it.call(body, path, method).catch(() => ({ status: 413, body: { message: 'more than' } }))
    assert.equal(answer.status, status, path)
    assert.match(answer.body.message ?? '', says)
  }
  const odd = await it.review({ kind: 'Node' })
  assert.deepEqual(odd.body.response?.warnings, ['outrigger: not a Pod: nothing was injected'])
  assert.equal((await it.call('', '/healthz', 'GET')).status, 200)
})

it('no replica is ready before the API server trusts the webhook, which would refuse Pods until then', async () => {
  await using api = await FakeApi.start()
  const clock = new FakeClock()
  const cluster = api.cluster()
  const isLeader = new Live(false)
  using bundle = new CaBundle(cluster, () => 'PEM', isLeader, clock, new LinesLog())
  const looked = async (): Promise<void> => {
    const before = api.asked.length
    await clock.advance(500)
    await eventually(() => api.asked.length > before, 'looked')
    await settle()
  }
  assert.match(bundle.unready() ?? '', /outrigger-injector has not its caBundle/)
  const wrong = { name: 'a', clientConfig: { caBundle: 'b3RoZXI=' } }
  api.put({ kind: 'MutatingWebhookConfiguration', metadata: { name: 'outrigger-injector' }, webhooks: [wrong] })
  await looked()
  assert.notEqual(bundle.unready(), undefined, 'another one leads, and has not been here yet')
  assert.equal(
    api.asked.some(({ method }) => method === 'PATCH'),
    false,
    'who does not lead only looks',
  )
  const right = { name: 'a', clientConfig: { caBundle: Buffer.from('PEM').toString('base64') } }
  api.put({ kind: 'MutatingWebhookConfiguration', metadata: { name: 'outrigger-injector' }, webhooks: [right] })
  await eventually(() => {
    void clock.advance(500)
    return bundle.unready() === undefined
  }, 'ready')
  // Nobody has a webhook: nobody waits for it for long.
  using none = new CaBundle(cluster, () => 'PEM2', new Live(false), clock, new LinesLog())
  await clock.advance(29_000)
  assert.notEqual(none.unready(), undefined)
  await clock.advance(2_000)
  assert.equal(none.unready(), undefined, 'sidecars are served whatever is wrong with the webhook')
})

it("the Lease holder keeps the webhook's caBundle, and patches only what it has read", async () => {
  await using api = await FakeApi.start()
  const name = 'outrigger-injector'
  const webhooks = (bundle?: string) =>
    ['a', 'b'].map((one) => ({ name: one, clientConfig: bundle === undefined ? {} : { caBundle: bundle } }))
  const current = (): unknown =>
    (api.get('MutatingWebhookConfiguration', '', name)?.['webhooks'] as { clientConfig: object }[] | undefined)?.map(
      ({ clientConfig }) => clientConfig,
    )
  const cluster = api.cluster()
  assert.equal(await patchCaBundle(cluster, name, 'PEM'), 'absent')
  const log = new LinesLog()
  const clock = new FakeClock()
  let root = 'PEM'
  const isLeader = new Live(false)
  using bundle = new CaBundle(cluster, () => root, isLeader, clock, log)
  isLeader.set(true)
  await eventually(() => log.lines.length > 0, 'told')
  assert.match(log.lines[0]!, /there is no outrigger-injector: no injection/)
  api.put({ kind: 'MutatingWebhookConfiguration', metadata: { name }, webhooks: webhooks() })
  await clock.advance(5_000)
  const wanted = (text: string) => [0, 1].map(() => ({ caBundle: Buffer.from(text).toString('base64') }))
  await eventually(() => JSON.stringify(current()) === JSON.stringify(wanted('PEM')), 'patched')
  root = 'PEM2'
  bundle.look()
  await eventually(() => JSON.stringify(current()) === JSON.stringify(wanted('PEM2')), 'follows the roots')
  const patches = api.asked.filter(({ method }) => method === 'PATCH').length
  await clock.advance(5_000)
  await eventually(() => api.asked.at(-1)?.method === 'GET', 'looked')
  assert.equal(api.asked.filter(({ method }) => method === 'PATCH').length, patches)
  // Somebody replaced it between reading and writing: the patch does not fit any more.
  api.put({ kind: 'MutatingWebhookConfiguration', metadata: { name }, webhooks: webhooks() })
  api.intercepts.push(({ method }) => {
    if (method !== 'PATCH') return undefined
    api.intercepts.length = 0
    api.put({ kind: 'MutatingWebhookConfiguration', metadata: { name }, webhooks: webhooks().toReversed() })
    return undefined
  })
  await assert.rejects(patchCaBundle(cluster, name, 'PEM3'), /the patch does not fit/)
  assert.deepEqual(current(), [{}, {}])
})

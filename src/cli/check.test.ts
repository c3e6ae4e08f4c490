import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Authority } from '../../control-plane/identity/authority.ts'
import { ServerCertificate } from '../../control-plane/identity/server-certificate.ts'
import type { ApiObject } from '../../control-plane/kubernetes/cluster.ts'
import { CliCluster, controlPlaneObjects, pod, replicaStatus, sidecar } from '../../test/support/cli-cluster.ts'
import { temporaryFolder } from '../../test/support/control.ts'
import { type KindTraits, kinds } from '../api/policy/kinds.ts'
import { systemClock } from '../base/clock.ts'
import { silentLog } from '../base/log.ts'
import { StateFolder } from '../base/state-folder.ts'
import { judgePod } from './check/inject.ts'
import { matches } from './check/webhook.ts'

/** What a fake has no objects for: the version, and who may do what. */
function answerServer(
  cluster: CliCluster,
  facts: { denied: string[]; minor: string } = { denied: [], minor: '33' },
): void {
  cluster.api.intercepts.push(({ path, body }) => {
    if (path === '/version')
      return { status: 200, body: { major: '1', minor: facts.minor, gitVersion: `v1.${facts.minor}.0` } }
    if (!path.endsWith('/selfsubjectaccessreviews')) return undefined
    const { spec } = JSON.parse(body) as { spec: { resourceAttributes: { resource: string } } }
    return { status: 201, body: { status: { allowed: !facts.denied.includes(spec.resourceAttributes.resource) } } }
  })
}

const gateway: ApiObject = {
  kind: 'CustomResourceDefinition',
  metadata: {
    name: 'httproutes.gateway.networking.k8s.io',
    annotations: {
      'gateway.networking.k8s.io/bundle-version': 'v1.6.3',
      'gateway.networking.k8s.io/channel': 'experimental',
    },
  },
  spec: { versions: [{ name: 'v1', served: true }] },
}

const grpcRoutes: ApiObject = {
  ...gateway,
  metadata: { ...gateway.metadata, name: 'grpcroutes.gateway.networking.k8s.io' },
}

const ours: ApiObject[] = Object.values<KindTraits>(kinds)
  .filter(({ apiVersion }) => apiVersion.startsWith('outrigger.dev/'))
  .map(({ plural }) => ({
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.outrigger.dev` },
    spec: { versions: [{ name: 'v1alpha1', served: true }] },
  }))

const selectors = {
  namespaceSelector: { matchExpressions: [{ key: 'outrigger.dev/inject', operator: 'In', values: ['enabled'] }] },
  objectSelector: { matchExpressions: [{ key: 'outrigger.dev/inject', operator: 'NotIn', values: ['false'] }] },
}

function webhook(caBundle: string, failurePolicy = 'Fail'): ApiObject {
  const clientConfig = { caBundle: Buffer.from(caBundle).toString('base64') }
  return {
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'outrigger-injector' },
    webhooks: [{ name: 'namespace.injector.outrigger.dev', clientConfig, failurePolicy, ...selectors }],
  }
}

function namespace(name: string, inject?: string): ApiObject {
  return {
    kind: 'Namespace',
    metadata: { name, labels: inject === undefined ? {} : { 'outrigger.dev/inject': inject } },
  }
}

function root(name: string, pem: string): ApiObject {
  return { kind: 'ConfigMap', metadata: { namespace: name, name: 'outrigger-root' }, data: { 'root.pem': pem } }
}

async function authority(): Promise<Authority> {
  const { path } = temporaryFolder()
  after(() => rmSync(path, { recursive: true, force: true }))
  const state = StateFolder.open(path)
  after(() => state.close())
  return Authority.open({ state, clock: systemClock, trustDomain: 'cluster.local', certificateLifetimeMs: 3_600_000 })
}

test('--pre: what an install needs', async () => {
  await using cluster = await CliCluster.start(gateway, grpcRoutes)
  answerServer(cluster)
  const { status, stdout, stderr } = await cluster.run('check', '--pre')
  assert.equal(status, 0, stderr)
  assert.match(stdout, /ok +version v1\.33\.0/)
  assert.match(stdout, /ok +this user may install the mesh/)
  assert.match(stdout, /ok +Gateway API v1\.6\.3, experimental channel/)
  assert.match(stdout, /\n4 ok\n$/)
})

test('--pre: old Kubernetes, missing rights, no Gateway API: each with its remedy', async () => {
  await using cluster = await CliCluster.start()
  const facts = { denied: ['clusterroles'], minor: '28' }
  answerServer(cluster, facts)
  const old = await cluster.run('check', '--pre', '-o', 'json')
  assert.equal(old.status, 1)
  assert.match(old.stdout, /"version v1\.28\.0 is too old"/)
  facts.minor = '30+'
  const { status, stdout } = await cluster.run('check', '--pre')
  assert.equal(status, 1)
  assert.match(
    stdout,
    /failed +this user may not install the mesh: create clusterroles\n +install as a cluster administrator/,
  )
  assert.match(stdout, /warning +Gateway API is not installed/)
})

test('--pre: Gateway API without GRPCRoute, or with one of another version', async () => {
  const old = {
    ...grpcRoutes,
    spec: {
      versions: [
        { name: 'v1alpha2', served: true },
        { name: 'v1', served: false },
      ],
    },
  }
  for (const [more, line] of [
    [[], /warning +Gateway API is installed without GRPCRoute\n +install the CRDs of Gateway API/],
    [[old], /failed +GRPCRoute is not served as gateway\.networking\.k8s\.io\/v1/],
  ] as const) {
    await using cluster = await CliCluster.start(gateway, ...more)
    answerServer(cluster)
    assert.match((await cluster.run('check', '--pre')).stdout, line)
  }
})

test('a mesh in order, with the certificate that the webhook really shows', async () => {
  const ca = await authority()
  const certificate = await ServerCertificate.start(ca, systemClock, silentLog, ['outrigger.outrigger-system.svc'])
  const tls = createServer({ key: certificate.current.current.key, cert: certificate.current.current.cert })
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve))
  const mark = { annotations: { 'outrigger.dev/status': '{}' } }
  const running = { phase: 'Running', initContainerStatuses: [{ name: 'outrigger-proxy', ready: true }] }
  const spec = { initContainers: [{ name: 'outrigger-proxy' }], containers: [{ name: 'app' }] }
  await using cluster = await CliCluster.start(
    gateway,
    grpcRoutes,
    ...ours,
    ...controlPlaneObjects('cp-a'),
    webhook(ca.trustBundlePem),
    namespace('shop', 'enabled'),
    root('shop', ca.trustBundlePem),
    pod('shop', 'web-1', { metadata: mark, spec, status: running }),
  )
  answerServer(cluster)
  cluster.map('outrigger-system', 'cp-a', 15_017, (tls.address() as AddressInfo).port)
  await cluster.serve('outrigger-system', 'cp-a', 15_014, {
    '/status': replicaStatus({ sidecars: [sidecar('shop/web-1')] }),
  })
  const { status, stdout, stderr } = await cluster.run('check')
  assert.equal(status, 0, stdout + stderr)
  assert.doesNotMatch(stdout, /warning|failed|skipped/)
  for (const line of [
    'all 5 of outrigger.dev are served',
    '1 of 1 replicas are ready',
    'cp-a leads',
    'caBundle is that of the certificate which cp-a shows',
    'the root is in all 1 namespaces of the mesh',
    'every Pod that should have a sidecar has one: 1',
    '1 sidecars are connected and in sync',
  ])
    assert.ok(stdout.includes(line), `${line}\n${stdout}`)

  // Another authority's root: what the API server trusts is not what the webhook shows.
  cluster.api.put(webhook((await authority()).trustBundlePem))
  const other = await cluster.run('check')
  assert.equal(other.status, 1)
  assert.match(
    other.stdout,
    /failed +the certificate of cp-a is not the one that namespace\.injector\.outrigger\.dev trusts: /,
  )
  certificate.stop()
  tls.close()
})

test('a mesh that is not in order: every fault is told, with its remedy', async () => {
  const mark = { annotations: { 'outrigger.dev/status': '{"hash":"0123456789ab"}' } }
  const broken = {
    initContainerStatuses: [{ name: 'outrigger-proxy', state: { waiting: { reason: 'CrashLoopBackOff' } } }],
  }
  const spec = { initContainers: [{ name: 'outrigger-proxy' }], containers: [{ name: 'app' }] }
  const objects = controlPlaneObjects('cp-a').filter(({ kind }) => kind !== 'Lease')
  const config = { 'config.yaml': 'injector: {image: outrigger}\n' }
  await using cluster = await CliCluster.start(
    ...ours.slice(1),
    ...objects,
    webhook(''),
    namespace('shop', 'enabled'),
    namespace('bank', 'enabled'),
    { kind: 'ConfigMap', metadata: { namespace: 'outrigger-system', name: 'outrigger-config' }, data: config },
    root('shop', 'PEM'),
    pod('shop', 'web-1', { metadata: mark, spec, status: broken }),
    pod('bank', 'old-1'),
    // Left alone on purpose: none of these is a fault.
    pod('bank', 'host-1', { spec: { hostNetwork: true, containers: [] } }),
    pod('bank', 'no-1', { metadata: { labels: { 'outrigger.dev/inject': 'false' } } }),
    pod('bank', 'done-1', { status: { phase: 'Succeeded' } }),
  )
  answerServer(cluster)
  await cluster.serve('outrigger-system', 'cp-a', 15_014, {
    '/status': replicaStatus({
      program: 'outrigger 0.0.9',
      synced: false,
      blocked: ['policies.yaml:3:1: error: no'],
      rootExpiresAt: Date.now() + 86_400_000,
      certificateRefusals: { 'wrong audience': 3 },
      sidecars: [
        sidecar('shop/web-1', {
          inSync: false,
          program: 'outrigger 0.0.8',
          certificateExpiresAt: Date.now() + 60_000,
          rejected: [{ resource: 'service/shop/x', version: '1', reason: 'no' }],
        }),
      ],
    }),
  })
  const { status, stdout } = await cluster.run('check')
  assert.equal(status, 1)
  for (const line of [
    /warning +Gateway API is not installed/,
    /failed +not installed: \w+\.outrigger\.dev\n +'outrigger install' brings/,
    /warning +it is outrigger 0\.0\.9, this program is/,
    /failed +nobody leads/,
    /failed +nothing is published by cp-a: policies\.yaml:3:1/,
    /failed +namespace\.injector\.outrigger\.dev: no caBundle/,
    /failed +no ConfigMap outrigger-root in: bank/,
    /warning +the root ends in 24h/,
    /failed +certificates that end within an hour: shop\/web-1/,
    /warning +certificates were refused: 3 wrong audience/,
    /warning +without a sidecar in a namespace of the mesh: bank\/old-1\n/,
    /failed +sidecars that do not run: shop\/web-1 \(waits: CrashLoopBackOff\)/,
    /warning +not in sync yet: shop\/web-1/,
    /failed +refuse something: shop\/web-1/,
    /warning +sidecars of another version than .*: shop\/web-1 \(outrigger 0\.0\.8\)/,
    /warning +injected with other settings than those of now: shop\/web-1/,
  ])
    assert.match(stdout, line)
})

test('no control plane, and nobody there at all: said, exit code 1, no stack', async () => {
  const cluster = await CliCluster.start(gateway, grpcRoutes)
  answerServer(cluster)
  const none = await cluster.run('check')
  assert.equal(none.status, 1)
  assert.match(none.stdout, /failed +there is no Deployment outrigger in namespace outrigger-system/)
  await cluster.api[Symbol.asyncDispose]()
  const down = await cluster.run('check')
  assert.equal(down.status, 1)
  assert.match(down.stdout, /failed +the API server .* cannot be reached[\s\S]*\n1 failed\n$/)
  assert.equal(down.stderr, '')
})

test('selectors match as the API server has it', () => {
  const selector = {
    matchExpressions: [
      { key: 'a', operator: 'NotIn', values: ['x'] },
      { key: 'b', operator: 'Exists' },
    ],
  }
  assert.equal(matches(selector, { b: '' }), true)
  assert.equal(matches(selector, { a: 'x', b: '' }), false)
  assert.equal(matches(selector, {}), false)
  assert.equal(matches({ matchLabels: { a: '1' } }, { a: '1' }), true)
  assert.equal(matches({ matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }, { a: '1' }), false)
  assert.equal(matches(undefined, {}), true)
})

test('check inject: each reason that a Pod has none', async () => {
  const ca = await authority()
  const labelled = {
    kind: 'Namespace',
    metadata: {
      name: 'late',
      labels: { 'outrigger.dev/inject': 'enabled' },
      managedFields: [
        { time: '2026-06-01T00:00:00Z', fieldsV1: { 'f:metadata': { 'f:labels': { 'f:outrigger.dev/inject': {} } } } },
      ],
    },
  } as ApiObject
  const owner = { ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-7c9d8', uid: '1' }] }
  const uid1337 = { securityContext: { runAsUser: 1337 }, containers: [{ name: 'app' }] }
  await using cluster = await CliCluster.start(
    ...controlPlaneObjects('cp-a'),
    webhook(ca.trustBundlePem),
    namespace('plain'),
    namespace('off', 'disabled'),
    namespace('shop', 'enabled'),
    labelled,
    pod('plain', 'a'),
    pod('off', 'a'),
    pod('shop', 'no', { metadata: { labels: { 'outrigger.dev/inject': 'false' } } }),
    pod('shop', 'maybe', { metadata: { labels: { 'outrigger.dev/inject': 'yes' } } }),
    pod('shop', 'host', { spec: { hostNetwork: true, containers: [{ name: 'app' }] } }),
    pod('shop', 'uid', { spec: uid1337 }),
    pod('shop', 'wrong', { metadata: { annotations: { 'proxy.outrigger.dev/cpu': 'lots' } } }),
    pod('shop', 'copied', { metadata: { annotations: { 'outrigger.dev/status': '{}' } } }),
    pod('late', 'web-7c9d8-x', { metadata: { ...owner, creationTimestamp: '2026-05-01T00:00:00Z' } }),
    pod('kube-system', 'dns'),
  )
  const opened = {
    cluster: cluster.api.cluster(),
    name: 'fake',
    namespace: 'shop',
    systemNamespace: 'outrigger-system',
  }
  for (const [word, expected, reason] of [
    [
      'plain/a',
      'no sidecar',
      /neither it nor the Namespace plain has the label[\s\S]*remedy: kubectl label namespace plain/,
    ],
    ['off/a', 'no sidecar', /label .* is "disabled", not "enabled"/],
    ['shop/no', 'no sidecar', /its label outrigger\.dev\/inject is "false"/],
    ['shop/maybe', 'refused', /is "yes": expected "true" or "false"/],
    ['shop/host', 'no sidecar', /hostNetwork/],
    ['shop/uid', 'refused', /runs as user or group 1337/],
    ['shop/wrong', 'refused', /annotation proxy\.outrigger\.dev\/cpu: "lots"/],
    ['shop/copied', 'no sidecar', /the annotation was copied from another Pod/],
    [
      'late/web-7c9d8-x',
      'no sidecar',
      /older \(2026-05-01T00:00:00Z\) than its Namespace's label[\s\S]*remedy: kubectl -n late rollout restart deployment\/web$/,
    ],
    ['kube-system/dns', 'no sidecar', /Pods of kube-system are never meshed/],
  ] as const) {
    const [verdict] = await judgePod(opened, word)
    assert.equal(verdict?.injected, false, word)
    assert.equal(verdict.refused, expected === 'refused', word)
    assert.match([...verdict.reasons, `remedy: ${verdict.remedy ?? ''}`].join('\n'), reason)
  }
  const one = await cluster.run('check', 'inject', 'shop/uid')
  assert.equal(one.status, 1)
  assert.match(
    one.stdout,
    /^Pod shop\/uid: refused\n {2}the Pod runs as user or group 1337, .*\n {2}remedy: choose another runAsUser/,
  )

  const file = join(cluster.folder, 'web.yaml')
  writeFileSync(file, 'kind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: a}]}}}\n')
  const would = await cluster.run('check', 'inject', file, '-n', 'shop')
  assert.deepEqual([would.status, would.stdout.split('\n')[0]], [0, 'Deployment shop/web: sidecar'])
  cluster.api.delete('Pod', 'outrigger-system', 'cp-a')
  const down = await cluster.run('check', 'inject', file, '-n', 'shop')
  assert.equal(down.status, 1)
  assert.match(down.stdout, /no replica of the control plane is ready in outrigger-system \(failurePolicy Fail: no Pod/)
  cluster.api.delete('MutatingWebhookConfiguration', '', 'outrigger-injector')
  const gone = await cluster.run('check', 'inject', file, '-n', 'shop', '-o', 'json')
  const [verdict] = JSON.parse(gone.stdout) as { reasons: string[] }[]
  assert.match(verdict?.reasons.join() ?? '', /there is no MutatingWebhookConfiguration/)
})

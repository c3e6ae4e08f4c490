/** Replicas of a control plane on one API server, with the identity and policy half of sidecars. */
import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { it } from 'node:test'
import { SignJWT } from 'jose'
import { type ClusterControlPlane, runClusterControlPlane } from '../../control-plane/cluster-control-plane.ts'
import { parseControlPlaneConfig } from '../../control-plane/config.ts'
import { certificatesOf } from '../../control-plane/identity/signer.ts'
import type { Resource } from '../../src/api/gen/outrigger_pb.ts'
import { eventually, LinesLog, startSidecar, type TestSidecar } from '../support/control.ts'
import { FakeApi } from '../support/fake-api.ts'
import { FakeClock } from '../support/fake-clock.ts'

const namespace = 'outrigger-system'
const status = JSON.stringify({ hash: 'x' })

/** A Service with two Pods, and what protects them. */
function shop(api: FakeApi): void {
  const pod = (name: string, account: string) =>
    api.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'shop',
        labels: { app: account, z: '1', a: '2' },
        annotations: { 'outrigger.dev/status': status },
      },
      spec: {
        serviceAccountName: account,
        containers: [{ name: 'app', ports: [{ name: 'http', containerPort: 8080 }] }],
      },
    })
  api.put({ kind: 'Namespace', metadata: { name: 'shop', labels: { 'outrigger.dev/inject': 'enabled' } } })
  api.put({ kind: 'Namespace', metadata: { name: namespace } })
  for (const name of ['orders-0', 'orders-1', 'orders-2']) pod(name, 'orders')
  for (let at = 0; at < 6; at++) pod(`web-${at}`, 'web')
  for (const name of ['orders', 'stock']) {
    api.put({
      kind: 'Service',
      metadata: { name, namespace: 'shop' },
      spec: {
        clusterIP: name === 'orders' ? '10.0.0.1' : '10.0.0.2',
        selector: { app: 'orders' },
        ports: [{ name: 'http', port: 80, targetPort: 8080 }],
      },
    })
  }
  for (const [at, name] of ['orders-b', 'orders-a', 'orders-c'].entries()) {
    api.put({
      kind: 'EndpointSlice',
      metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'orders' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [`10.1.0.${at + 1}`], targetRef: { kind: 'Pod', name: `orders-${at}` } }],
      ports: [{ name: 'http', port: 8080 }],
    })
  }
  for (const name of ['b', 'a', 'c']) {
    api.put({
      apiVersion: 'outrigger.dev/v1alpha1',
      kind: 'AuthorizationPolicy',
      metadata: { name, namespace: 'shop', generation: 1 },
      spec: {
        selector: { matchLabels: { app: 'orders' } },
        action: 'ALLOW',
        rules: [{ from: [{ namespaces: ['shop'] }] }],
      },
    })
    api.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name, namespace: 'shop', generation: 1 },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'orders', port: 80 }],
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: `/${name}` } }],
            backendRefs: [{ name: 'orders', port: 80 }],
          },
        ],
      },
    })
  }
}

async function startApi(): Promise<FakeApi> {
  const api = await FakeApi.start()
  api.intercepts.push(({ path, body }) => {
    if (!path.endsWith('/tokenreviews')) return undefined
    const { spec } = JSON.parse(body) as { spec: { token: string } }
    const claims = JSON.parse(Buffer.from(spec.token.split('.')[1]!, 'base64url').toString('utf8')) as { sub: string }
    return {
      status: 201,
      body: { status: { authenticated: true, audiences: ['outrigger'], user: { username: claims.sub } } },
    }
  })
  shop(api)
  return api
}

function startReplica(api: FakeApi, name: string, announce = '10m'): Promise<ClusterControlPlane> {
  return runClusterControlPlane({
    cluster: api.cluster(),
    config: parseControlPlaneConfig(`{injector: {image: "outrigger:1"}, authority: {announce: ${announce}}}`, 'test'),
    namespace,
    replica: name,
    host: '127.0.0.1',
    ports: { stream: 0, admin: 0, webhook: 0 },
    program: 'outrigger test',
    log: new LinesLog(),
  })
}

/** One address for several replicas, as a Service: each connection goes to one of those that are there, by seeded chance. */
async function startService(replicas: readonly ClusterControlPlane[]) {
  const ready = new Set(replicas)
  const sockets = new Set<Socket>()
  const chance = new FakeClock(7)
  const server = createServer((socket) => {
    const all = [...ready]
    const chosen = all[Math.floor(chance.random() * all.length)]
    if (chosen === undefined) return void socket.destroy()
    const upstream = connect(chosen.ports.stream, '127.0.0.1')
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.once('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    ready,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function join(api: FakeApi, address: string, workload: string): Promise<TestSidecar> {
  const claims = new SignJWT().setProtectedHeader({ alg: 'HS256' }).setSubject('system:serviceaccount:shop:web')
  const token = await claims.setAudience('outrigger').setExpirationTime('1h').sign(Buffer.alloc(32))
  const root = await rootOf(api)
  const sidecar = await startSidecar({
    control: { address } as Parameters<typeof startSidecar>[0]['control'],
    rootPem: root,
    token: () => Promise.resolve(token),
    workload,
  })
  for (const name of ['mesh', 'service/shop/orders', 'endpoints/shop/orders', `workload/shop/${workload}`])
    sidecar.store.watch(name, () => {})
  await eventually(() => sidecar.store.status().connected, `${workload} is connected`)
  return sidecar
}

/** What a Pod has at its start. */
async function rootOf(api: FakeApi): Promise<string> {
  const read = () => api.get('ConfigMap', 'shop', 'outrigger-root')?.['data'] as { 'root.pem': string } | undefined
  await eventually(() => read() !== undefined, 'the ConfigMap')
  return read()!['root.pem']
}

async function metricsOf(replica: ClusterControlPlane): Promise<(name: string) => number> {
  const response = await fetch(`http://127.0.0.1:${replica.ports.admin}/metrics`)
  const lines = (await response.text()).split('\n')
  return (name) =>
    Number(
      lines
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')
        .at(-1) ?? Number.NaN,
    )
}

const versions = (resources: ClusterControlPlane): Map<string, string> => new Map(resources.versions())

it('replicas publish the same versions, in whatever order they were told; a sidecar that moves is sent nothing', async () => {
  await using api = await startApi()
  await using running = new AsyncDisposableStack()
  const a = running.adopt(await startReplica(api, 'a'), (it) => it.stop())
  api.reversed = true
  // Read by watch, in another order again.
  api.put({ ...api.get('EndpointSlice', 'shop', 'orders-b')! })
  const b = running.adopt(await startReplica(api, 'b'), (it) => it.stop())
  await eventually(() => versions(a).size > 15 && versions(a).size === versions(b).size, 'both have all')
  assert.deepEqual([...versions(b)].sort(), [...versions(a)].sort())

  const service = running.use(await startService([a]))
  const sidecar = running.adopt(await join(api, service.address, 'web-0'), (it) => it.stop())
  await eventually(() => sidecar.store.status().resources.length === 4, 'has all')
  const hash = sidecar.store.effectiveHash
  assert.ok((await metricsOf(a))('outrigger_control_plane_pushes_total') >= 1)
  service.ready.delete(a)
  service.ready.add(b)
  await a.stop()
  await eventually(() => b.stream.sidecars.list().some(({ inSync }) => inSync), 'moved')
  assert.equal(sidecar.store.effectiveHash, hash)
  assert.equal((await metricsOf(b))('outrigger_control_plane_pushes_total'), 0)
})

it('sidecars of a replica that stops are with the others within two seconds, not all at the same moment', async () => {
  await using api = await startApi()
  await using running = new AsyncDisposableStack()
  const a = running.adopt(await startReplica(api, 'a'), (it) => it.stop())
  const b = running.adopt(await startReplica(api, 'b'), (it) => it.stop())
  const service = running.use(await startService([a, b]))
  const sidecars: TestSidecar[] = []
  for (let at = 0; at < 6; at++)
    sidecars.push(running.adopt(await join(api, service.address, `web-${at}`), (it) => it.stop()))
  const connected = (replica: ClusterControlPlane): number => [...replica.stream.sidecars.sessions()].length
  assert.ok(connected(a) > 0 && connected(b) > 0, 'spread')
  const moving = connected(a)
  service.ready.delete(a)
  const cameAt: number[] = []
  const since = performance.now()
  const stopped = a.stop()
  let seen = connected(b)
  await eventually(
    () => {
      for (; seen < connected(b); seen++) cameAt.push(performance.now() - since)
      return seen === 6
    },
    'all are with b',
    6_000,
  )
  await stopped
  assert.equal(cameAt.length, moving)
  // Two seconds, and one for a machine that is busy.
  assert.ok(cameAt.at(-1)! < 3_000, `the last came after ${cameAt.at(-1)} ms`)
  assert.ok(cameAt.at(-1)! - cameAt[0]! > 200, 'not all at once')
  for (const { store } of sidecars) await eventually(() => store.status().connected, 'connected')
})

it('a rotation of the root reaches sidecars that stand, without a new stream, and nobody is refused', async () => {
  await using api = await startApi()
  await using running = new AsyncDisposableStack()
  const a = running.adopt(await startReplica(api, 'a', '1s'), (it) => it.stop())
  const b = running.adopt(await startReplica(api, 'b', '1s'), (it) => it.stop())
  const service = running.use(await startService([a, b]))
  const sidecars = [
    running.adopt(await join(api, service.address, 'web-0'), (it) => it.stop()),
    running.adopt(await join(api, service.address, 'web-1'), (it) => it.stop()),
  ]
  // As src/sidecar.ts does.
  for (const { store, certificate } of sidecars) {
    store.watch('mesh', (resource: Resource | undefined) => {
      if (resource?.body.case === 'mesh' && store.status().connected) certificate.trust(resource.body.value.trustBundle)
    })
  }
  const trusted = ({ certificate }: TestSidecar) =>
    certificatesOf(certificate.credentials.current!.trustBundlePem).length
  const streams = [...a.stream.sidecars.sessions(), ...b.stream.sidecars.sessions()]
  const secret = api.get('Secret', namespace, 'outrigger-ca')!
  api.put({ ...secret, metadata: { ...secret.metadata, annotations: { 'outrigger.dev/rotate': 'now' } } })
  await eventually(() => sidecars.every((one) => trusted(one) === 2), 'every sidecar trusts both roots')
  const pem = () => (api.get('ConfigMap', 'shop', 'outrigger-root')!['data'] as { 'root.pem': string })['root.pem']
  await eventually(() => certificatesOf(pem()).length === 2, 'and the ConfigMap has both')
  assert.deepEqual([...a.stream.sidecars.sessions(), ...b.stream.sidecars.sessions()], streams, 'no stream was moved')
  const phase = () =>
    api.get('Secret', namespace, 'outrigger-ca')?.metadata?.annotations?.['outrigger.dev/rotation'] ?? ''
  await eventually(() => phase().startsWith('switched'), 'switched', 60_000)
  // A new sidecar, by the new root; one that comes back by the certificate of the old one.
  const late = running.adopt(await join(api, service.address, 'web-2'), (it) => it.stop())
  const [first] = certificatesOf(late.certificate.credentials.current!.certificateChainPem)
  const [, next] = certificatesOf(pem())
  assert.ok(first!.verify(next!.publicKey))
  service.ready.delete(a)
  await a.stop()
  for (const { store } of [...sidecars, late]) await eventually(() => store.status().connected, 'connected', 5_000)
  assert.deepEqual([...b.stream.identity.refusals], [])
})

it('serves its metrics to everybody, and knows itself', async () => {
  await using api = await startApi()
  await using running = new AsyncDisposableStack()
  const a = running.adopt(await startReplica(api, 'a'), (it) => it.stop())
  const service = running.use(await startService([a]))
  running.adopt(await join(api, service.address, 'web-0'), (it) => it.stop())
  await eventually(() => a.leadership.held.current, 'leads')
  const value = await metricsOf(a)
  assert.equal(value('outrigger_control_plane_leader'), 1)
  assert.equal(value('outrigger_control_plane_synced'), 1)
  assert.equal(value('outrigger_control_plane_sidecars_connected'), 1)
  assert.equal(value('outrigger_control_plane_documents{kind="Service"}'), 2)
  assert.equal(value('outrigger_control_plane_watch_state{kind="Pod",state="watching"}'), 1)
  assert.equal(value('outrigger_control_plane_certificates_issued_total{proof="token"}'), 1)
  assert.equal(value('outrigger_control_plane_root_rotation{phase="steady"}'), 1)
  assert.ok(value('outrigger_control_plane_ack_duration_seconds_count') >= 1)
  assert.ok(value('outrigger_control_plane_root_expiry_timestamp_seconds') > Date.now() / 1_000)
  assert.ok(value('outrigger_control_plane_process_resident_memory_bytes') > 1e7)
})

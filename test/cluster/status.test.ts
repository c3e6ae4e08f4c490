/** Conditions that the control plane writes, with two replicas of it: of routes, of policies, and by what sidecars answer. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import {
  AckSchema,
  HelloSchema,
  NackSchema,
  PongSchema,
  ResourceSchema,
  type ServerMessage,
  SubscribeSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { systemClock } from '../../src/base/clock.ts'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import { silentLog } from '../../src/base/log.ts'
import { WorkloadCertificate } from '../../src/identity/certificate.ts'
import { rawWatch } from '../support/control.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { installMesh } from './mesh.ts'
import type { Namespace } from './namespace.ts'
import { until } from './until.ts'

const limit = { timeout: 3 * 60_000 }
const running = new AsyncDisposableStack()
let cluster: Cluster
let system: Namespace
let home: Namespace

before(async () => {
  cluster = running.use(await openCluster())
  running.use(await installMesh(cluster, { values: { replicas: '2' } }))
  system = cluster.existing(inSystem.namespace)
  home = await cluster.namespace('status')
}, limit)
after(() => running.disposeAsync(), limit)
afterEach((test) => cluster.explain(test, inSystem.namespace))

const service = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { ports: [{ port: 80, name: 'http' }] },
})
const route = (name: string, parent: string, backend: string) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: parent }],
    rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
  },
})
const policy = (kind: string, name: string, spec: object) => ({
  apiVersion: 'outrigger.dev/v1alpha1',
  kind,
  metadata: { name },
  spec,
})
const target = (name: string) => [{ kind: 'Service', name }]
const ofParent = (type: string, reason: string): string =>
  `jsonpath={.status.parents[0].conditions[?(@.type=="${type}")].reason}=${reason}`

test('a route whose backend is not there says so, until it is', limit, async () => {
  await home.apply([service('a'), route('a', 'a', 'gone')])
  await home.wait('httproute/a', ofParent('ResolvedRefs', 'BackendNotFound'))
  await home.wait('httproute/a', ofParent('Accepted', 'Accepted'))
  const { status, metadata } = await home.get('httproute', 'a')
  const [parent] = status.parents
  assert.equal(parent.controllerName, 'outrigger.dev/mesh-controller')
  assert.deepEqual(parent.parentRef, { group: '', kind: 'Service', name: 'a' })
  for (const { observedGeneration } of parent.conditions) assert.equal(observedGeneration, metadata.generation)
  await home.apply(service('gone'))
  await home.wait('httproute/a', ofParent('ResolvedRefs', 'ResolvedRefs'))
})

test('a GRPCRoute is in force, and an older HTTPRoute for the same port is not while it is there', limit, async () => {
  const older = route('g-old', 'g', 'g')
  const grpc = { ...route('g', 'g', 'g'), kind: 'GRPCRoute' }
  await home.apply([{ ...service('g'), spec: { ports: [{ port: 80, name: 'grpc' }] } }, older])
  await home.wait('httproute/g-old', ofParent('Accepted', 'Accepted'))
  await home.apply(grpc)
  await home.wait('grpcroute/g', ofParent('Accepted', 'Accepted'))
  await home.wait('grpcroute/g', ofParent('ResolvedRefs', 'ResolvedRefs'))
  await home.wait('httproute/g-old', ofParent('Accepted', 'Conflicted'))
  await home.wait('httproute/g-old', ofParent('Programmed', 'Conflicted'))
  const { status, metadata } = await home.get('grpcroute', 'g')
  const [parent] = status.parents
  assert.deepEqual(parent.parentRef, { group: '', kind: 'Service', name: 'g' })
  for (const { observedGeneration } of parent.conditions) assert.equal(observedGeneration, metadata.generation)
  // The API server takes it, and we do not.
  await home.apply({ ...grpc, spec: { ...grpc.spec, rules: [] } })
  await home.wait('grpcroute/g', ofParent('Accepted', 'UnsupportedValue'))
  await home.delete(grpc)
  await home.wait('httproute/g-old', ofParent('Accepted', 'Accepted'))
})

test('a policy for a Service that is not there is not accepted, until it is', limit, async () => {
  await home.apply(policy('BackendPolicy', 'b', { targetRefs: target('b') }))
  await home.wait('bep/b', 'Accepted=False')
  const { status } = await home.get('bep', 'b')
  assert.match(status.conditions[0].message, /spec\.targetRefs\[0\]\.name: Service status-\w+\/b does not exist/)
  await home.apply(service('b'))
  await home.wait('bep/b', 'Accepted')
  assert.match(await home.kubectl(['get', 'bep', 'b']), /NAME +TARGET +ACCEPTED .*\nb +b +True/)
})

test('what only we can tell to be wrong is not accepted, and the version before stays in force', limit, async () => {
  const fault = (value: string) =>
    policy('FaultInjection', 'c', {
      targetRefs: target('c'),
      abort: { httpStatus: 503 },
      match: [{ headers: [{ type: 'RegularExpression', name: 'x-try', value }] }],
    })
  await home.apply([service('c'), fault('a+')])
  await home.wait('fi/c', 'Accepted')
  // 2,002 instructions: RE2 as the API server has it takes it.
  await home.apply(fault(String.raw`\p{L}{0,1000}`))
  await home.wait('fi/c', 'Accepted=False')
  const { status, metadata } = await home.get('fi', 'c')
  const [accepted] = status.conditions
  assert.equal(accepted.reason, 'Invalid')
  assert.equal(accepted.observedGeneration, metadata.generation)
  assert.match(
    accepted.message,
    /^spec\.match\[0\]\.headers\[0\]\.value: regular expression too costly: .*; version 1 of it stays in force/,
  )
})

test('the answers of sidecars of both replicas are counted, and a refusal is named', limit, async () => {
  await home.apply([service('d'), policy('BackendPolicy', 'd', { targetRefs: target('d') })])
  const replicas = await system.pods(`app.kubernetes.io/name=${inSystem.name}`)
  assert.equal(replicas.length, 2)
  await using sidecars = new AsyncDisposableStack()
  const name = `service/${home.name}/d`
  const all = await Promise.all(
    replicas.map(async (replica, at) => {
      const address = `${await system.podAddress(replica)}:15012`
      const sidecar = await HandMadeSidecar.join(cluster, home, address, `w${at}`, name)
      return sidecars.adopt(sidecar, (it) => it.leave())
    }),
  )
  const message = async (): Promise<string> => {
    const { status } = await home.get('bep', 'd')
    return (status.conditions as { type: string; message: string }[]).find(({ type }) => type === 'Programmed')!.message
  }
  await home.wait('bep/d', 'jsonpath={.status.conditions[?(@.type=="Programmed")].reason}=Programmed')
  await until(async () => assert.match(await message(), /^2 of 2 connected sidecars/))
  // Whichever of the two leads, one of these is connected to the other one.
  for (const [at, sidecar] of all.entries()) {
    sidecar.refuses = `too much for w${at}`
    await home.apply(policy('BackendPolicy', 'd', { targetRefs: target('d'), retry: { attempts: 2 + at } }))
    await home.wait('bep/d', 'jsonpath={.status.conditions[?(@.type=="Programmed")].reason}=Rejected')
    await until(async () =>
      assert.match(await message(), new RegExp(`^1 of 2 .*${home.name}/w${at} refused ${name}: too much for w${at}$`)),
    )
    sidecar.refuses = undefined
    await home.apply(policy('BackendPolicy', 'd', { targetRefs: target('d'), retry: { attempts: 12 + at } }))
    await home.wait('bep/d', 'Programmed')
  }
})

test('when the replica that writes goes, the other one writes', limit, async () => {
  await home.apply([service('e'), route('e', 'e', 'e')])
  await home.wait('httproute/e', ofParent('ResolvedRefs', 'ResolvedRefs'))
  const leader = await leaderOf()
  await system.kubectl(['delete', `pod/${leader}`, '--grace-period=0', '--force'])
  // It may still write while it ends; what comes after that is the other one's.
  await until(async () => assert.notEqual(await leaderOf(), leader))
  await home.apply(route('e', 'e', 'nowhere'))
  await home.wait('httproute/e', ofParent('ResolvedRefs', 'BackendNotFound'))
})

async function leaderOf(): Promise<string> {
  return (await system.get('lease', inSystem.lease)).spec.holderIdentity as string
}

/** The control half of a sidecar, which says of each delta what the test wants. */
class HandMadeSidecar {
  refuses: string | undefined
  readonly #watch: ReturnType<typeof rawWatch>
  readonly #certificate: WorkloadCertificate

  private constructor(certificate: WorkloadCertificate, address: string) {
    this.#certificate = certificate
    this.#watch = rawWatch(address, certificate.credentials.current)
  }

  static async join(cluster: Cluster, namespace: Namespace, address: string, workload: string, name: string) {
    const root = await until(() => namespace.get('configmap', inSystem.rootConfigMap))
    const args = ['create', 'token', 'default', '--audience', inSystem.tokenAudience, '--namespace', namespace.name]
    const token = (await cluster.kubectl(args)).trim()
    const certificate = new WorkloadCertificate({
      clock: systemClock,
      log: silentLog,
      controlPlane: address,
      rootPem: root.data['root.pem'],
      token: () => Promise.resolve(token),
      namespace: namespace.name,
      serviceAccount: undefined,
      state: undefined,
    })
    await certificate.start()
    await until(async () => assert.ok(certificate.credentials.current))
    const sidecar = new HandMadeSidecar(certificate, address)
    sidecar.#watch.call.on('data', ({ message }: ServerMessage) => sidecar.#take(message))
    const hello = create(HelloSchema, { namespace: namespace.name, workload, schemas: ['v1alpha1'], program: 'test' })
    sidecar.#watch.send({ case: 'hello', value: hello })
    sidecar.#watch.send({ case: 'subscribe', value: create(SubscribeSchema, { names: [name] }) })
    return sidecar
  }

  async leave(): Promise<void> {
    await this.#watch[Symbol.asyncDispose]()
    this.#certificate.close()
  }

  #take(message: ServerMessage['message']): void {
    if (message.case === 'ping') this.#watch.send({ case: 'pong', value: create(PongSchema, { id: message.value.id }) })
    if (message.case !== 'delta') return
    const { nonce, upserts } = message.value
    const reason = this.refuses
    if (reason === undefined) {
      this.#watch.send({ case: 'ack', value: create(AckSchema, { nonce }) })
      return
    }
    const rejections = upserts
      .map((bytes) => fromBinary(ResourceSchema, bytes))
      .map(({ name: resource, version }) => ({ resource, version, reason }))
    this.#watch.send({ case: 'nack', value: create(NackSchema, { nonce, rejections }) })
  }
}

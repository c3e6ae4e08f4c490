import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { Document } from '../../src/api/documents/document.ts'
import { type AcksRequest, AcksRequestSchema } from '../../src/api/gen/outrigger_pb.ts'
import { acksMethod } from '../../src/api/services.ts'
import { systemClock } from '../../src/base/clock.ts'
import { openChannel } from '../../src/control/channel.ts'
import {
  eventually,
  LinesLog,
  startControl,
  startSidecar,
  type TestControl,
  temporaryFolder,
} from '../../test/support/control.ts'
import type { Authority } from '../identity/authority.ts'
import { ServerCertificate } from '../identity/server-certificate.ts'
import { readObject } from '../sources/kubernetes/read-object.ts'
import { otherReplicas, Peers } from './peers.ts'

const orders = 'service/shop/orders'
const request: AcksRequest = create(AcksRequestSchema, {
  resources: [{ name: orders, version: '1' }],
  policies: [{ resources: [0] }],
})

interface Endpoint {
  readonly address?: string
  readonly pod?: string
  readonly ready?: boolean
}

/** The EndpointSlice of the control plane's Service. */
function slice(endpoints: readonly Endpoint[], namespace = 'outrigger-system', service = 'outrigger'): Document {
  const object = {
    metadata: { name: `${service}-x`, namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: endpoints.map(({ address = '127.0.0.1', pod = 'outrigger-b', ready = true }) => ({
      addresses: [address],
      conditions: { ready },
      targetRef: { kind: 'Pod', name: pod },
    })),
  }
  return readObject('EndpointSlice', object).document!
}

async function peersOf(authority: Authority, port: number, log = new LinesLog()): Promise<Peers & Disposable> {
  const certificate = await ServerCertificate.start(authority, systemClock, log)
  const options = { clock: systemClock, log, certificate, trustDomain: authority.trustDomain }
  const peers = new Peers({ ...options, namespace: 'outrigger-system', replica: 'outrigger-a', port })
  return Object.assign(peers, {
    [Symbol.dispose]: () => {
      peers.stop()
      certificate.stop()
    },
  })
}

/** Asks as somebody who is no replica. */
function askAs(control: TestControl, own: Parameters<typeof openChannel>[0]['own']): Promise<ServiceError | null> {
  const trustBundlePem = control.authority.trustBundlePem
  const channel = openChannel({ address: control.address, trustBundlePem, trustDomain: undefined, own })
  const { path, requestSerialize, responseDeserialize } = acksMethod
  return new Promise((resolve) => {
    channel.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new Metadata(), {}, (error) => {
      channel.close()
      resolve(error)
    })
  })
}

it('finds the other replicas in the EndpointSlices of the own Service', () => {
  const documents = [
    slice([
      { pod: 'outrigger-a', address: '10.0.0.1' },
      { address: '10.0.0.2' },
      { pod: 'c', address: '10.0.0.3', ready: false },
    ]),
    slice([{ address: '10.0.0.4' }], 'shop'),
    slice([{ address: '10.0.0.5' }], 'outrigger-system', 'jaeger'),
  ]
  assert.deepEqual(otherReplicas(documents, 'outrigger-system', 'outrigger-a'), [
    { name: 'outrigger-b', address: '10.0.0.2', isReady: true },
    { name: 'c', address: '10.0.0.3', isReady: false },
  ])
})

it('another replica says how far its sidecars are', async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set(orders, '1')
  await using sidecar = await startSidecar({ control })
  using _watching = sidecar.store.watch(orders, () => {})
  using peers = await peersOf(control.authority, control.server.port)
  const documents = [slice([{}])]
  const counts = async (): Promise<number[]> => {
    const { answers, unasked } = await peers.ask(documents, request)
    assert.deepEqual(unasked, [])
    return answers.flatMap(({ policies }) => policies.flatMap(({ sidecars, acked }) => [sidecars, acked]))
  }
  await eventually(() => control.server.sidecars.list()[0]?.inSync === true, 'the sidecar has it')
  assert.deepEqual(await counts(), [1, 1])
  // Gone from the slices, it is not asked.
  assert.deepEqual(await peers.ask([], request), { answers: [], unasked: [] })
  assert.deepEqual(await counts(), [1, 1])
})

it('nobody but a replica is answered: no sidecar, and nobody without a certificate', async () => {
  using folder = temporaryFolder()
  const log = new LinesLog()
  await using control = await startControl({ stateDir: folder.path, log })
  await using sidecar = await startSidecar({ control })
  await eventually(() => sidecar.certificate.credentials.current !== undefined, 'it has a certificate')
  const refused = [await askAs(control, sidecar.certificate.credentials.current), await askAs(control, undefined)]
  assert.deepEqual(
    refused.map((error) => error?.code),
    [status.PERMISSION_DENIED, status.PERMISSION_DENIED],
  )
  assert.equal(log.lines.filter((line) => line.includes('Peers.Acks refused')).length, 2)
  assert.ok(log.lines.some((line) => line.includes('spiffe://cluster.local/ns/shop/sa/web is not the control plane')))
})

it('a replica of another authority is not believed', async () => {
  using folders = new DisposableStack()
  const [one, other] = [folders.use(temporaryFolder()), folders.use(temporaryFolder())]
  await using control = await startControl({ stateDir: one.path })
  await using stranger = await startControl({ stateDir: other.path })
  const log = new LinesLog()
  using peers = await peersOf(control.authority, stranger.server.port, log)
  assert.deepEqual(await peers.ask([slice([{}])], request), { answers: [], unasked: ['outrigger-b'] })
  assert.match(log.lines.join('\n'), /self-signed certificate|unable to verify/)
})

// Without a time limit of its own it would end with that of the test runner.
it('names who does not answer in time, but not one that starts or ends', { timeout: 30_000 }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket))
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as { port: number }
  const log = new LinesLog()
  using peers = await peersOf(control.authority, port, log)
  const [named, unnamed] = [[slice([{}])], [slice([{ ready: false }])]]
  assert.deepEqual(await peers.ask(named, request), { answers: [], unasked: ['outrigger-b'] })
  assert.deepEqual(await peers.ask(unnamed, request), { answers: [], unasked: [] })
  assert.deepEqual(log.lines.length, 1)
  assert.match(log.lines[0]!, /outrigger-b \(127\.0\.0\.1\)/)
  for (const socket of sockets) socket.destroy()
  silent.close()
})

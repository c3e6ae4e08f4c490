/** What the conformance suite asks, asked sharply: see test/conformance/twins.ts. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { marks } from '../../src/base/kubernetes-names.ts'
import { type Answer, type Call, callFrom, echoDocuments } from '../conformance/echo.ts'
import { gatewayTests, tests } from '../conformance/suite.ts'
import type { Caller, Twin, TwinCall } from '../conformance/twin.ts'
import { twins } from '../conformance/twins.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { installMesh } from './mesh.ts'
import type { Namespace } from './namespace.ts'

/** The application twice: in the Service's namespace, and in the one of a consumer route. */
type Place = Readonly<Record<Caller, Namespace>>

describe('sharper than the conformance suite', () => {
  let cluster: Cluster
  let mesh: AsyncDisposable
  let meshed: Place
  let plain: Place

  before(async () => {
    cluster = await openCluster()
    mesh = await installMesh(cluster)
    ;[meshed, plain] = await Promise.all([place('twin', { [marks.inject]: 'enabled' }), place('twin-plain', {})])
    // A sidecar asks for a Service when it is called first; from then on its acknowledgement is waited for.
    for (const url of ['http://echo/', 'http://echo-v1/', 'http://echo-v2/']) await ask({ url, count: 1 }, meshed)
    await ask({ url: 'http://echo-v1.{NS}/', from: 'consumer', count: 1 }, meshed)
  })
  after(async () => {
    // The mesh first: the node may go with the cluster.
    await mesh?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
  })
  afterEach((context) => cluster.explain(context as { passed?: boolean }, 'outrigger-system'))

  async function place(prefix: string, labels: Readonly<Record<string, string>>): Promise<Place> {
    const [producer, consumer] = await Promise.all([
      cluster.namespace(prefix, labels),
      cluster.namespace(`${prefix}-consumer`, labels),
    ])
    await Promise.all(
      [producer, consumer].map(async (namespace) => {
        await namespace.apply(echoDocuments())
        await Promise.all(['echo-v1', 'echo-v2'].map((name) => namespace.rollout(`deployment/${name}`)))
      }),
    )
    return { producer, consumer }
  }

  test('every test of the suite has a twin, and every twin a call that tells', () => {
    assert.deepEqual(twins.map((twin) => twin.of).sort(), [...Object.keys(tests), ...gatewayTests].sort())
    for (const { of, calls } of twins)
      assert.ok(
        calls.some((call) => call.tells === true),
        of,
      )
  })

  test('the meshed application has sidecars, the plain one has none', async () => {
    for (const [{ producer }, expected] of [
      [meshed, true],
      [plain, false],
    ] as const) {
      const { items } = await producer.get('pods')
      for (const { metadata } of items) assert.equal(marks.status in (metadata.annotations ?? {}), expected)
    }
  })

  for (const twin of twins) {
    test(twin.of, { timeout: 120_000 }, async () => {
      await using _ = await routes(twin)
      for (const call of twin.calls) {
        const found = faults(call, await ask(call, meshed))
        assert.deepEqual(found, [], `${call.url} ${JSON.stringify(call.headers ?? {})}`)
      }
      // The API server has the same routes for the others, who have no sidecars.
      for (const call of twin.calls.filter(({ tells }) => tells)) {
        assert.notDeepEqual(faults(call, await ask(call, plain)), [], `${call.url} holds without a mesh: it is blind`)
      }
    })
  }

  /** Applies the routes in both places, and waits until every sidecar that uses them has them. */
  async function routes(twin: Twin): Promise<AsyncDisposable> {
    const documents = [meshed, plain].flatMap((here) =>
      twin.routes.map(({ in: where = 'producer', kind = 'HTTPRoute', spec }, at) => ({
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind,
        metadata: { name: `${twin.of.toLowerCase()}-${at}`, namespace: here[where].name },
        spec: JSON.parse(JSON.stringify(spec).replaceAll('{NS}', here.producer.name)) as object,
      })),
    )
    const placed = documents.map((document) => ({ document, here: cluster.existing(document.metadata.namespace) }))
    await Promise.all(placed.map(({ document, here }) => here.apply(document)))
    const isPlain = ({ name }: Namespace) => Object.values(plain).some((one) => one.name === name)
    for (const { document, here } of placed) {
      await inForce(here, document.kind, document.metadata.name, isPlain(here) ? accepted : [...accepted, 'Programmed'])
    }
    return {
      [Symbol.asyncDispose]: async () => {
        await Promise.all(placed.map(({ document, here }) => here.delete(document)))
      },
    }
  }

  async function ask(call: Call & { readonly from?: Caller }, here: Place): Promise<Answer[]> {
    let url = call.url.replaceAll('{NS}', here.producer.name)
    if (url.includes('{POD_V2}')) {
      const [pod] = await here.producer.pods('app=echo,version=v2')
      url = url.replaceAll('{POD_V2}', await here.producer.podAddress(pod!))
    }
    return callFrom(here[call.from ?? 'producer'], { ...call, url })
  }
})

/** What is wrong with the answers, each fault once with its count. */
function faults({ wrong, wrongInAll }: TwinCall, answers: readonly Answer[]): string[] {
  const counts = new Map<string, number>()
  for (const answer of answers) {
    const fault = wrong(answer)
    if (fault !== undefined) counts.set(fault, (counts.get(fault) ?? 0) + 1)
  }
  const all = wrongInAll?.(answers)
  const told = [...counts].map(([fault, count]) => `${count} of ${answers.length}: ${fault}`)
  return all === undefined ? told : [...told, all]
}

interface Condition {
  readonly type: string
  readonly status: string
  readonly observedGeneration?: number
  readonly message: string
}

/** What a route says of itself in order; `Programmed`: every sidecar that uses it has it. */
const accepted = ['Accepted', 'ResolvedRefs']

/** Until the conditions hold, of this very generation. */
async function inForce(namespace: Namespace, kind: string, name: string, wanted: readonly string[]): Promise<void> {
  const deadline = performance.now() + 20_000
  for (;;) {
    const { metadata, status } = await namespace.get(kind.toLowerCase(), name)
    const parents = (status?.parents ?? []) as { conditions: Condition[] }[]
    const missing = wanted.filter(
      (type) => !parents.some(({ conditions }) => conditions.some((one) => holds(one, type, metadata.generation))),
    )
    if (missing.length === 0) return
    if (performance.now() > deadline) {
      throw new Error(`${kind} ${namespace.name}/${name} is not ${missing.join(', ')}: ${JSON.stringify(parents)}`)
    }
    await setTimeout(50)
  }
}

function holds(condition: Condition, type: string, generation: number): boolean {
  return condition.type === type && condition.status === 'True' && condition.observedGeneration === generation
}

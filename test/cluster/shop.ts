/** The shop of examples/kubernetes on the node, with the tests' image in place of a public one and the client idle. */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { AppCounts } from '../../src/cli/up/checks.ts'
import { loadScenario, type Phase, type Scenario } from '../../src/cli/up/scenario.ts'
import { type Cluster, type Found, parseDocuments } from './cluster.ts'
import { outrigger, shop as shopImage } from './images.ts'
import type { Namespace } from './namespace.ts'
import { playScenario, type ScenarioOutcome } from './scenarist.ts'
import { root } from './state.ts'

const examples = path.join(root, 'examples')
/** Plaintext to web past the client's own sidecar: the client's capture leaves this port alone. */
const direct = { host: 'web-direct', port: 9_090 } as const

export const shopDeployments = ['web', 'orders', 'inventory-v1', 'inventory-v2', 'shipping', 'client'] as const
/** Those that count what reaches them: shipping speaks gRPC alone. */
const apps = shopDeployments.filter((name) => name !== 'client' && name !== 'shipping')

export interface ShopOptions {
  /** More annotations for the Pods of every Deployment. */
  readonly annotations?: Readonly<Record<string, string>>
}

/** The shop in its namespace. One at a time: the policies name the namespace. */
export class Shop implements AsyncDisposable {
  readonly namespace: Namespace
  readonly #cluster: Cluster

  private constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.namespace = cluster.existing('shop')
  }

  /** Every Pod is ready and the policies are in force when it returns. */
  static async open(cluster: Cluster, { annotations = {} }: ShopOptions = {}): Promise<Shop> {
    const shop = new Shop(cluster)
    const documents = parseDocuments(readFileSync(path.join(examples, 'kubernetes', 'shop.yaml'), 'utf8'))
    const isNamespace = ({ kind }: Found): boolean => kind === 'Namespace'
    // That of another file of the lane.
    await cluster.whenDeleted('shop')
    await cluster.apply(documents.filter(isNamespace))
    // As the file tells its reader to.
    const from = `--from-file=${path.join(examples, 'shop/apps')}`
    const programs = await shop.namespace.kubectl([
      'create',
      'configmap',
      'shop-apps',
      from,
      '--dry-run=client',
      '-o',
      'yaml',
    ])
    await shop.namespace.apply(programs)
    await cluster.apply([
      ...documents.filter((document) => !isNamespace(document)).map((document) => forTest(document, annotations)),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: direct.host, namespace: 'shop' },
        spec: { selector: { app: 'web' }, ports: [{ name: 'tcp', port: direct.port, targetPort: 8080 }] },
      },
    ])
    await shop.policies()
    for (const name of shopDeployments) await shop.namespace.rollout(`deployment/${name}`, 180)
    return shop
  }

  /** The policies of examples/shop, and none of a scenario. */
  async policies(): Promise<void> {
    await this.namespace.kubectl(['delete', `${ours.join(',')}`, '--all'])
    await this.#cluster.apply(readFileSync(path.join(examples, 'shop/policies.yaml'), 'utf8'))
  }

  /** One scenario of examples/scenarios, with the bounds that it has on a laptop. */
  async scenario(name: string, totalMs: number): Promise<ScenarioOutcome> {
    const { scenario, folder, policyFolder } = await loadScenario(name, path.join(examples, 'shop'))
    await this.policies()
    const files = globSync('*.yaml', { cwd: policyFolder }).map((file) => path.join(policyFolder, file))
    if (files.length > 0) await this.#cluster.apply(files.map((file) => readFileSync(file, 'utf8')).join('\n---\n'))
    const hands = {
      act: (action: Phase['do'][number]) => this.#act(action, folder),
      appCounts: () => this.#appCounts(),
    }
    try {
      return await playScenario(this.namespace, { scenario: withSlack(scenario), totalMs, direct }, hands)
    } finally {
      await this.policies()
    }
  }

  async #act(action: Phase['do'][number], folder: string): Promise<void> {
    if ('apply' in action) await this.#cluster.apply(readFileSync(path.join(folder, action.apply), 'utf8'))
    else {
      const { app, failPercent, failStatus } = action
      await this.#ask(app, 'POST', `/_switch?failPercent=${failPercent}&failStatus=${failStatus}`)
    }
  }

  async #appCounts(): Promise<Record<string, AppCounts>> {
    const counts = await Promise.all(
      apps.map(async (app) => [app, JSON.parse(await this.#ask(app, 'GET', '/_counts'))] as const),
    )
    return Object.fromEntries(counts) as Record<string, AppCounts>
  }

  /** Within the application's own Pod, by loopback: past the mesh. */
  #ask(app: string, method: string, at: string): Promise<string> {
    const program = `fetch('http://127.0.0.1:8080${at}', { method: '${method}' }).then(async (r) => console.log(await r.text()))`
    return this.namespace.exec(`deployment/${app}`, ['node', '-e', program])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.deleteNamespace('shop')
  }
}

/**
 * The slowest of thousands of answers also says how long this machine, which runs a whole Kubernetes on its cores, let somebody
 * wait. What hangs here hangs for 2 s.
 */
function withSlack(scenario: Scenario): Scenario {
  const expect = scenario.expect.map((one) =>
    one.measure.measure === 'slowestMs' && one.bound.atMost !== undefined
      ? { ...one, bound: { ...one.bound, atMost: one.bound.atMost + slackMs } }
      : one,
  )
  return { ...scenario, expect }
}

const slackMs = 400

const ours = [
  'httproutes.gateway.networking.k8s.io',
  'grpcroutes.gateway.networking.k8s.io',
  ...['backendpolicies', 'faultinjections', 'peerauthentications', 'authorizationpolicies', 'telemetrypolicies'].map(
    (plural) => `${plural}.outrigger.dev`,
  ),
]

function forTest(document: Found, annotations: Readonly<Record<string, string>>): Found {
  if (document.kind !== 'Deployment') return document
  const { template } = document.spec
  const [container] = template.spec.containers
  container.image = shopImage
  template.metadata.annotations = { ...annotations }
  if (document.metadata.name !== 'client') return document
  container.image = outrigger
  container.command = ['node', '-e', 'setInterval(() => {}, 1e9)']
  // The image's own user is the proxy's, whose traffic nobody captures.
  container.securityContext = { runAsUser: 1000, runAsGroup: 1000 }
  template.metadata.annotations['traffic.outrigger.dev/excludeOutboundPorts'] = `${direct.port}`
  template.spec.terminationGracePeriodSeconds = 1
  return document
}

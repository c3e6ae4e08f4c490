/** What the mesh must not cost: requests, while Pods and control plane come and go. */
import assert from 'node:assert/strict'
import { availableParallelism, loadavg } from 'node:os'
import { after, afterEach, before, describe, test } from 'node:test'
import { inPod, inSystem } from '../../src/base/kubernetes-names.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { outrigger, shop as shopImage } from './images.ts'
import { installMesh } from './mesh.ts'
import type { Namespace } from './namespace.ts'
import { PodProcess } from './pod-process.ts'
import { Shop } from './shop.ts'
import { SteadyLoad, tellOutcome } from './steady-load.ts'
import { until } from './until.ts'

const limit = { timeout: 6 * 60_000 }
/** One hop, no route, no retry: what is lost is lost. */
const url = 'http://inventory-v1:8080/stock/anchor'
const target = 'deployment/inventory-v1'
const ratePerSecond = 320

describe('nothing is lost', () => {
  const running = new AsyncDisposableStack()
  let cluster: Cluster
  let shop: Namespace
  let system: Namespace

  before(async () => {
    cluster = running.use(await openCluster())
    running.use(await installMesh(cluster, { values: { replicas: '2' } }))
    shop = running.use(await Shop.open(cluster)).namespace
    system = cluster.existing(inSystem.namespace)
    await shop.kubectl(['scale', target, '--replicas=2'])
    await shop.rollout(target)
  }, limit)
  after(() => running.disposeAsync(), limit)
  afterEach((test) => cluster.explain(test, 'shop', inSystem.namespace))

  test('five rolling updates of a meshed Deployment: 0 of 20,000 requests', limit, async () => {
    await using load = await SteadyLoad.start(shop, { url, ratePerSecond })
    const started = performance.now()
    for (let round = 0; round < 5; round++) {
      await shop.kubectl(['rollout', 'restart', target])
      await shop.rollout(target)
    }
    // The last Pods are still on their way out; and there must be as many requests as the title says.
    await until(async () => {
      const { items } = await shop.get('pods', '--selector', 'app=inventory,version=v1')
      assert.equal(items.length, 2)
      assert.ok(performance.now() - started > (20_500 / ratePerSecond) * 1_000)
    }, 120_000)
    const outcome = await load.stop()
    assert.ok(outcome.sent >= 20_000, tellOutcome(outcome))
    assert.equal(outcome.ok, outcome.sent, tellOutcome(outcome))
  })

  test('a rolling update of the control plane: nothing, and new Pods are injected all the while', limit, async () => {
    await using load = await SteadyLoad.start(shop, { url, ratePerSecond: 200 })
    await system.kubectl(['rollout', 'restart', `deployment/${inSystem.name}`])
    await shop.kubectl(['rollout', 'restart', 'deployment/orders'])
    await system.rollout(`deployment/${inSystem.name}`, 180)
    await shop.rollout('deployment/orders', 180)
    const outcome = await load.stop()
    assert.equal(outcome.ok, outcome.sent, tellOutcome(outcome))
    await allConnected(shop)
  })

  test('one of two control planes killed: its sidecars are at the other within 2 s, nothing lost', limit, async () => {
    const replicas = await system.pods(`app.kubernetes.io/name=outrigger`)
    assert.equal(replicas.length, 2)
    await allConnected(shop)
    await using load = await SteadyLoad.start(shop, { url, ratePerSecond: 200 })
    // One after the other, so that whichever replica a sidecar is at, it loses it once. Where the machine has more to do than it
    // can, it is the machine that is slow.
    const boundMs = loadavg()[0]! > 2 * availableParallelism() ? 4_000 : 2_000
    for (const replica of replicas) {
      await using watching = new AsyncDisposableStack()
      const watches = await Promise.all(
        (await meshedPods(shop)).map((pod) => ConnectionWatch.start(shop, pod, watching)),
      )
      await system.kubectl(['delete', `pod/${replica}`, '--force', '--grace-period=0'])
      for (const watch of watches) {
        const longest = await watch.longestGapMs()
        assert.ok(longest <= boundMs, `${watch.pod} was without a control plane for ${longest} ms (at most ${boundMs})`)
      }
      await system.rollout(`deployment/${inSystem.name}`)
    }
    const outcome = await load.stop()
    assert.equal(outcome.ok, outcome.sent, tellOutcome(outcome))
  })

  test('a Pod that is killed hard costs what it had under way, and no more', limit, async () => {
    await using load = await SteadyLoad.start(shop, { url, ratePerSecond: 100, connections: 10 })
    const [victim] = await shop.pods('app=inventory,version=v1')
    await shop.kubectl(['delete', `pod/${victim}`, '--force', '--grace-period=0'])
    await shop.rollout(target)
    const outcome = await load.stop()
    // Until its endpoint is gone calls may still be sent there: those that cannot connect go elsewhere only with a retry
    // policy. What was under way is at most one request a connection.
    const lost = outcome.sent - outcome.ok
    assert.ok(lost <= 20, tellOutcome(outcome))
  })

  test('init containers have network, and it is meshed', limit, async () => {
    const call = `fetch('${url}').then(async (r) => { console.log(r.status, await r.text()); process.exit(r.ok ? 0 : 1) })`
    await shop.apply(
      oneShot('with-init', {
        initContainers: [{ name: 'early', image: shopImage, command: ['node', '-e', call] }],
        containers: [{ name: 'main', image: shopImage, command: ['node', '-e', 'console.log("done")'] }],
      }),
    )
    await shop.wait('job/with-init', 'Complete')
    assert.match(await shop.logs('job/with-init', 'early'), /^200 .*anchor/)
  })

  test('a Job ends by itself, its sidecar with it', limit, async () => {
    await shop.apply(
      oneShot('order', {
        containers: [
          {
            name: 'main',
            image: shopImage,
            command: ['node', '-e', `fetch('${url}').then((r) => console.log(r.status))`],
          },
        ],
      }),
    )
    await shop.wait('job/order', 'Complete')
    assert.equal((await shop.logs('job/order', 'main')).trim(), '200')
    const { items } = await shop.get('pods', '--selector', 'job-name=order')
    const [sidecar] = items[0].status.initContainerStatuses.filter(
      ({ name }: { name: string }) => name === inPod.proxyContainer,
    )
    assert.equal(sidecar.state.terminated.exitCode, 0, 'the sidecar has ended well')
    assert.equal(
      items[0].spec.initContainers.find(({ name }: { name: string }) => name === inPod.proxyContainer).image,
      outrigger,
    )
  })
})

/** As who may call inventory. */
function oneShot(name: string, spec: object): object {
  const template = { spec: { serviceAccountName: 'client', restartPolicy: 'Never', ...spec } }
  return { apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: { backoffLimit: 0, template } }
}

async function meshedPods(shop: Namespace): Promise<string[]> {
  return (await Promise.all(['web', 'orders', 'inventory', 'client'].map((app) => shop.pods(`app=${app}`)))).flat()
}

async function allConnected(shop: Namespace): Promise<void> {
  await until(async () => {
    for (const pod of await meshedPods(shop)) {
      const said = await shop.exec(`pod/${pod}`, ['node', '-e', isConnected])
      assert.equal(said.trim(), 'true', pod)
    }
  }, 30_000)
}

const isConnected = `fetch('http://127.0.0.1:15000/stats').then(async (r) => console.log((await r.json()).controlPlane.connected))`

/** Looks 20 times a second, for eight seconds, at whether a sidecar has a stream. */
class ConnectionWatch {
  readonly pod: string
  readonly #process: PodProcess

  private constructor(pod: string, process: PodProcess) {
    this.pod = pod
    this.#process = process
  }

  static async start(shop: Namespace, pod: string, stack: AsyncDisposableStack): Promise<ConnectionWatch> {
    const [container = ''] = pod.split('-')
    const process = stack.use(new PodProcess(shop, `pod/${pod}`, container, ['node', '--eval', watchSource]))
    await process.line()
    return new ConnectionWatch(pod, process)
  }

  async longestGapMs(): Promise<number> {
    return Number(await this.#process.line())
  }
}

const watchSource = `
let since, longest = 0
const started = performance.now()
const look = async () => {
  const connected = await fetch('http://127.0.0.1:15000/stats').then(async (r) => (await r.json()).controlPlane.connected)
  const now = performance.now()
  if (since === undefined && !connected) since = now
  if (since !== undefined) longest = Math.max(longest, now - since)
  if (connected) since = undefined
  if (now - started < 8000) setTimeout(look, 50)
  else console.log(Math.round(longest))
}
look().then(() => console.log('began'))`

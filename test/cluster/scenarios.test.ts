/** Every scenario of the shop, on Pods with injected sidecars, with the bounds that it has on a laptop (the slowest answer has slack: shop.ts). */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { type Cluster, openCluster } from './cluster.ts'
import { installMesh } from './mesh.ts'
import { Shop } from './shop.ts'

/** Milliseconds: as in the integration lane. */
const scenarios = {
  canary: 20_000,
  retries: 16_000,
  'retry-budget': 20_000,
  breaker: 16_000,
  slow: 10_000,
  denied: 8_000,
  permissive: 10_000,
}

describe('scenarios in a cluster', () => {
  const running = new AsyncDisposableStack()
  let cluster: Cluster
  let shop: Shop

  before(async () => {
    cluster = running.use(await openCluster())
    running.use(await installMesh(cluster))
    shop = running.use(await Shop.open(cluster))
  })
  after(() => running.disposeAsync())
  afterEach((test) => cluster.explain(test, 'shop', 'outrigger-system'))

  for (const [name, totalMs] of Object.entries(scenarios)) {
    test(`${name}: every figure is within its bounds`, async () => {
      const { checks, said } = await shop.scenario(name, totalMs)
      const table = checks.map(
        ({ that, bound, measured, ok }) => `${ok ? 'ok    ' : 'FAILED'} ${that}: ${measured} (${bound})`,
      )
      assert.ok(checks.length > 0 && checks.every(({ ok }) => ok), `\n${table.join('\n')}\n${said.join('\n')}`)
    })
  }
})

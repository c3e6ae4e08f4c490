import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ShopCopy, type UpProcess } from '../support/shop.ts'

/**
 * Each scenario twice: as it is, where every figure must be within its bounds, and with its policy taken away, where the
 * named checks must fail. Figures are those of the load client and of the applications, never of the sidecars.
 */
const scenarios: readonly {
  readonly name: string
  readonly for: string
  readonly without: readonly string[]
  /** How long it runs without its policy; four seconds when left out. */
  readonly withoutFor?: string
}[] = [
  {
    name: 'canary',
    for: '20s',
    without: ['v2 served one in ten (its own count)', "v2 served one in ten (the client's)"],
  },
  { name: 'retries', for: '20s', without: ['the client sees 12.5 % errors', 'each says which policy it was'] },
  { name: 'retry-budget', for: '20s', without: ['40 % errors: 20 retries for 100 requests'] },
  {
    name: 'breaker',
    for: '16s',
    // A breaker that were there would need so long to open, probe and close.
    withoutFor: '8s',
    without: [
      'failing: only probes reach v2, one a second',
      'the breaker went to open',
      'the breaker went back to closed',
    ],
  },
  { name: 'slow', for: '10s', without: ['a quarter waited for a second try'] },
  { name: 'hedging', for: '6s', without: ['one in ten waited for company'] },
  {
    name: 'denied',
    for: '8s',
    without: [
      'every direct call gets 403',
      'alone: 0 bytes at inventory-v1',
      '0 requests for /private at inventory-v2',
    ],
  },
  {
    name: 'permissive',
    for: '8s',
    // Two phases that settle for two seconds each.
    withoutFor: '6s',
    without: ['permissive: plaintext is served', 'permissive: web counts it'],
  },
]

function table(up: UpProcess): string {
  const lines =
    up.result?.checks?.map(({ that, measured, ok }) => `${ok ? 'ok    ' : 'FAILED'} ${that}: ${measured}`) ?? []
  return `\n${lines.join('\n')}\n${up.stderr}`
}

for (const [i, scenario] of scenarios.entries()) {
  test(`${scenario.name}: every figure is within its bounds`, async () => {
    using shop = new ShopCopy(60 + i)
    const up = shop.up('--scenario', scenario.name, '--for', scenario.for)
    assert.equal(await up.end(), 0, table(up))
    assert.equal(up.result?.ok, true)
  })
}

// One at a time: two meshes that start at once on two cores may take longer to be ready than `up` waits.
test('without its policy each scenario exits 1, and for the right reason', { concurrency: 1 }, async (t) => {
  await Promise.all(
    scenarios.map((scenario, i) =>
      t.test(scenario.name, async () => {
        using shop = new ShopCopy(80 + i)
        shop.removePolicy(scenario.name)
        const up = shop.up('--scenario', scenario.name, '--for', scenario.withoutFor ?? '4s')
        assert.equal(await up.end(), 1, table(up))
        const failed = up.result?.checks?.filter(({ ok }) => !ok).map(({ that }) => that) ?? []
        for (const that of scenario.without) assert.ok(failed.includes(that), `${that} did not fail${table(up)}`)
      }),
    ),
  )
})

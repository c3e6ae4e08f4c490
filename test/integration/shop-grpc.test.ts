/** The shop's service of gRPC: what `outrigger trace` says of its calls, and what becomes of them when one in four fails. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { request } from 'undici'
import { eventually, ShopCopy } from '../support/shop.ts'

const run = promisify(execFile)
const outrigger = join(import.meta.dirname, '../../src/cli/outrigger')
const fault = `---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: { name: shipping-fails, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: shipping }]
  abort: { percentage: 25, grpcStatus: UNAVAILABLE }
`

test('calls of gRPC in the shop: their method, their tries and their codes', { timeout: 240_000 }, async () => {
  using shop = new ShopCopy(48)
  shop.edit('policies.yaml', (text) => text.replace('samplingRate: 10', 'samplingRate: 100'))
  const up = shop.up()
  const traced = async (): Promise<string> => {
    const { stdout } = await run(outrigger, ['trace', 'last', '--admin', `${shop.host}:15014`])
    return stdout
  }
  /** What web gets, asked for past the mesh: only what orders does itself goes through it. */
  const order = async (): Promise<{ shipping?: { price?: number; code?: number } }> => {
    const { body } = await request(`http://${shop.address(4)}:18080/orders/42`)
    return (await body.json()) as { shipping?: { price?: number } }
  }
  try {
    await up.line(
      'calls of shipping',
      ({ rows }) => rows?.some(({ to, successPercent }) => to === 'shop/shipping' && successPercent === 100) === true,
    )
    assert.equal((await order()).shipping?.price, 36)
    await eventually('a trace with a call', async () =>
      /shop\.Shipping\/Quote {2}[\d.]+ ms {2}OK[^]*GRPCRoute\/shop\/shipping/.test(await traced()),
    )

    shop.edit('policies.yaml', (text) => text + fault)
    await up.line('the fault is in force', ({ message }) => message === 'policy revision 2 is in force')
    await eventually(
      'a trace with a try that failed, and one that did not',
      async () =>
        /try 1 → shop\/shipping .* UNAVAILABLE FAULT_ABORTED\n[^]*FaultInjection\/shop\/shipping-fails[^]*try [23] → shop\/shipping .* OK\n.*retry: after FAULT_ABORTED/.test(
          await traced(),
        ),
      90_000,
    )
    // One in sixty fails three times; the order is there all the same.
    const prices = await Promise.all(Array.from({ length: 20 }, async () => (await order()).shipping))
    assert.ok(prices.filter((shipping) => shipping?.price === 36).length >= 16, JSON.stringify(prices))
  } finally {
    up.child.kill('SIGINT')
    await up.end()
  }
})

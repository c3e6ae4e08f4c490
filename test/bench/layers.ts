/**
 * What the layers between a parsed head and one try cost, in microseconds of CPU per request, without any I/O.
 * Run: src/cli/outrigger-node test/bench/layers.ts
 */
import { create } from '@bufbuild/protobuf'
import {
  type BackendPolicy,
  BackendPolicySchema,
  EndpointSetSchema,
  type Rule,
  RuleSchema,
  ServiceSchema,
  StringMatchType,
} from '../../src/api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../../src/balance/backends.ts'
import { noBody } from '../../src/base/body.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Exchange } from '../../src/base/exchange.ts'
import type { Service } from '../../src/base/stack.ts'
import { stack } from '../../src/base/stack.ts'
import { inFlight, OwnInFlight } from '../../src/policy/in-flight.ts'
import { outboundService } from '../../src/policy/order.ts'
import { rescue } from '../../src/policy/rescue.ts'
import { normalizeTarget } from '../../src/route/path.ts'
import { answer, downstream, head } from '../support/exchanges.ts'

const requests = 300_000
const rounds = 5

function serviceWith(rule: Partial<Rule>, policy: BackendPolicy | undefined, send = answer): Service {
  const backends = new BackendRegistry({ clock: systemClock, onTransition: () => {}, onEjection: () => {} })
  backends.update('shop/orders', policy)
  backends.updateEndpoints(
    'shop/orders',
    create(EndpointSetSchema, {
      endpoints: [1, 2, 3].map((n) => ({ address: `10.0.0.${n}`, ports: { 80: 8080 }, ready: true })),
    }),
  )
  const message = create(ServiceSchema, {
    namespace: 'shop',
    name: 'orders',
    ports: [{ port: 80 }],
    rules: [
      create(RuleSchema, {
        ref: { kind: 'HTTPRoute', namespace: 'shop', name: 'orders', version: '1' },
        name: '0',
        matches: [{ pathType: StringMatchType.PREFIX, path: '/api' }],
        backends: [{ namespace: 'shop', name: 'orders', port: 80, weight: 1 }],
        ...(rule as object),
      }),
    ],
  })
  const { serve } = outboundService(message, 'shop', {
    clock: systemClock,
    backends,
    send: () => Promise.resolve(send()),
  })
  const limit = new OwnInFlight(10_000)
  return stack([rescue({ log: console, by: 'shop/web' }), inFlight(limit)], serve)
}

const connection = downstream()

async function run(service: Service): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < requests; i++) {
    const exchange = new Exchange({
      request: head({ target: normalizeTarget('/api/orders/17?page=2') }),
      body: noBody,
      downstream: connection,
      startedAt: 0,
    })
    exchange.service = 'shop/orders'
    exchange.servicePort = 80
    const { status, body } = await service(exchange)
    // Refusals are cheap, and say nothing of what a request costs.
    if (status !== 200) throw new Error(`status ${status}: ${body.whole}`)
    exchange.onComplete?.({ bytesIn: 0, bytesOut: 0, status, error: undefined })
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

const breakers = create(BackendPolicySchema, {
  circuitBreakers: [
    { errorThresholdPercent: 50, volumeThreshold: 20, rollingWindowMs: 10_000, resetTimeoutMs: 5_000 },
    {
      endpointScope: true,
      errorThresholdPercent: 50,
      volumeThreshold: 20,
      rollingWindowMs: 10_000,
      resetTimeoutMs: 5_000,
    },
  ],
})
const retries = { retry: { retries: 2, codes: [503], conditions: ['connect-failure'] } } as unknown as Partial<Rule>
const timeouts = { requestTimeoutMs: 10_000, backendRequestTimeoutMs: 2_000 }

const cases: [string, Service][] = [
  ['route + pick', serviceWith({}, undefined)],
  ['+ retry and budget', serviceWith(retries, undefined)],
  ['+ breakers (service, endpoint)', serviceWith(retries, breakers)],
  ['+ deadline and per-try timeout', serviceWith({ ...retries, ...timeouts }, breakers)],
]

async function empty(): Promise<number> {
  return run(() => Promise.resolve(answer()))
}

const baseline: number[] = []
const results = cases.map(() => [] as number[])
for (let round = 0; round < rounds; round++) {
  baseline.push(await empty())
  for (const [i, [, service]] of cases.entries()) results[i]!.push(await run(service))
}
const middle = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
const none = middle(baseline)
console.log(`no layers (exchange, response, loop): ${none.toFixed(2)} us, taken off below`)
for (const [i, [name]] of cases.entries()) {
  console.log(`${(middle(results[i]!) - none).toFixed(2).padStart(6)} us  ${name}`)
}

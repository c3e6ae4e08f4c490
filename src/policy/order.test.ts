import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { answer, exchange, grpcExchange } from '../../test/support/exchanges.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import {
  BackendPolicySchema,
  EndpointSetSchema,
  PathRewrite,
  type RuleSchema,
  ServiceSchema,
  StringMatchType,
  WorkloadSchema,
} from '../api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../balance/backends.ts'
import type { Transition } from '../balance/breaker.ts'
import { noBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Attempt, type Exchange, Response } from '../base/exchange.ts'
import type { EndpointTarget } from '../upstream/endpoint.ts'
import { inFlight, OwnInFlight } from './in-flight.ts'
import { inboundStack, outboundService } from './order.ts'

type Rule = MessageInitShape<typeof RuleSchema>
type Send = (exchange: Exchange, attempt: Attempt, target: EndpointTarget) => Promise<Response>

const ref = { kind: 'HTTPRoute', namespace: 'shop', name: 'r', version: '4' }
const everything = [{ pathType: StringMatchType.PREFIX, path: '/' }]
const orders = { namespace: 'shop', name: 'orders', port: 80, weight: 1 }
const budget = { percent: 100, intervalMs: 600_000_000, minPerSecond: 0 }

const ok: Send = () => Promise.resolve(answer())

function setUp(rules: Rule[], options: { policy?: object; send?: Send; service?: object; seed?: number } = {}) {
  const clock = new FakeClock(options.seed)
  const transitions: Transition[] = []
  const backends = new BackendRegistry({ clock, onTransition: (of) => transitions.push(of), onEjection: () => {} })
  if (options.policy !== undefined) backends.update('shop/orders', create(BackendPolicySchema, options.policy))
  for (const [name, net] of [
    ['orders', 1],
    ['orders-v2', 2],
    ['shadow', 3],
  ] as const) {
    const endpoints = [1, 2].map((n) => ({ address: `10.0.${net}.${n}`, ports: { 80: 8080, 81: 8081 }, ready: true }))
    backends.updateEndpoints(`shop/${name}`, create(EndpointSetSchema, { endpoints }))
  }
  const message = create(ServiceSchema, {
    namespace: 'shop',
    name: 'orders',
    ports: [{ port: 80 }, { port: 81 }],
    rules: rules.map((rule) => ({ ref, name: '0', matches: everything, backends: [orders], ...rule }) as Rule),
    ...options.service,
  })
  const sent: [Exchange, Attempt, EndpointTarget][] = []
  const send: Send = (of, attempt, target) => {
    sent.push([of, attempt, target])
    return (options.send ?? ok)(of, attempt, target)
  }
  const { serve } = outboundService(message, 'shop', { clock, backends, send })
  const run = async (request: Exchange = exchange(), ms = 0): Promise<Response | MeshError> => {
    if (request.servicePort === 0) request.servicePort = 80
    const outcome = serve(request).catch((error: unknown) => error as MeshError)
    await clock.advance(ms)
    return outcome
  }
  return { clock, backends, transitions, sent, run, serve }
}

const said = (outcome: Response | MeshError): number | string =>
  outcome instanceof MeshError ? outcome.code : outcome.status
const to = (sent: [Exchange, Attempt, EndpointTarget][]): string[] => sent.map(([, , { key }]) => key)

describe('routing', () => {
  test('the facts are on the exchange', async () => {
    const { run, sent } = setUp([{}])
    const request = exchange()
    assert.equal(said(await run(request)), 200)
    assert.equal(request.route, 'HTTPRoute shop/r 0')
    assert.equal(request.routePolicy?.name, 'r')
    assert.equal(request.backend, 'shop/orders')
    const [attempt] = request.attempts
    assert.deepEqual([attempt!.number, attempt!.backend, attempt!.status, attempt!.cause], [1, 'shop/orders', 200, ''])
    assert.equal(attempt!.endpoint, sent[0]![2].key)
    assert.equal(attempt!.endedAt, attempt!.startedAt)
  })

  test('no route is 404, and nothing is sent', async () => {
    const { run, sent } = setUp([{ matches: [{ pathType: StringMatchType.EXACT, path: '/a' }] }])
    assert.equal(said(await run()), 'NO_ROUTE')
    assert.equal(sent.length, 0)
  })

  test('of a GRPCRoute: a call of no rule is UNIMPLEMENTED, what is no call is told that it is none', async () => {
    const matches = [{ pathType: StringMatchType.EXACT, path: '/a.B/Get', grpc: {} }]
    const { run, sent } = setUp([{ matches }])
    assert.equal(said(await run(grpcExchange([], { target: '/a.B/Get' }))), 200)
    assert.equal(sent.length, 1)
    const other = (await run(grpcExchange([], { target: '/a.B/Put' }))) as MeshError
    assert.deepEqual([said(other), other.grpc], ['NO_ROUTE', 12])
    assert.equal(other.message, 'no route of shop/orders matches POST /a.B/Put')
    const plain = (await run(exchange({ method: 'POST', target: '/a.B/Get' }))) as MeshError
    assert.deepEqual([said(plain), plain.status], ['NO_ROUTE', 404])
    assert.match(plain.message, /: it is no gRPC request, and a GRPCRoute takes no others$/)
    assert.equal(sent.length, 1)
  })

  test('a call for a backend that cannot be used, or for none, is UNAVAILABLE', async () => {
    for (const backends of [[], [{ ...orders, weight: 0 }], [{ ...orders, invalid: 'it does not exist' }]]) {
      const error = (await setUp([{ backends }]).run(grpcExchange())) as MeshError
      assert.deepEqual([said(error), error.grpc], ['NO_VALID_BACKEND', 14])
    }
  })

  test('each timeout names the document that set it', async () => {
    const hang: Send = (of) =>
      new Promise((_, reject) => {
        of.waiting = reject
      })
    const by = { kind: 'BackendPolicy', namespace: 'shop', name: 'p', version: '1' }
    const timeouts = { requestTimeoutMs: 1_000, timeoutRef: ref, backendRequestTimeoutMs: 300 }
    const each = setUp([{ ...timeouts, backendRequestTimeoutRef: by }], { send: hang })
    const attempt = (await each.run(exchange(), 2_000)) as MeshError
    assert.deepEqual([said(attempt), attempt.policy?.kind], ['TRY_TIMEOUT', 'BackendPolicy'])
    const whole = setUp([{ ...timeouts, backendRequestTimeoutMs: 0 }], { send: hang })
    const request = (await whole.run(exchange(), 2_000)) as MeshError
    assert.deepEqual([said(request), request.policy?.kind], ['DEADLINE', 'HTTPRoute'])
  })

  test('an error names the rule that cannot be compiled', () => {
    const rewrite = { filter: { case: 'rewrite' as const, value: { pathType: PathRewrite.FULL, path: 'x' } } }
    assert.throws(
      () => setUp([{}, { name: 'bad', filters: [rewrite] }]),
      /^Error: HTTPRoute shop\/r bad: replaced path "x"/,
    )
    assert.throws(() => setUp([{ retry: { retries: 1, conditions: ['x'] } }]), /retry condition "x"/)
    assert.throws(() => setUp([{ filters: [{}] }]), /does not know/)
  })

  test('a prefix rewrite knows which of the matches was met', async () => {
    const rewrite = { filter: { case: 'rewrite' as const, value: { pathType: PathRewrite.PREFIX, path: '/new' } } }
    const matches = ['/a', '/b/c'].map((path) => ({ pathType: StringMatchType.PREFIX, path }))
    const { run, sent } = setUp([{ matches, filters: [rewrite] }])
    await run(exchange({ target: '/a/x' }))
    await run(exchange({ target: '/b/c/x' }))
    assert.deepEqual(
      sent.map(([{ request }]) => request.target),
      ['/new/x', '/new/x'],
    )
  })

  test('a redirect is answered here', async () => {
    const redirect = { filter: { case: 'redirect' as const, value: { scheme: 'https' } } }
    const { run, sent } = setUp([{ filters: [redirect], backends: [] }])
    assert.equal(said(await run()), 302)
    assert.equal(sent.length, 0)
  })

  test('port 0 of a backend is the port that was called', async () => {
    const { run, sent } = setUp([{ backends: [{ ...orders, port: 0 }] }])
    const request = exchange()
    request.servicePort = 81
    await run(request)
    assert.equal(sent[0]![2].port, 8081)
    request.servicePort = 82
    assert.equal(said(await run(request)), 'NO_HEALTHY_ENDPOINT')
  })
})

describe('backends', () => {
  test('weights are shares', async () => {
    const backends = [
      { ...orders, weight: 90 },
      { ...orders, name: 'orders-v2', weight: 10 },
      { ...orders, name: 'x', weight: 0 },
    ]
    const { run, sent } = setUp([{ backends }])
    for (let i = 0; i < 2_000; i++) await run()
    const canary = to(sent).filter((key) => key.startsWith('10.0.2.')).length
    assert.ok(Math.abs(canary - 200) < 50, String(canary))
  })

  test('retries stay with the backend that was chosen', async () => {
    const backends = [orders, { ...orders, name: 'orders-v2' }]
    const { run } = setUp([{ backends, retry: { retries: 3, codes: [503], budget } }], {
      send: () => Promise.resolve(answer(503)),
    })
    for (let i = 0; i < 20; i++) {
      const request = exchange()
      await run(request, 10_000)
      assert.equal(new Set(request.attempts.map(({ backend }) => backend)).size, 1)
    }
  })

  test('the share of an invalid backend is 500', async () => {
    const { run, sent } = setUp([{ backends: [orders, { ...orders, name: 'gone', invalid: 'Service not found' }] }])
    let refused = 0
    for (let i = 0; i < 1_000; i++) {
      const outcome = await run()
      if (said(outcome) === 'NO_VALID_BACKEND') {
        refused++
        assert.equal((outcome as MeshError).message, 'backend shop/gone: Service not found')
      }
    }
    assert.ok(Math.abs(refused - 500) < 70, String(refused))
    assert.equal(sent.length, 1_000 - refused)
  })

  for (const backends of [[], [{ ...orders, weight: 0 }], [{ ...orders, invalid: 'x' }]]) {
    test(`500 for ${JSON.stringify(backends)}`, async () => {
      assert.equal(said(await setUp([{ backends }]).run()), 'NO_VALID_BACKEND')
    })
  }
})

describe('tries', () => {
  test('the next try goes elsewhere, and says why it is made', async () => {
    const { run } = setUp([{ retry: { retries: 1, codes: [503], budget } }], {
      send: () => Promise.resolve(answer(503)),
    })
    for (let i = 0; i < 30; i++) {
      const request = exchange()
      assert.equal(said(await run(request, 1_000)), 503)
      const [first, second] = request.attempts
      assert.notEqual(first!.endpoint, second!.endpoint)
      assert.deepEqual([second!.number, second!.cause], [2, 'status 503'])
      assert.ok(second!.backoffMs >= 0 && second!.backoffMs <= 25)
    }
  })

  test('a fault of 50 % with two retries is 12.5 % errors: faults are below retries', async () => {
    const fault = { abortPpm: 500_000, abortStatus: 503 }
    const retry = { retries: 2, codes: [503], budget: { ...budget, percent: 200 } }
    const { run, sent } = setUp([{ retry }], { service: { faults: [fault] } })
    let errors = 0
    for (let i = 0; i < 4_000; i++) if (said(await run(exchange(), 100)) === 'FAULT_ABORTED') errors++
    assert.ok(Math.abs(errors / 4_000 - 0.125) < 0.015, String(errors))
    assert.equal(sent.length, 4_000 - errors)
  })

  test('an injected fault opens a breaker: faults are below breakers', async () => {
    const faults = [{ abortPpm: 1_000_000, abortStatus: 503 }]
    const circuitBreakers = [
      { errorThresholdPercent: 50, volumeThreshold: 5, rollingWindowMs: 10_000, resetTimeoutMs: 1_000 },
    ]
    const { run, transitions } = setUp([{ faults }], { policy: { circuitBreakers } })
    const outcomes: (number | string)[] = []
    for (let i = 0; i < 7; i++) outcomes.push(said(await run()))
    assert.deepEqual(outcomes, [...Array.from({ length: 5 }, () => 'FAULT_ABORTED'), 'BREAKER_OPEN', 'BREAKER_OPEN'])
    assert.match(transitions[0]!.cause, /FAULT_ABORTED an injected fault$/)
  })

  test('a bad endpoint is cut off by its breaker, and probed by one request', async () => {
    const circuitBreakers = [
      {
        endpointScope: true,
        errorThresholdPercent: 50,
        volumeThreshold: 3,
        rollingWindowMs: 10_000,
        resetTimeoutMs: 1_000,
      },
    ]
    let bad = true
    const send: Send = (_of, _attempt, { address }) =>
      Promise.resolve(answer(bad && address === '10.0.1.1' ? 500 : 200))
    const { clock, run, sent, transitions } = setUp([{}], { policy: { circuitBreakers }, send })
    for (let i = 0; i < 100; i++) await run()
    assert.equal(to(sent).filter((key) => key === '10.0.1.1:8080').length, 3)
    await clock.advance(1_000)
    for (let i = 0; i < 100; i++) await run()
    assert.equal(to(sent).filter((key) => key === '10.0.1.1:8080').length, 4)
    bad = false
    await clock.advance(1_000)
    for (let i = 0; i < 100; i++) await run()
    assert.ok(to(sent).filter((key) => key === '10.0.1.1:8080').length > 20)
    assert.deepEqual(
      transitions.map(({ to: state }) => state),
      ['open', 'half-open', 'open', 'half-open', 'closed'],
    )
  })

  const neutral: [string, MeshError | number][] = [
    ['a client that left', new MeshError('DOWNSTREAM_RESET', 'x')],
    ['a full pool', new MeshError('POOL_OVERFLOW', 'x')],
    ['a 404', 404],
  ]
  for (const [what, outcome] of neutral) {
    test(`${what} is not the upstream's failure`, async () => {
      const circuitBreakers = [
        { errorThresholdPercent: 1, volumeThreshold: 1, rollingWindowMs: 10_000, resetTimeoutMs: 1_000 },
      ]
      const send: Send = () =>
        typeof outcome === 'number' ? Promise.resolve(answer(outcome)) : Promise.reject(outcome)
      const { run, transitions } = setUp([{}], { policy: { circuitBreakers }, send })
      for (let i = 0; i < 10; i++) await run()
      assert.deepEqual(transitions, [])
    })
  }

  test('slow endpoints cost a try each; the deadline ends it all', async () => {
    const hang: Send = (of) =>
      new Promise((_, reject) => {
        of.waiting = reject
      })
    const retry = { retries: 9, conditions: ['timeout'], budget: { ...budget, percent: 1_000 } }
    const rule = { retry, requestTimeoutMs: 1_000, backendRequestTimeoutMs: 300, timeoutRef: ref }
    const { clock, serve } = setUp([rule], { send: hang })
    const request = exchange()
    request.servicePort = 80
    const started = clock.now()
    const outcome = serve(request).catch((error: unknown) => [said(error as MeshError), clock.now() - started])
    await clock.advance(5_000)
    assert.deepEqual(await outcome, ['DEADLINE', 1_000])
    assert.ok(request.attempts.length >= 3 && request.attempts.length <= 4)
    assert.deepEqual(
      request.attempts.slice(0, -1).map(({ error }) => error?.code),
      request.attempts.slice(0, -1).map(() => 'TRY_TIMEOUT'),
    )
  })

  test('an injected delay is cut by the per-try timeout', async () => {
    const { run, sent } = setUp([{ faults: [{ delayPpm: 1_000_000, delayMs: 5_000 }], backendRequestTimeoutMs: 100 }])
    const request = exchange()
    assert.equal(said(await run(request, 100)), 'TRY_TIMEOUT')
    assert.equal(request.attempts[0]!.faultDelayMs, 5_000)
    assert.equal(sent.length, 0)
  })

  test('in-flight lasts until the body has ended; a broken body is in the books', async () => {
    const responses: Response[] = []
    const send: Send = () => {
      const response = new Response(200, '', [], noBody)
      responses.push(response)
      return Promise.resolve(response)
    }
    const policy = { outlierDetection: { consecutive5xx: 2, baseEjectionMs: 1_000, maxEjectionPercent: 50 } }
    const { backends, run } = setUp([{}], { send, policy })
    const inFlightNow = (): number =>
      [...backends.backend('shop/orders', 80).endpoints.all()].reduce((sum, endpoint) => sum + endpoint.inFlight, 0)
    const request = exchange()
    await run(request)
    assert.equal(inFlightNow(), 1)
    const broken = new MeshError('UPSTREAM_RESET', 'mid-body')
    responses[0]!.finish(broken)
    assert.equal(inFlightNow(), 0)
    assert.equal(request.attempts[0]!.error, broken)
    const endpoint = backends.backend('shop/orders', 80).endpoints.get(request.attempts[0]!.endpoint)!
    assert.equal(endpoint.failuresInRow, 1)
  })

  test('a cancelled exchange is not sent', async () => {
    const { run, sent } = setUp([{}])
    const request = exchange()
    request.cancel(new MeshError('DOWNSTREAM_RESET', 'gone'))
    assert.equal(said(await run(request)), 'DOWNSTREAM_RESET')
    assert.equal(sent.length, 0)
  })
})

test('a mirror goes to its backend, without retries, faults or effect', async () => {
  const backend = { namespace: 'shop', name: 'shadow', port: 80 }
  const mirror = { filter: { case: 'mirror' as const, value: { backend, ppm: 1_000_000 } } }
  const send: Send = (_of, _attempt, { address }) => Promise.resolve(answer(address.startsWith('10.0.3.') ? 503 : 200))
  const rule = { filters: [mirror], retry: { retries: 3, codes: [503], budget } }
  const { run, sent } = setUp([rule], { send })
  const request = exchange()
  assert.equal(said(await run(request, 1_000)), 200)
  await settle()
  assert.deepEqual(
    to(sent)
      .map((key) => key.slice(0, 6))
      .sort(),
    ['10.0.1', '10.0.3'],
  )
  assert.equal(request.attempts.length, 1)
})

test('an invalid mirror is ignored', async () => {
  const value = { backend: { namespace: 'shop', name: 'x', port: 80, invalid: 'not found' }, ppm: 1_000_000 }
  const { run, sent } = setUp([{ filters: [{ filter: { case: 'mirror', value } }] }])
  assert.equal(said(await run()), 200)
  assert.equal(sent.length, 1)
})

describe('in-flight limit', () => {
  const completion = { bytesIn: 0, bytesOut: 0, status: 200, error: undefined }

  test('refuses above it, counts until the last byte is out', async () => {
    const limit = new OwnInFlight(1)
    const service = inFlight(limit)(() => Promise.resolve(answer()))
    const first = exchange()
    let completed = 0
    first.onComplete = () => void completed++
    await service(first)
    assert.equal(limit.count, 1)
    await assert.rejects(service(exchange()), { code: 'OVERLOADED' })
    first.onComplete(completion)
    assert.equal(limit.count, 0)
    assert.equal(completed, 1, 'who waited for the end before hears of it still')
    await service(exchange())
  })

  test('a failure counts until its answer is out', async () => {
    const limit = new OwnInFlight(1)
    const service = inFlight(limit)(() => Promise.reject(new Error('x')))
    const failing = exchange()
    await assert.rejects(service(failing), /x/)
    assert.equal(limit.count, 1)
    failing.onComplete?.(completion)
    assert.equal(limit.count, 0)
  })
})

describe('inbound', () => {
  const clock = new FakeClock()
  const deny = { deny: true, rules: [{}] }
  const abort = { abortPpm: 1_000_000, abortStatus: 418 }
  const serve = (workload: MessageInitShape<typeof WorkloadSchema>, deadlineMs = 0) => {
    let reached = 0
    const local = (of: Exchange): Promise<Response> => {
      reached++
      return deadlineMs === 0 ? Promise.resolve(answer()) : new Promise((_, reject) => void (of.waiting = reject))
    }
    const service = inboundStack(create(WorkloadSchema, workload), { clock, deadlineMs }, local)
    return { reached: () => reached, run: () => service(exchange()).catch((error: unknown) => error as MeshError) }
  }

  test('without policy the request goes to the application', async () => {
    const { run, reached } = serve({})
    assert.equal(said(await run()), 200)
    assert.equal(reached(), 1)
  })

  test('a stranger learns nothing about faults', async () => {
    const { run, reached } = serve({ authorizations: [deny], faults: [abort] })
    assert.equal(said(await run()), 'DENIED')
    assert.equal(reached(), 0)
  })

  test('a fault stands for the application', async () => {
    const { run, reached } = serve({ faults: [abort] })
    assert.equal(((await run()) as MeshError).status, 418)
    assert.equal(reached(), 0)
  })

  test('an application that hangs is given up', async () => {
    const { run } = serve({}, 100)
    const outcome = run()
    await clock.advance(100)
    assert.equal(said(await outcome), 'DEADLINE')
  })
})

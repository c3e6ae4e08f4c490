/** gRPC calls through the whole outbound stack of a Service: what breakers, ejection, hedging, mirrors and faults make of them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { begunCall, endCall, exchange, grpcExchange, trailersOnly } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  BackendPolicySchema,
  EndpointSetSchema,
  type FaultSchema,
  type RuleSchema,
  ServiceSchema,
  StringMatchType,
} from '../api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../balance/backends.ts'
import type { Ejection } from '../balance/outlier.ts'
import { MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Attempt, Exchange, Headers, Response } from '../base/exchange.ts'
import { grpcStatusNames, grpcStatusOf } from '../base/grpc.ts'
import { headerValue } from '../base/headers.ts'
import { isEndpointFailure } from './failure.ts'
import { outboundService } from './order.ts'

type Send = (exchange: Exchange, attempt: Attempt) => Promise<Response>

interface Options {
  readonly policy?: MessageInitShape<typeof BackendPolicySchema>
  readonly rule?: MessageInitShape<typeof RuleSchema>
  readonly faults?: MessageInitShape<typeof FaultSchema>[]
  readonly endpoints?: number
}

function setUp(send: Send, { policy = {}, rule = {}, faults = [], endpoints = 2 }: Options = {}) {
  const clock = new FakeClock()
  const ejections: Ejection[] = []
  const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: (of) => ejections.push(of) })
  backends.update('shop/orders', create(BackendPolicySchema, policy))
  for (const [name, net] of [
    ['orders', 1],
    ['shadow', 2],
  ] as const) {
    const list = Array.from({ length: endpoints }, (_, n) => ({
      address: `10.0.${net}.${n + 1}`,
      ports: { 80: 8080 },
      ready: true,
    }))
    backends.updateEndpoints(`shop/${name}`, create(EndpointSetSchema, { endpoints: list }))
  }
  const service = create(ServiceSchema, {
    namespace: 'shop',
    name: 'orders',
    ports: [{ port: 80 }],
    rules: [
      {
        name: '0',
        matches: [{ pathType: StringMatchType.PREFIX, path: '/' }],
        backends: [{ namespace: 'shop', name: 'orders', port: 80, weight: 1 }],
        ...rule,
      } as MessageInitShape<typeof RuleSchema>,
    ],
    faults,
  })
  const sent: { readonly of: Exchange; readonly attempt: Attempt }[] = []
  const { serve } = outboundService(service, 'shop', {
    clock,
    backends,
    send: (of, attempt) => {
      sent.push({ of, attempt })
      return send(of, attempt)
    },
  })
  const call = async (request: Exchange = grpcExchange(), ms = 0): Promise<Response | MeshError> => {
    request.servicePort = 80
    const outcome = serve(request).catch((error: unknown) => error as MeshError)
    await clock.advance(ms)
    return outcome
  }
  const breaker = () => {
    const { state, requests, failures } = backends.snapshot().find(({ service: name }) => name === 'shop/orders')!
      .breaker!
    return { state, requests, failures }
  }
  return { clock, backends, ejections, sent, call, breaker }
}

const budget = { percent: 100, intervalMs: 600_000, minPerSecond: 10 }
const counting = { circuitBreakers: [{ volumeThreshold: 1_000, errorThresholdPercent: 50, rollingWindowMs: 600_000 }] }
const opening = {
  circuitBreakers: [{ volumeThreshold: 2, errorThresholdPercent: 50, rollingWindowMs: 600_000, resetTimeoutMs: 100 }],
}

/** A call that has begun to be answered, and ends so. */
async function streamed(set: ReturnType<typeof setUp>, end: (response: Response) => void): Promise<Attempt> {
  const response = (await set.call()) as Response
  assert.equal(set.sent.at(-1)!.attempt.grpcStatus, -1)
  end(response)
  return set.sent.at(-1)!.attempt
}

describe('breakers count how calls went', () => {
  for (const [grpcStatus, name] of grpcStatusNames.entries()) {
    const failed = ['UNKNOWN', 'DEADLINE_EXCEEDED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'].includes(name)
    test(`${name} ${failed ? 'is a failure of the endpoint' : 'is none'}`, async () => {
      assert.equal(isEndpointFailure(grpcStatus), failed)
      const set = setUp(() => Promise.resolve(trailersOnly(grpcStatus)), { policy: counting })
      await set.call()
      assert.deepEqual(set.breaker(), { state: 'closed', requests: 1, failures: failed ? 1 : 0 })
      assert.equal(set.sent[0]!.attempt.grpcStatus, grpcStatus)
    })
  }

  const ends: readonly (readonly [what: string, end: (of: Response) => void, requests: number, failures: number])[] = [
    ['OK', (of) => endCall(of, 0), 1, 0],
    ['INTERNAL', (of) => endCall(of, 13), 1, 1],
    ['no status', (of) => endCall(of, undefined), 1, 1],
    ['its time is over, says the server', (of) => endCall(of, 4), 1, 0],
    ['its time is over, says the mesh', (of) => of.finish(new MeshError('DEADLINE', 'x')), 0, 0],
    ['the client left', (of) => of.finish(new MeshError('DOWNSTREAM_RESET', 'x')), 0, 0],
    ['the connection was lost', (of) => of.finish(new MeshError('UPSTREAM_RESET', 'x')), 1, 1],
  ]
  for (const [what, end, requests, failures] of ends) {
    test(`a stream that had begun: ${what}`, async () => {
      const set = setUp(() => Promise.resolve(begunCall()), { policy: counting })
      await streamed(set, end)
      assert.deepEqual(set.breaker(), { state: 'closed', requests, failures })
    })
  }

  test('it opens, and a probe that begins to be answered closes it', async () => {
    let answerWith: () => Response = () => trailersOnly(14)
    const set = setUp(() => Promise.resolve(answerWith()), { policy: opening })
    await set.call()
    await set.call()
    await set.call()
    assert.equal(set.breaker().state, 'open')
    const refused = await set.call()
    assert.ok(refused instanceof MeshError)
    assert.deepEqual([refused.code, refused.grpc], ['BREAKER_OPEN', 14])
    answerWith = begunCall
    await set.clock.advance(200)
    await set.call()
    await set.clock.advance(0)
    // Its stream goes on, perhaps for hours.
    assert.equal(set.breaker().state, 'closed')
  })

  test('a probe that fails keeps it open', async () => {
    const set = setUp(() => Promise.resolve(trailersOnly(14)), { policy: opening })
    for (let i = 0; i < 3; i++) await set.call()
    await set.clock.advance(150)
    await set.call()
    await set.clock.advance(0)
    assert.equal(set.breaker().state, 'open')
  })
})

describe('outlier detection', () => {
  const policy = { outlierDetection: { consecutive5xx: 2, baseEjectionMs: 60_000, maxEjectionPercent: 50 } }

  test('ejects for statuses in a row, whether they come with the head or at the end', async () => {
    const set = setUp(
      (_, { endpoint }) => Promise.resolve(endpoint.startsWith('10.0.1.1:') ? begunCall() : trailersOnly(0)),
      {
        policy,
      },
    )
    for (let i = 0; i < 8; i++) {
      const response = (await set.call()) as Response
      if (!response.finished) endCall(response, 14)
    }
    assert.deepEqual(
      set.ejections.map(({ endpoint, ejected }) => [endpoint, ejected]),
      [['10.0.1.1:8080', true]],
    )
  })

  test('not for what callers do wrong, nor for streams that run out of time', async () => {
    const set = setUp(() => Promise.resolve(begunCall()), { policy, endpoints: 2 })
    for (const end of [3, 5, 12, 16, 4, 4, 1, 1, 8, 8]) endCall((await set.call()) as Response, end)
    assert.deepEqual(set.ejections, [])
  })
})

describe('hedged calls', () => {
  const rule = (methods: string[], conditions: string[] = []) => ({
    retry: { retries: 0, budget, conditions, hedging: { delayMs: 50, attemptsMax: 2, methods } },
  })
  /** The first try answers so after `firstMs`, the second with OK after 100 ms. */
  const slowFirst =
    (clock: () => FakeClock, first: number, firstMs: number, headers: Headers): Send =>
    (_, { number }) =>
      new Promise((resolve) => {
        const [grpcStatus, ms] = number === 1 ? [first, firstMs] : [0, 100]
        clock().after(ms, () => resolve(trailersOnly(grpcStatus, number === 1 ? headers : [])))
      })

  async function run(methods: string[], conditions: string[], first: number, firstMs: number, headers: Headers = []) {
    const set: ReturnType<typeof setUp> = setUp(
      slowFirst(() => set.clock, first, firstMs, headers),
      { rule: rule(methods, conditions) },
    )
    const outcome = await set.call(grpcExchange(['grpc-timeout', '1S']), 1_000)
    assert.ok(!(outcome instanceof MeshError))
    return { sent: set.sent, grpcStatus: grpcStatusOf(outcome) }
  }

  test('not unless the policy names POST', async () => {
    assert.equal((await run([], [], 0, 400)).sent.length, 1)
    assert.equal((await run(['GET', 'PUT'], [], 0, 400)).sent.length, 1)
  })

  test('the same bytes go to two endpoints, with what is left of the time', async () => {
    const { sent, grpcStatus } = await run(['POST'], [], 0, 400)
    assert.equal(grpcStatus, 0)
    assert.equal(sent.length, 2)
    assert.equal(new Set(sent.map(({ attempt }) => attempt.endpoint)).size, 2)
    assert.equal(sent[0]!.of.body.whole, sent[1]!.of.body.whole)
    assert.deepEqual(
      sent.map(({ of }) => headerValue(of.request.headers, 'grpc-timeout')),
      ['1000m', '950m'],
    )
  })

  test('an answer that retry would repeat does not win while another try runs', async () => {
    assert.equal((await run(['POST'], ['unavailable'], 14, 60)).grpcStatus, 0)
  })

  test('UNAVAILABLE of one is no permission where another one may have acted', async () => {
    const policy = (methods: string[]) => ({
      retry: {
        retries: 1,
        budget,
        conditions: ['unavailable'],
        methods,
        hedging: { delayMs: 50, attemptsMax: 2, methods: ['POST'] },
      },
    })
    const sent = async (firstError: MeshError, methods: string[] = []) => {
      const set: ReturnType<typeof setUp> = setUp(
        (_, { number }) =>
          new Promise((resolve, reject) => {
            if (number === 1) set.clock.after(70, () => reject(firstError))
            else set.clock.after(100, () => resolve(trailersOnly(14)))
          }),
        { rule: policy(methods), endpoints: 4 },
      )
      await set.call(grpcExchange(), 1_000)
      return set.sent.length
    }
    assert.equal(await sent(new MeshError('UPSTREAM_RESET', 'lost')), 2)
    assert.equal(await sent(new MeshError('UPSTREAM_RESET', 'lost'), ['POST']), 3)
    assert.equal(await sent(new MeshError('UPSTREAM_RESET', 'refused', { unsent: true })), 3)
    assert.equal(await sent(new MeshError('UPSTREAM_CONNECT', 'refused')), 3)
  })

  test('any other answer wins', async () => {
    assert.equal((await run(['POST'], ['unavailable'], 5, 60)).grpcStatus, 5)
    assert.equal((await run(['POST'], [], 14, 60)).grpcStatus, 14)
    // The server asks not to be called again.
    assert.equal((await run(['POST'], ['unavailable'], 14, 60, ['grpc-retry-pushback-ms', '-1'])).grpcStatus, 14)
  })
})

test('a mirror gets the message, and its answer is nobody’s', async () => {
  const set = setUp(({ backend }) => Promise.resolve(backend === 'shop/orders' ? trailersOnly(0) : trailersOnly(13)), {
    rule: {
      filters: [
        {
          filter: {
            case: 'mirror',
            value: { backend: { namespace: 'shop', name: 'shadow', port: 80, weight: 1 }, ppm: 1_000_000 },
          },
        },
      ],
    },
  })
  const outcome = (await set.call(grpcExchange(['grpc-timeout', '1S']))) as Response
  assert.equal(grpcStatusOf(outcome), 0)
  assert.equal(set.sent.length, 2)
  const copy = set.sent.find(({ attempt }) => attempt.backend === 'shop/shadow')!.of
  assert.equal(copy.isGrpc, true)
  assert.equal(copy.body.whole, '\0\0\0\0\0')
  assert.equal(copy.request.target, '/shop.Orders/Get')
})

describe('injected faults', () => {
  const abort = { abortPpm: 1_000_000 }
  const cases: readonly (readonly [
    what: string,
    fault: MessageInitShape<typeof FaultSchema>,
    grpc: number,
    other: number | MeshErrorCode,
  ])[] = [
    ['a status of gRPC alone', { ...abort, abortGrpcStatus: 8 }, 8, 200],
    ['an HTTP status alone', { ...abort, abortStatus: 503 }, 14, 'FAULT_ABORTED'],
    ['an HTTP status that says something else', { ...abort, abortStatus: 401 }, 16, 'FAULT_ABORTED'],
    ['both', { ...abort, abortStatus: 503, abortGrpcStatus: 13 }, 13, 'FAULT_ABORTED'],
  ]
  for (const [what, fault, grpc, other] of cases) {
    test(what, async () => {
      const set = setUp(() => Promise.resolve(trailersOnly(0)), { faults: [fault] })
      const call = grpcExchange()
      call.decisions = []
      const outcome = await set.call(call)
      assert.ok(outcome instanceof MeshError)
      assert.deepEqual([outcome.code, outcome.grpc, outcome.reset], ['FAULT_ABORTED', grpc, false])
      assert.equal(call.attempts[0]!.grpcStatus, grpc)
      const told = call.decisions.find(({ layer }) => layer === 'fault')!.what
      assert.equal(
        told,
        `aborted with ${fault.abortGrpcStatus === undefined ? fault.abortStatus : grpcStatusNames[grpc]}`,
      )
      const plain = await set.call(exchange({ method: 'POST' }))
      assert.equal(plain instanceof MeshError ? plain.code : plain.status, other)
    })
  }

  test('is counted by breakers for what it stands for', async () => {
    for (const [fault, failures] of [
      [{ abortGrpcStatus: 14 }, 1],
      [{ abortGrpcStatus: 5 }, 0],
      [{ abortStatus: 503 }, 1],
    ] as const) {
      const set = setUp(() => Promise.resolve(trailersOnly(0)), { faults: [{ ...abort, ...fault }], policy: counting })
      await set.call()
      assert.equal(set.breaker().failures, failures)
    }
  })
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { answer, begunCall, endCall, grpcExchange, trailersOnly } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { RetrySchema } from '../api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../balance/backends.ts'
import { MeshError, type MeshErrorCode, type MeshErrorOptions } from '../base/errors.ts'
import type { Exchange, Headers, Response } from '../base/exchange.ts'
import { grpcStatusOf } from '../base/grpc.ts'
import { headerValue } from '../base/headers.ts'
import { deadline } from './deadline.ts'
import { retry } from './retry.ts'

type Policy = MessageInitShape<typeof RetrySchema>
type Outcome = () => Response | MeshError

const grpcWords = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable']
const httpWords = ['connect-failure', 'reset', 'refused', 'timeout', '5xx', 'gateway-error']

/** Sends one call whose tries go as listed, the last for ever; two retries unless the policy says otherwise. */
async function send(policy: Policy, outcomes: readonly Outcome[], request = grpcExchange(), deadlineMs = 0) {
  const clock = new FakeClock()
  const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} })
  const budget = { percent: 100, intervalMs: 10_000, minPerSecond: 1_000 }
  const message = create(RetrySchema, { retries: 2, budget, ...policy } as Policy)
  const tries: { readonly at: number; readonly headers: Headers }[] = []
  const service = deadline(
    deadlineMs,
    undefined,
    clock,
  )(
    retry(message, backends.backend('shop/orders', 80), { clock })!((of: Exchange) => {
      tries.push({ at: clock.now(), headers: [...of.request.headers] })
      const outcome = outcomes[Math.min(tries.length, outcomes.length) - 1]!()
      return outcome instanceof MeshError ? Promise.reject(outcome) : Promise.resolve(outcome)
    }),
  )
  request.decisions = []
  const outcome = service(request).catch((error: unknown) => error as MeshError)
  await clock.advance(60_000)
  return { outcome: await outcome, tries, request }
}

const status =
  (grpcStatus: number, headers: Headers = []): Outcome =>
  () =>
    trailersOnly(grpcStatus, headers)
const fails =
  (code: MeshErrorCode, options: MeshErrorOptions = {}): Outcome =>
  () =>
    new MeshError(code, 'x', options)

/** What happens for ever, policy, how often the call is sent (retries: 2). */
const table: readonly (readonly [what: string, outcome: Outcome, policy: Policy, sent: number])[] = [
  ['OK', status(0), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['UNAVAILABLE, named', status(14), { conditions: ['unavailable'] }, 3],
  ['UNAVAILABLE, not named', status(14), {}, 1],
  ['UNAVAILABLE is no 5xx', status(14), { conditions: httpWords, codes: [503], methods: ['POST'] }, 1],
  ['NOT_FOUND', status(5), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['UNKNOWN', status(2), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['a status that is none', status(99), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['CANCELLED', status(1), { conditions: ['cancelled'], methods: ['POST'] }, 3],
  ['CANCELLED, the work may have been done', status(1), { conditions: ['cancelled'] }, 1],
  ['DEADLINE_EXCEEDED', status(4), { conditions: ['deadline-exceeded'], methods: ['POST'] }, 3],
  ['DEADLINE_EXCEEDED, the work may have been done', status(4), { conditions: ['deadline-exceeded'] }, 1],
  ['RESOURCE_EXHAUSTED', status(8), { conditions: ['resource-exhausted'], methods: ['POST'] }, 3],
  ['RESOURCE_EXHAUSTED, the work may have been done', status(8), { conditions: ['resource-exhausted'] }, 1],
  ['INTERNAL', status(13), { conditions: ['internal'], methods: ['POST'] }, 3],
  ['INTERNAL, the work may have been done', status(13), { conditions: ['internal'] }, 1],
  ['a 503 that is no gRPC', () => answer(503), { conditions: ['unavailable'], methods: ['POST'] }, 3],
  ['a 503 that is no gRPC, and may have been acted on', () => answer(503), { conditions: ['unavailable'] }, 1],
  ['a 503 by code', () => answer(503), { codes: [503], methods: ['POST'] }, 3],
  ['a connection that cannot be made', fails('UPSTREAM_CONNECT', { unsent: true }), {}, 3],
  ['the same is UNAVAILABLE', fails('UPSTREAM_CONNECT', { unsent: true }), { conditions: ['unavailable'] }, 3],
  ['a refused stream, or one above GOAWAY', fails('UPSTREAM_RESET', { unsent: true }), {}, 3],
  ['a refused stream by refused', fails('UPSTREAM_RESET', { unsent: true }), { conditions: ['refused'] }, 3],
  ['a refused stream, named otherwise', fails('UPSTREAM_RESET', { unsent: true }), { conditions: ['timeout'] }, 1],
  ['a lost connection', fails('UPSTREAM_RESET'), { conditions: ['unavailable', 'reset'] }, 1],
  ['a lost connection of what may be repeated', fails('UPSTREAM_RESET'), { methods: ['POST'] }, 3],
  ['a slow try', fails('TRY_TIMEOUT'), { conditions: ['deadline-exceeded'], methods: ['POST'] }, 3],
  ['a slow try that may have been acted on', fails('TRY_TIMEOUT'), { conditions: ['deadline-exceeded'] }, 1],
  ['the deadline', fails('DEADLINE'), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['an open breaker', fails('BREAKER_OPEN'), { conditions: ['unavailable'] }, 1],
  ['an open breaker, named', fails('BREAKER_OPEN'), { conditions: ['breaker-open'] }, 3],
  ['garbage', fails('UPSTREAM_PROTOCOL'), { conditions: grpcWords, methods: ['POST'] }, 1],
  ['no endpoint', fails('NO_HEALTHY_ENDPOINT', { unsent: true }), { conditions: ['unavailable'] }, 1],
  [
    'an injected status',
    fails('FAULT_ABORTED', { status: 200, grpc: 14, unsent: true }),
    { conditions: ['unavailable'] },
    3,
  ],
  ['an injected 503', fails('FAULT_ABORTED', { status: 503, unsent: true }), { conditions: ['unavailable'] }, 3],
  ['an injected reset is no status', fails('FAULT_ABORTED', { reset: true }), { conditions: ['unavailable'] }, 1],
]

describe('which calls are tried again', () => {
  for (const [what, outcome, policy, sent] of table) {
    test(`${what}: sent ${sent} times`, async () => {
      const { tries } = await send(policy, [outcome])
      assert.equal(tries.length, sent)
    })
  }

  test('an answer with messages is never repeated, however it ends', async () => {
    const policy = { conditions: grpcWords, methods: ['POST'] }
    const whole = () => {
      const response = begunCall()
      endCall(response, 14)
      return response
    }
    assert.equal((await send(policy, [begunCall])).tries.length, 1)
    assert.equal((await send(policy, [whole])).tries.length, 1)
  })

  test('one that helps is the answer; the server and the client are told which it was', async () => {
    const { outcome, tries } = await send({ conditions: ['unavailable'] }, [status(14), status(14), status(0)])
    assert.ok(!(outcome instanceof MeshError))
    assert.equal(grpcStatusOf(outcome), 0)
    assert.equal(headerValue(outcome.headers, 'x-outrigger-attempt'), '3')
    assert.deepEqual(
      tries.map(({ headers }) => headerValue(headers, 'grpc-previous-rpc-attempts')),
      [undefined, '1', '2'],
    )
  })

  test("a retry of the caller's own library is not multiplied", async () => {
    const policy = { conditions: ['unavailable'] }
    const again = grpcExchange(['grpc-previous-rpc-attempts', '1'])
    assert.equal((await send(policy, [status(14)], again)).tries.length, 1)
    const first = grpcExchange(['grpc-previous-rpc-attempts', '0'])
    assert.equal((await send(policy, [status(14)], first)).tries.length, 3)
  })
})

describe('what the sidecar of the server says is judged as if it had happened here', () => {
  const cases: readonly (readonly [reason: string, status: number, policy: Policy, sent: number])[] = [
    ['UPSTREAM_CONNECT; by=shop/orders-1', 14, { conditions: ['connect-failure'] }, 3],
    ['UPSTREAM_CONNECT; by=shop/orders-1', 14, { conditions: ['unavailable'] }, 3],
    ['UPSTREAM_RESET; by=shop/orders-1', 14, { conditions: ['unavailable'] }, 1],
    ['UPSTREAM_RESET; by=shop/orders-1', 14, { conditions: ['reset'], methods: ['POST'] }, 3],
    ['DRAINING; by=shop/orders-1', 14, { conditions: ['refused'] }, 3],
    ['OVERLOADED; by=shop/orders-1', 14, { conditions: ['connect-failure', 'refused', 'reset'] }, 1],
    ['DENIED; by=shop/orders-1', 7, { conditions: grpcWords, methods: ['POST'] }, 1],
  ]
  for (const [reason, grpcStatus, policy, sent] of cases) {
    test(`${reason} under ${String(policy.conditions)}: sent ${sent} times`, async () => {
      assert.equal((await send(policy, [status(grpcStatus, ['x-outrigger-reason', reason])])).tries.length, sent)
    })
  }
})

describe('pushback of the server', () => {
  const policy = { conditions: ['unavailable'] }
  const asks = (text: string): Outcome => status(14, ['grpc-retry-pushback-ms', text])

  test('it says when', async () => {
    const { tries } = await send(policy, [asks('700'), asks('1'), status(0)])
    assert.deepEqual(
      tries.map(({ at }) => at),
      [1_000, 1_700, 1_701],
    )
  })

  for (const text of ['-1', 'never', '', '1.5', '10001', '9999999999999']) {
    test(`"${text}": not again`, async () => assert.equal((await send(policy, [asks(text)])).tries.length, 1))
  }

  test('it may stand in trailers that came with the head', async () => {
    const outcome: Outcome = () => {
      const response = answer(200, ['content-type', 'application/grpc'])
      response.trailers = ['grpc-status', '14', 'grpc-retry-pushback-ms', '500']
      return response
    }
    const { tries } = await send(policy, [outcome, status(0)])
    assert.deepEqual(
      tries.map(({ at }) => at),
      [1_000, 1_500],
    )
  })

  test('longer than the caller waits: the answer is given at once', async () => {
    const { outcome, tries } = await send(policy, [asks('600')], grpcExchange(['grpc-timeout', '500m']))
    assert.equal(tries.length, 1)
    assert.ok(!(outcome instanceof MeshError))
    assert.equal(headerValue(outcome.headers, 'grpc-retry-pushback-ms'), '600')
  })
})

test('each try is told what is left', async () => {
  const call = grpcExchange(['grpc-timeout', '2S'])
  const { tries } = await send({ conditions: ['unavailable'] }, [status(14, ['grpc-retry-pushback-ms', '300'])], call)
  assert.deepEqual(
    tries.map(({ headers }) => headerValue(headers, 'grpc-timeout')),
    ['2000m', '1700m', '1400m'],
  )
})

test('the cause of a retry names the status', async () => {
  const { request } = await send({ conditions: ['unavailable'] }, [status(14), status(0)])
  assert.ok(request.decisions?.some(({ what }) => what === 'try 2 because of grpc-status UNAVAILABLE'))
})

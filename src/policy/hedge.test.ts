import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { exchange } from '../../test/support/exchanges.ts'
import { type Act, answers, type ScriptedOptions, ScriptedTries } from '../../test/support/scripted-tries.ts'
import type { RetrySchema } from '../api/gen/outrigger_pb.ts'
import { type Body, type BodySink, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { Exchange, type RequestHead, type Response } from '../base/exchange.ts'

const budget = { percent: 100, intervalMs: 600_000, minPerSecond: 10 }
const policy: MessageInitShape<typeof RetrySchema> = { budget, hedging: { delayMs: 50, attemptsMax: 2 } }
const slow = answers({ afterMs: 1_000 })
const hang = answers({ does: 'hang' })
const fast = answers({ afterMs: 10 })

async function run(acts: readonly Act[], options: Partial<ScriptedOptions> = {}, head: Partial<RequestHead> = {}) {
  const tries = new ScriptedTries({ acts, retry: policy, ...options })
  const request = exchange(head)
  request.decisions = []
  let endedAt = 0
  const outcome = tries.begin(request).finally(() => {
    endedAt = tries.clock.now()
  })
  await tries.clock.advance(30_000)
  const said = request.decisions.filter(({ layer }) => layer === 'hedge').map(({ what }) => what)
  return { tries, request, outcome: await outcome, tookMs: endedAt - 1_000, said, sent: tries.deliveries.length }
}

const told = (outcome: Response | MeshError): number | string =>
  outcome instanceof MeshError ? outcome.code : outcome.status

describe('a slow try gets company', () => {
  test('after the delay, at another endpoint; the first answer wins and the other try is ended', async () => {
    const { tries, request, outcome, tookMs, said } = await run([slow, fast])
    assert.equal(told(outcome), 200)
    assert.equal(tookMs, 60)
    assert.deepEqual(said, ['try 2 beside the one that runs: no answer within 50 ms'])
    const [first, second] = tries.deliveries
    assert.notEqual(first!.attempt.endpoint, second!.attempt.endpoint)
    assert.deepEqual([first!.error?.code, first!.endedAt], ['SUPERSEDED', 1_060])
    assert.equal(first!.attempt.error?.code, 'SUPERSEDED')
    assert.deepEqual([second!.attempt.hedge, second!.attempt.cause], [true, 'no answer within 50 ms'])
    // Telemetry takes the last attempt for the one that answered.
    assert.equal(request.attempts.at(-1), second!.attempt)
    assert.deepEqual((outcome as Response).headers, ['x-outrigger-attempt', '2'])
    assert.deepEqual(request.request.headers, [])
    assert.deepEqual(tries.leftOver, { inFlight: 0, timers: 0 })
  })

  test('the first try may win after all', async () => {
    const { tries, request, tookMs } = await run([answers({ afterMs: 70 }), slow])
    assert.equal(tookMs, 70)
    assert.equal(tries.deliveries[1]!.error?.code, 'SUPERSEDED')
    assert.equal(request.attempts.at(-1), tries.deliveries[0]!.attempt)
  })

  test('not when it was answered in time', async () => {
    const { sent, tries } = await run([answers({ afterMs: 49 })])
    assert.equal(sent, 1)
    assert.equal(tries.leftOver.timers, 0)
  })

  test('as often as the policy says, one delay apart', async () => {
    const hedging = { delayMs: 50, attemptsMax: 4 }
    const { tries } = await run([hang, hang, hang, answers({ afterMs: 500 })], {
      retry: { budget, hedging },
      endpoints: 9,
    })
    assert.deepEqual(
      tries.deliveries.map(({ beganAt }) => beganAt),
      [1_000, 1_050, 1_100, 1_150],
    )
    assert.equal(tries.running, 0)
  })

  test('each on a connection of its own that can be ended before it is made', async () => {
    const { tries } = await run([answers({ connectMs: 5_000 }), fast])
    assert.equal(tries.deliveries[0]!.error?.unsent, true)
  })
})

describe('no company', () => {
  const cases: readonly [string, Partial<ScriptedOptions>, Partial<RequestHead>, string?][] = [
    ['for methods that change something', {}, { method: 'PUT' }],
    ['for POST', {}, { method: 'POST' }],
    ['for a request to upgrade', {}, { upgrade: 'websocket' }],
    ['for a retry of the caller', {}, { headers: ['X-Outrigger-Attempt', '2'] }],
    ['where there is no other endpoint', { endpoints: 1 }, {}, 'no other endpoint'],
    [
      'without budget',
      { retry: { ...policy, budget: { percent: 20, intervalMs: 10_000, minPerSecond: 0 } } },
      {},
      'the retry budget is spent',
    ],
    ['without a policy', { retry: { retries: 1, budget } }, {}],
  ]
  for (const [why, options, head, words] of cases) {
    test(why, async () => {
      const { sent, said, tookMs } = await run([slow], options, head)
      assert.equal(sent, 1)
      assert.equal(tookMs, 1_000)
      assert.deepEqual(said, words === undefined ? [] : [`not hedged: ${words}`])
    })
  }

  test('the end of the budget is told', async () => {
    const { tries } = await run([slow], { retry: { ...policy, budget: { percent: 0, intervalMs: 10_000 } } })
    assert.deepEqual(
      tries.events.map(({ layer, outcome }) => [layer, outcome]),
      [['hedge', 'budget-exhausted']],
    )
  })

  test('a policy may name the methods', async () => {
    const hedging = { delayMs: 50, attemptsMax: 2, methods: ['POST'] }
    assert.equal((await run([slow], { retry: { budget, hedging } }, { method: 'POST' })).sent, 2)
    assert.equal((await run([slow], { retry: { budget, hedging } })).sent, 1)
  })
})

describe('what wins', () => {
  const codes = { ...policy, codes: [503] }

  test('an error waits for who still runs', async () => {
    const { outcome, tookMs } = await run([answers({ does: 'reset', afterMs: 60 }), answers({ afterMs: 100 })])
    assert.deepEqual([told(outcome), tookMs], [200, 150])
  })

  test('so does an answer that retry would repeat; one that it would not wins', async () => {
    const failing = [answers({ status: 503, afterMs: 60 }), answers({ afterMs: 100 })]
    assert.deepEqual(told((await run(failing, { retry: codes })).outcome), 200)
    assert.deepEqual(told((await run(failing)).outcome), 503)
  })

  test('the last failure is the answer, unless it hides that a request was delivered', async () => {
    const both = await run([answers({ does: 'garbage', afterMs: 100 }), answers({ does: 'reset', afterMs: 60 })])
    assert.equal(told(both.outcome), 'UPSTREAM_RESET')
    const hidden = await run([answers({ does: 'reset', afterMs: 60 }), answers({ does: 'refused', connectMs: 60 })])
    assert.equal(told(hidden.outcome), 'UPSTREAM_RESET')
    assert.equal((hidden.outcome as MeshError).unsent, false)
  })

  test('when all have failed retry goes on, and hedges are not had anew', async () => {
    const retry = { ...policy, retries: 1, codes: [503] }
    const failed = answers({ status: 503, afterMs: 100 })
    const { outcome, tries } = await run([failed, failed, slow], { retry, endpoints: 5 })
    assert.equal(told(outcome), 200)
    assert.deepEqual(
      tries.deliveries.map(({ attempt }) => [attempt.number, attempt.hedge]),
      [
        [1, false],
        [2, true],
        [3, false],
      ],
    )
  })

  test('a bug of ours ends it at once', async () => {
    const tries = new ScriptedTries({ acts: [hang], retry: policy })
    const request = exchange()
    const bug = new TypeError('bug')
    // The second choice of an endpoint throws.
    const backend = tries.backends.backend('shop/orders', 80)
    const choose = backend.choose.bind(backend)
    let chosen = 0
    backend.choose = (of) => {
      if (++chosen > 1) throw bug
      return choose(of)
    }
    request.servicePort = 80
    const outcome = assert.rejects(tries.serve(request), bug)
    await tries.clock.advance(100)
    await outcome
    assert.equal(tries.running, 0)
  })
})

describe('whoever ends the request ends every try', () => {
  test('the deadline', async () => {
    const { tries, outcome, tookMs } = await run([hang], { deadlineMs: 200 })
    assert.deepEqual([told(outcome), tookMs], ['DEADLINE', 200])
    assert.deepEqual(
      tries.deliveries.map(({ error }) => error?.code),
      ['DEADLINE', 'DEADLINE'],
    )
  })

  test('the client, while it waits and while the body comes', async () => {
    for (const body of [false, true]) {
      const act = body ? answers({ afterMs: 60, body: 'hangs' }) : hang
      const tries = new ScriptedTries({ acts: [hang, act], retry: policy })
      const request = exchange()
      const outcome = tries.begin(request)
      await tries.clock.advance(500)
      assert.equal(tries.running, body ? 1 : 2)
      request.cancel(new MeshError('DOWNSTREAM_RESET', 'gone'))
      await tries.clock.advance(0)
      assert.equal(told(await outcome), body ? 200 : 'DOWNSTREAM_RESET')
      assert.deepEqual(tries.leftOver, { inFlight: 0, timers: 0 })
    }
  })

  test('the time of one try ends that try alone', async () => {
    const { tries, outcome } = await run([hang, answers({ afterMs: 90 })], { perTryMs: 100 })
    assert.equal(told(outcome), 200)
    assert.deepEqual(
      tries.deliveries.map(({ error }) => error?.code),
      ['TRY_TIMEOUT', undefined],
    )
  })
})

test('a loser is no failure of its endpoint; one that failed by itself is', async () => {
  const policyOfBackend = {
    circuitBreakers: [{ volumeThreshold: 100, rollingWindowMs: 600_000 }],
    outlierDetection: { consecutive5xx: 1, baseEjectionMs: 60_000, maxEjectionPercent: 100 },
  }
  const lost = await run([slow, fast], { policy: policyOfBackend })
  const [service] = lost.tries.backends.snapshot()
  assert.deepEqual([service!.breaker?.requests, service!.breaker?.failures], [1, 0])
  assert.ok(service!.backends[0]!.endpoints.every(({ ejectedUntil }) => ejectedUntil === 0))
  const failed = await run([answers({ does: 'reset', afterMs: 60 }), answers({ afterMs: 100 })], {
    policy: policyOfBackend,
  })
  const [other] = failed.tries.backends.snapshot()
  assert.deepEqual([other!.breaker?.requests, other!.breaker?.failures], [2, 1])
})

describe('bodies', () => {
  const puts = { ...policy, hedging: { delayMs: 50, attemptsMax: 2, methods: ['PUT'] } }

  function put(tries: ScriptedTries, body: Body): Exchange {
    const { request, downstream } = exchange({ method: 'PUT' })
    const of = new Exchange({ request, body, downstream, startedAt: tries.clock.now() })
    void tries.begin(of)
    return of
  }

  class Pushed implements Body {
    readonly length = undefined
    readonly whole = undefined
    sink: BodySink | undefined
    pipe(sink: BodySink): void {
      this.sink = sink
    }
    pause(): void {}
    resume(): void {}
    discard(): void {}
  }

  test('one that is here goes with every try', async () => {
    const tries = new ScriptedTries({ acts: [slow], retry: puts })
    put(tries, new WholeBody('hello'))
    await tries.clock.advance(100)
    assert.equal(tries.deliveries.length, 2)
  })

  test('one that came while the first try ran, too; one that has not come whole, or is too large, prevents it', async () => {
    for (const [text, end, expected] of [
      ['hello', true, 2],
      ['hello', false, 1],
      ['x'.repeat(70_000), true, 1],
    ] as const) {
      const tries = new ScriptedTries({ acts: [slow], retry: puts })
      const body = new Pushed()
      const of = put(tries, body)
      of.body.pipe({ data: () => true, end: () => {}, fail: () => {} })
      body.sink!.data(Buffer.from(text))
      if (end) body.sink!.end(undefined)
      await tries.clock.advance(100)
      assert.equal(tries.deliveries.length, expected)
    }
  })
})

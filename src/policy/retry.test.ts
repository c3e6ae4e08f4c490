import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { answer, exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { RetrySchema } from '../api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../balance/backends.ts'
import { type Body, type BodySink, WholeBody } from '../base/body.ts'
import { MeshError, type MeshErrorCode, type MeshErrorOptions } from '../base/errors.ts'
import { type Exchange, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import type { PolicyEvent } from './env.ts'
import { retry } from './retry.ts'

type RetryInit = MessageInitShape<typeof RetrySchema>

const generous = { percent: 100, intervalMs: 10_000, minPerSecond: 1_000 }
const every = ['connect-failure', 'reset', 'refused', 'timeout', '5xx', 'breaker-open']

function setUp(policy: RetryInit, seed = 1) {
  const clock = new FakeClock(seed)
  const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} })
  const events: PolicyEvent[] = []
  const env = { clock, onEvent: (event: PolicyEvent) => void events.push(event) }
  const message = create(RetrySchema, { retries: 2, budget: generous, ...policy } as RetryInit)
  const layer = retry(message, backends.backend('shop/orders', 80), env)!
  /** Runs to the end, however long its backoffs are. */
  const run = async (request: Exchange, next: Service): Promise<Response | MeshError> => {
    const outcome = layer(next)(request).catch((error: unknown) => error as MeshError)
    await clock.advance(60_000)
    return outcome
  }
  return { clock, events, layer, run }
}

/** Answers what the list says, in turn; the last for ever. */
function script(outcomes: (number | MeshError)[]): { next: Service; sent: () => number } {
  let calls = 0
  return {
    sent: () => calls,
    next: () => {
      const outcome = outcomes[Math.min(calls++, outcomes.length - 1)]!
      return typeof outcome === 'number' ? Promise.resolve(answer(outcome)) : Promise.reject(outcome)
    },
  }
}

const fail = (code: MeshErrorCode, options: MeshErrorOptions = {}): MeshError => new MeshError(code, 'x', options)
const statusOf = (outcome: Response | MeshError): number | string =>
  outcome instanceof MeshError ? outcome.code : outcome.status

/** What happens first, policy, method; how often it is sent in all when it fails for ever (retries: 2). */
const table: [string, number | MeshError, RetryInit, string, number][] = [
  ['200', 200, { conditions: every }, 'GET', 1],
  ['404', 404, { conditions: every }, 'GET', 1],
  ['404 by code', 404, { codes: [404] }, 'GET', 3],
  ['503 by code', 503, { codes: [503] }, 'GET', 3],
  ['500 not among the codes', 500, { codes: [503] }, 'GET', 1],
  ['500 by 5xx', 500, { conditions: ['5xx'] }, 'GET', 3],
  ['500 is no gateway error', 500, { conditions: ['gateway-error'] }, 'GET', 1],
  ['502 by gateway-error', 502, { conditions: ['gateway-error'] }, 'GET', 3],
  ['503 with default conditions', 503, {}, 'GET', 1],
  ['503 to PUT', 503, { codes: [503] }, 'PUT', 3],
  ['503 to DELETE', 503, { codes: [503] }, 'DELETE', 3],
  ['503 to POST', 503, { codes: [503] }, 'POST', 1],
  ['503 to PATCH', 503, { codes: [503] }, 'PATCH', 1],
  ['503 to POST that may be repeated', 503, { codes: [503], methods: ['POST'] }, 'POST', 3],
  ['503 to GET that may not', 503, { codes: [503], methods: ['POST'] }, 'GET', 1],
  ['connect failure, default', fail('UPSTREAM_CONNECT', { unsent: true }), {}, 'GET', 3],
  ['connect failure of a POST', fail('UPSTREAM_CONNECT', { unsent: true }), {}, 'POST', 3],
  ['TLS failure of a POST', fail('UPSTREAM_TLS', { unsent: true }), { conditions: ['connect-failure'] }, 'POST', 3],
  ['wrong identity', fail('UPSTREAM_IDENTITY', { unsent: true }), { conditions: every }, 'GET', 1],
  ['connect failure, other condition', fail('UPSTREAM_CONNECT'), { conditions: ['reset'] }, 'GET', 1],
  ['reset of a GET', fail('UPSTREAM_RESET'), {}, 'GET', 3],
  ['reset of a POST, sent', fail('UPSTREAM_RESET'), { conditions: every }, 'POST', 1],
  ['reset of a POST, nothing sent', fail('UPSTREAM_RESET', { unsent: true }), { conditions: ['reset'] }, 'POST', 3],
  [
    'reset before anything was sent is refused',
    fail('UPSTREAM_RESET', { unsent: true }),
    { conditions: ['refused'] },
    'POST',
    3,
  ],
  ['reset after is not', fail('UPSTREAM_RESET'), { conditions: ['refused'] }, 'GET', 1],
  ['pool overflow', fail('POOL_OVERFLOW'), { conditions: ['refused'] }, 'POST', 3],
  ['try timeout of a GET', fail('TRY_TIMEOUT'), { conditions: ['timeout'] }, 'GET', 3],
  ['try timeout of a POST', fail('TRY_TIMEOUT'), { conditions: ['timeout'] }, 'POST', 1],
  ['deadline', fail('DEADLINE'), { conditions: every }, 'GET', 1],
  ['breaker open', fail('BREAKER_OPEN'), { conditions: ['breaker-open'] }, 'POST', 3],
  ['breaker open, not wanted', fail('BREAKER_OPEN'), { conditions: ['5xx'] }, 'GET', 1],
  ['no endpoint', fail('NO_HEALTHY_ENDPOINT', { unsent: true }), { conditions: every }, 'GET', 1],
  ['garbage', fail('UPSTREAM_PROTOCOL'), { conditions: every }, 'GET', 1],
  ['client gone', fail('DOWNSTREAM_RESET'), { conditions: every }, 'GET', 1],
  ['unexpected', fail('UNEXPECTED'), { conditions: every }, 'GET', 1],
  ['injected 503', fail('FAULT_ABORTED', { status: 503, unsent: true }), { codes: [503] }, 'POST', 3],
  ['injected 503, other code', fail('FAULT_ABORTED', { status: 503 }), { codes: [500] }, 'GET', 1],
  ['injected 500 by 5xx', fail('FAULT_ABORTED', { status: 500 }), { conditions: ['5xx'] }, 'GET', 3],
  ['injected reset', fail('FAULT_ABORTED', { reset: true }), { conditions: ['reset'] }, 'GET', 3],
]

describe('what is tried again', () => {
  for (const [what, outcome, policy, method, expected] of table) {
    test(`${what}: sent ${expected} times`, async () => {
      const { run } = setUp(policy)
      const { next, sent } = script([outcome])
      const result = await run(exchange({ method }), next)
      assert.equal(sent(), expected)
      // The last answer, or the last error, is the answer.
      assert.equal(statusOf(result), typeof outcome === 'number' ? outcome : outcome.code)
    })
  }
})

describe('what the sidecar of an endpoint says is judged as if it had happened here', () => {
  const cases: readonly [string, number, RetryInit, string, number][] = [
    ['UPSTREAM_RESET; by=shop/orders-1', 502, { conditions: ['reset'] }, 'GET', 3],
    ['UPSTREAM_RESET; by=shop/orders-1', 502, { conditions: ['reset'] }, 'POST', 1],
    ['UPSTREAM_RESET; by=shop/orders-1', 502, { conditions: ['connect-failure'] }, 'GET', 1],
    // The application was not reached: nothing was acted on.
    ['UPSTREAM_CONNECT; by=shop/orders-1', 503, { conditions: ['connect-failure'] }, 'POST', 3],
    ['POOL_OVERFLOW; by=shop/orders-1', 503, { conditions: ['refused'] }, 'POST', 3],
    ['DENIED; policy=AuthorizationPolicy/shop/x; version=1; by=shop/orders-1', 403, { conditions: every }, 'GET', 1],
    ['OVERLOADED; by=shop/orders-1', 503, { conditions: ['connect-failure', 'reset', 'refused'] }, 'GET', 1],
    ['NONSENSE', 502, { conditions: ['reset'] }, 'GET', 1],
  ]
  for (const [reason, status, policy, method, expected] of cases) {
    test(`${method}: ${status} ${reason}: sent ${expected} times`, async () => {
      const { run } = setUp(policy)
      let sent = 0
      await run(exchange({ method }), () => {
        sent++
        return Promise.resolve(answer(status, ['X-Outrigger-Reason', reason]))
      })
      assert.equal(sent, expected)
    })
  }
})

test('a retry that works is the answer, and both sides can see which try it was', async () => {
  const { run } = setUp({ codes: [503] })
  const request = exchange()
  const result = (await run(request, script([503, 503, 200]).next)) as Response
  assert.equal(result.status, 200)
  assert.deepEqual(result.headers, ['x-outrigger-attempt', '3'])
  assert.deepEqual(request.request.headers, ['x-outrigger-attempt', '3'])
})

test('a first try carries no mark', async () => {
  const { run } = setUp({ codes: [503] })
  const request = exchange()
  const result = (await run(request, script([200]).next)) as Response
  assert.deepEqual([...result.headers, ...request.request.headers], [])
})

test('an error that is no MeshError passes as it is', async () => {
  const { run } = setUp({ conditions: every })
  const bug = new TypeError('bug')
  const result: unknown = await run(exchange(), () => Promise.reject(bug))
  assert.equal(result, bug)
})

test('an answer that took several tries below is not tried again', async () => {
  const { run } = setUp({ codes: [503] })
  let sent = 0
  const below: Service = () => {
    sent++
    return Promise.resolve(answer(503, ['X-Outrigger-Attempt', '3']))
  }
  await run(exchange(), below)
  assert.equal(sent, 1)
})

test('a request that is a retry of its caller is not tried again', async () => {
  const { run } = setUp({ codes: [503] })
  const { next, sent } = script([503])
  await run(exchange({ headers: ['X-Outrigger-Attempt', '2'] }), next)
  assert.equal(sent(), 1)
  const first = script([503])
  await run(exchange({ headers: ['x-outrigger-attempt', '1'] }), first.next)
  assert.equal(first.sent(), 3)
})

test('the budget holds across requests, and its end is told', async () => {
  const { run, events } = setUp({ codes: [503], budget: { percent: 20, intervalMs: 60_000_000, minPerSecond: 0 } })
  const { next, sent } = script([503])
  for (let i = 0; i < 100; i++) await run(exchange(), next)
  assert.equal(sent(), 120)
  assert.ok(events.length > 0 && events.every((event) => event.outcome === 'budget-exhausted'))
})

test('a response that is given up is discarded', async () => {
  const { run } = setUp({ codes: [503] })
  const discarded: string[] = []
  let tries = 0
  await run(exchange(), () => {
    const name = String(++tries)
    const body: Body = {
      length: undefined,
      whole: undefined,
      pipe: () => {},
      pause: () => {},
      resume: () => {},
      discard: () => void discarded.push(name),
    }
    return Promise.resolve(new Response(503, '', [], body))
  })
  assert.deepEqual(discarded, ['1', '2'])
})

test('backoff grows, has full jitter, and stays below its maximum', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const clock = new FakeClock(seed)
    const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} })
    const policy = create(RetrySchema, {
      retries: 4,
      codes: [503],
      backoffBaseMs: 100,
      backoffMaxMs: 300,
      budget: generous,
    })
    const at: number[] = []
    const service = retry(policy, backends.backend('a/b', 80), { clock })!(() => {
      at.push(clock.now())
      return Promise.resolve(answer(503))
    })
    const done = service(exchange())
    await clock.advance(2_000)
    await done
    const waits = at.slice(1).map((time, i) => time - at[i]!)
    assert.equal(waits.length, 4)
    for (const [i, max] of [100, 200, 300, 300].entries()) assert.ok(waits[i]! >= 0 && waits[i]! <= max)
  }
})

test('a cancelled exchange does not start another try, nor finish its backoff', async () => {
  const { clock, layer } = setUp({ codes: [503], backoffBaseMs: 10_000, backoffMaxMs: 10_000 })
  const { next, sent } = script([503])
  const request = exchange()
  const outcome = layer(next)(request)
  const rejected = assert.rejects(outcome, { code: 'DEADLINE' })
  await clock.advance(0)
  request.cancel(fail('DEADLINE'))
  await rejected
  await clock.advance(60_000)
  assert.equal(sent(), 1)
})

test('a cancelled exchange keeps the answer that it has', async () => {
  const { run } = setUp({ codes: [503] })
  const request = exchange()
  let sent = 0
  const result = await run(request, (of) => {
    sent++
    of.cancel(fail('DOWNSTREAM_RESET'))
    return Promise.resolve(answer(503))
  })
  assert.equal(statusOf(result), 503)
  assert.equal(sent, 1)
})

test('a request to upgrade is not repeated once it was answered', async () => {
  const { run } = setUp({ codes: [503] })
  const { next, sent } = script([503])
  await run(exchange({ upgrade: 'websocket' }), next)
  assert.equal(sent(), 1)
})

test('no retries, no layer; an unknown condition is refused when policy is compiled', () => {
  const clock = new FakeClock()
  const backend = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} }).backend('a/b', 80)
  assert.equal(retry(undefined, backend, { clock }), undefined)
  assert.equal(retry(create(RetrySchema, { retries: 0, codes: [503] }), backend, { clock }), undefined)
  assert.throws(
    () => retry(create(RetrySchema, { retries: 1, conditions: ['resets'] }), backend, { clock }),
    /"resets" is not one of/,
  )
})

/** A body that is pushed by the test. */
class PushedBody implements Body {
  readonly length: number | undefined
  readonly whole: undefined = undefined
  discarded = 0
  #sink: BodySink | undefined
  constructor(length?: number) {
    this.length = length
  }
  pipe(sink: BodySink): void {
    assert.equal(this.#sink, undefined, 'a source flows once')
    this.#sink = sink
  }
  push(text: string): void {
    this.#sink!.data(Buffer.from(text))
  }
  end(): void {
    this.#sink!.end(undefined)
  }
  pause(): void {}
  resume(): void {}
  discard(): void {
    this.discarded++
  }
}

class Collect implements BodySink {
  text = ''
  ended = false
  data(chunk: Buffer): boolean {
    this.text += chunk.toString('latin1')
    return true
  }
  end(): void {
    this.ended = true
  }
  fail(): void {}
}

describe('bodies', () => {
  function streaming(body: Body): Exchange {
    const request = exchange({ method: 'PUT' })
    request.body = body
    return request
  }

  test('one that streams is sent again from its beginning', async () => {
    const { run } = setUp({ codes: [503] })
    const source = new PushedBody()
    const got: Collect[] = []
    const result = run(streaming(source), (of) => {
      const sink = new Collect()
      got.push(sink)
      of.body.pipe(sink)
      if (got.length === 1) {
        source.push('hel')
        return Promise.resolve(answer(503))
      }
      source.push('lo')
      source.end()
      return Promise.resolve(answer(200))
    })
    assert.equal(statusOf(await result), 200)
    assert.deepEqual(
      got.map(({ text, ended }) => [text, ended]),
      [
        ['hel', false],
        ['hello', true],
      ],
    )
  })

  test('an upstream that answers early does not take it from the next try', async () => {
    const { run } = setUp({ codes: [503] })
    const source = new PushedBody()
    const got: Collect[] = []
    const result = await run(streaming(source), (of) => {
      const sink = new Collect()
      got.push(sink)
      of.body.pipe(sink)
      if (got.length === 1) {
        source.push('hel')
        of.body.discard(fail('UPSTREAM_RESET'))
        return Promise.resolve(answer(503))
      }
      source.push('lo')
      source.end()
      return Promise.resolve(answer(200))
    })
    assert.equal(statusOf(result), 200)
    assert.equal(got[1]!.text, 'hello')
    assert.equal(source.discarded, 0)
  })

  test('what the last try does not want is discarded, before and after its answer', async () => {
    for (const early of [true, false]) {
      const { run } = setUp({ codes: [503], retries: 1 })
      const source = new PushedBody()
      const request = streaming(source)
      await run(request, (of) => {
        of.body.pipe(new Collect())
        if (early) of.body.discard(fail('UPSTREAM_RESET'))
        return Promise.resolve(answer(503))
      })
      if (!early) request.body.discard(fail('UPSTREAM_RESET'))
      assert.equal(source.discarded, 1)
    }
  })

  test('one past the limit is not sent again', async () => {
    const { run } = setUp({ codes: [503], bodyBytesMax: 4 })
    const source = new PushedBody()
    let sent = 0
    await run(streaming(source), (of) => {
      sent++
      of.body.pipe(new Collect())
      source.push('hello')
      return Promise.resolve(answer(503))
    })
    assert.equal(sent, 1)
  })

  test('one that is declared too large is sent again only if nobody asked for it', async () => {
    const { run } = setUp({ codes: [503], conditions: ['connect-failure'], bodyBytesMax: 4 })
    const refused = script([fail('UPSTREAM_CONNECT', { unsent: true })])
    await run(streaming(new PushedBody(5)), refused.next)
    assert.equal(refused.sent(), 3)
    let sent = 0
    await run(streaming(new PushedBody(5)), (of) => {
      sent++
      of.body.pipe(new Collect())
      return Promise.resolve(answer(503))
    })
    assert.equal(sent, 1)
  })

  test('one that is here already is sent whole each time', async () => {
    const { run } = setUp({ codes: [503] })
    const request = streaming(new WholeBody('hello'))
    const got: Collect[] = []
    await run(request, (of) => {
      const sink = new Collect()
      got.push(sink)
      of.body.pipe(sink)
      return Promise.resolve(answer(503))
    })
    assert.deepEqual(
      got.map(({ text }) => text),
      ['hello', 'hello', 'hello'],
    )
  })
})

test('whatever happens: never above the budget, never a second send of what may not be repeated', async () => {
  const outcome = fc.record({
    kind: fc.constantFrom(200, 404, 500, 503, 'UPSTREAM_RESET', 'UPSTREAM_CONNECT', 'TRY_TIMEOUT', 'UPSTREAM_PROTOCOL'),
    unsent: fc.boolean(),
  })
  const request = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH'),
    outcomes: fc.array(outcome, { minLength: 1, maxLength: 6 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 5 }),
      fc.nat(100),
      async (requests, retries, percent) => {
        const budget = { percent, intervalMs: 60_000_000, minPerSecond: 0 }
        const { run } = setUp({ retries, codes: [500, 503], conditions: every, budget })
        let extra = 0
        let seen = 0
        for (const { method, outcomes } of requests) {
          seen++
          let sends = 0
          let reached = false
          await run(exchange({ method }), () => {
            assert.ok(!(reached && (method === 'POST' || method === 'PATCH')), `${method} was sent twice`)
            const { kind, unsent } = outcomes[Math.min(sends++, outcomes.length - 1)]!
            if (typeof kind === 'number') {
              reached = true
              return Promise.resolve(answer(kind))
            }
            const nothingSent = kind === 'UPSTREAM_CONNECT' || unsent
            if (!nothingSent) reached = true
            return Promise.reject(fail(kind as MeshErrorCode, { unsent: nothingSent }))
          })
          assert.ok(sends <= retries + 1)
          extra += sends - 1
          assert.ok(extra <= (percent * seen) / 100, `${extra} retries of ${seen} requests at ${percent} %`)
        }
      },
    ),
    { numRuns: 500 },
  )
})

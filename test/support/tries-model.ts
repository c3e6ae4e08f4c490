/**
 * What must hold for any upstream, any policy of retries, hedging, times and breakers, and any clients: sequences are made
 * by fast-check, run under the real stack with a clock of the test's own, and what the upstream saw is held against the rules.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MeshError } from '../../src/base/errors.ts'
import type { Exchange, Response } from '../../src/base/exchange.ts'
import { grpcStatuses } from '../../src/base/grpc.ts'
import { exchange } from './exchanges.ts'
import { type Act, type Delivery, ScriptedTries } from './scripted-tries.ts'

const ms = fc.constantFrom(0, 1, 5, 20, 49, 50, 51, 80, 200, 700)

const act: fc.Arbitrary<Act> = fc.record({
  connectMs: fc.constantFrom(0, 0, 0, 5, 60, 500),
  does: fc.constantFrom('head', 'head', 'head', 'head', 'reset', 'refused', 'tls', 'overflow', 'garbage', 'hang'),
  afterMs: ms,
  status: fc.constantFrom(200, 200, 204, 404, 429, 500, 502, 503),
  grpcStatus: fc.constantFrom(0, 0, 1, 2, 4, 5, 8, 13, 14, 14),
  body: fc.constantFrom('whole', 'ends', 'breaks', 'hangs'),
  bodyMs: ms,
  retryAfter: fc.boolean(),
})

/** Half of them are idempotent; POST may be named by a policy. */
const method = fc.constantFrom('GET', 'PUT', 'POST', 'PATCH')

interface Client {
  readonly method: string
  /** Its POST is a gRPC call. */
  readonly grpc: boolean
  readonly atMs: number
  /** Leaves after so long; undefined: it has patience. */
  readonly leavesMs: number | undefined
  /** What it does with the answer. */
  readonly reads: boolean
}

const client: fc.Arbitrary<Client> = fc.record({
  method,
  grpc: fc.boolean(),
  atMs: fc.nat(2_000),
  leavesMs: fc.option(ms, { nil: undefined, freq: 4 }),
  reads: fc.boolean(),
})

const httpWords = ['connect-failure', 'refused', 'reset', 'timeout', '5xx', 'gateway-error', 'breaker-open']
const grpcWords = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable']

const policy = fc.record({
  retries: fc.constantFrom(0, 1, 2, 5),
  codes: fc.subarray([404, 429, 500, 503]),
  conditions: fc.subarray([...httpWords, ...grpcWords]),
  methods: fc.constantFrom<string[]>([], ['GET'], ['GET', 'POST']),
  backoffBaseMs: fc.constantFrom(1, 25),
  percent: fc.constantFrom(0, 20, 100),
  minPerSecond: fc.constantFrom(0, 0, 1),
  hedging: fc.option(
    fc.record({
      delayMs: fc.constantFrom(1, 50),
      attemptsMax: fc.integer({ min: 2, max: 4 }),
      methods: fc.constantFrom<string[]>([], ['GET', 'PUT'], ['POST']),
    }),
    { nil: undefined, freq: 4 },
  ),
  deadlineMs: fc.constantFrom(0, 30, 120, 1_000),
  perTryMs: fc.constantFrom(0, 10, 60, 300),
  breaker: fc.constantFrom('none', 'counts', 'opens'),
  endpoints: fc.integer({ min: 1, max: 4 }),
})

export const triesCase = fc.record({
  acts: fc.array(act, { minLength: 1, maxLength: 12 }),
  clients: fc.array(client, { minLength: 1, maxLength: 12 }),
  policy,
  seed: fc.nat(1_000_000),
})

type Case = typeof triesCase extends fc.Arbitrary<infer T> ? T : never
type Policy = Case['policy']

interface Done {
  readonly client: Client
  readonly exchange: Exchange
  readonly startedAt: number
  outcome: Response | MeshError | undefined
  settledAt: number
}

/** Interval of the budget; longer than any case, so that all of it counts. */
const intervalMs = 3_600_000

/** Runs one case and asserts every rule. */
export async function checkTries({ acts, clients, policy, seed }: Case): Promise<void> {
  const breaker = { rollingWindowMs: 36_000_000, resetTimeoutMs: 100 }
  const tries = new ScriptedTries({
    acts,
    seed,
    endpoints: policy.endpoints,
    deadlineMs: policy.deadlineMs,
    perTryMs: policy.perTryMs,
    retry: {
      retries: policy.retries,
      codes: policy.codes,
      conditions: policy.conditions,
      methods: policy.methods,
      backoffBaseMs: policy.backoffBaseMs,
      budget: { percent: policy.percent, intervalMs, minPerSecond: policy.minPerSecond },
      ...(policy.hedging !== undefined && { hedging: policy.hedging }),
    },
    policy: {
      circuitBreakers:
        policy.breaker === 'none'
          ? []
          : [{ ...breaker, volumeThreshold: policy.breaker === 'opens' ? 3 : 1_000_000, errorThresholdPercent: 50 }],
    },
  })
  const done: Done[] = []
  const { clock } = tries
  const zero = clock.now()
  for (const each of clients) {
    clock.after(each.atMs, () => {
      const of: Done = {
        client: each,
        exchange: exchange({
          method: each.method,
          headers: each.grpc ? ['content-type', 'application/grpc'] : [],
        }),
        startedAt: clock.now(),
        outcome: undefined,
        settledAt: -1,
      }
      done.push(of)
      void tries.begin(of.exchange).then((outcome) => {
        of.outcome = outcome
        of.settledAt = clock.now()
        if (outcome instanceof MeshError) return
        if (each.reads) outcome.body.pipe({ data: () => true, end: () => {}, fail: () => {} })
      })
      if (each.leavesMs !== undefined)
        clock.after(each.leavesMs, () => of.exchange.cancel(new MeshError('DOWNSTREAM_RESET', 'the client left')))
    })
  }
  await clock.advance(60_000)
  // What hangs for ever, hangs for a client that has patience for ever: it leaves in the end.
  for (const of of done) of.exchange.cancel(new MeshError('DOWNSTREAM_RESET', 'the client left in the end'))
  await clock.advance(60_000)

  for (const of of done) checkOne(of, tries, policy)
  checkBudget(done, tries, policy, zero)
  if (policy.breaker === 'counts') checkCounts(tries)
  if (policy.breaker === 'opens') checkProbes(tries)
  assert.deepEqual(tries.leftOver, { inFlight: 0, timers: 0 }, 'left over')
  assert.equal(tries.running, 0, 'tries that nobody ended')
}

function checkOne(of: Done, tries: ScriptedTries, policy: Policy): void {
  const { exchange: request, outcome, client: by } = of
  const mine = tries.deliveries.filter((delivery) => delivery.exchange === request)
  assert.ok(outcome !== undefined, 'it was answered')
  assert.equal(request.waiting, undefined, 'it waits for nothing')
  // The breaker rejects after an attempt was begun only for endpoints; here it is the Service's.
  assert.equal(request.attempts.length, mine.length)

  // Attempts: never more than the policy says, and what each was is told.
  const hedges = mine.filter(({ attempt }) => attempt.hedge).length
  const hedgesMax = hedgeable(by.method, policy) ? policy.hedging!.attemptsMax - 1 : 0
  assert.ok(hedges <= hedgesMax, `${hedges} hedges, of at most ${hedgesMax}`)
  assert.ok(
    mine.length - hedges <= policy.retries + 1,
    `${mine.length - hedges} tries, of at most ${policy.retries + 1}`,
  )
  assert.deepEqual(
    mine.map(({ attempt }) => attempt.number),
    mine.map((_, i) => i + 1),
  )

  checkDeliveries(mine, by.method, policy, request.isGrpc)
  checkTimes(of, mine, policy)

  // The answer is one that an upstream gave, by the try that stands last, and every other try is over.
  if (outcome instanceof MeshError) return
  const last = mine.find(({ attempt }) => attempt === request.attempts.at(-1))
  assert.equal(last?.status, outcome.status)
  assert.notEqual(last?.error?.code, 'SUPERSEDED')
  for (const delivery of mine) {
    if (delivery !== last) assert.ok(delivery.endedAt! <= of.settledAt, 'a try that is not the answer goes on')
    assert.equal(delivery.attempt.error, delivery.error, 'the attempt says how it ended')
  }
}

/**
 * Nothing is delivered twice that may not be: by retry only what `methods` names, or a call that the server said it could
 * not take on, side by side only what hedging names.
 */
function checkDeliveries(mine: readonly Delivery[], name: string, policy: Policy, isGrpc: boolean): void {
  const sent = mine.filter(({ sentAt }) => sentAt !== undefined).sort((a, b) => a.sentAt! - b.sentAt!)
  const ordinary = sent.filter(({ attempt }) => !attempt.hedge)
  const notTakenOn = (delivery: Delivery): boolean =>
    isGrpc && delivery.trailersOnly === grpcStatuses.UNAVAILABLE && policy.conditions.includes('unavailable')
  if (!repeatable(name, policy)) {
    for (const { attempt, beganAt } of ordinary.filter((delivery) => delivery.attempt.number > 1)) {
      const before = sent.filter((delivery) => delivery.attempt !== attempt && delivery.sentAt! <= beganAt)
      assert.ok(before.every(notTakenOn), `${name} was tried again after it had been delivered`)
    }
  }
  if (hedgeable(name, policy)) return
  for (const [i, delivery] of sent.entries()) {
    const next = sent[i + 1]
    if (next !== undefined) assert.ok(delivery.endedAt! <= next.sentAt!, 'two tries at the same time')
  }
}

/** The deadline holds for all tries and the body; the time of one try for each. */
function checkTimes(of: Done, mine: readonly Delivery[], { deadlineMs, perTryMs }: Policy): void {
  for (const { beganAt, endedAt } of mine) {
    if (deadlineMs > 0) {
      assert.ok(beganAt < of.startedAt + deadlineMs || beganAt === of.startedAt, 'a try begins after the deadline')
      assert.ok(endedAt! <= of.startedAt + deadlineMs + slackMs, 'a try goes on after the deadline')
    }
    if (perTryMs > 0) assert.ok(endedAt! <= beganAt + perTryMs + slackMs, 'a try goes on after its time')
  }
  if (deadlineMs > 0) assert.ok(of.settledAt <= of.startedAt + deadlineMs + slackMs, 'answered after the deadline')
}

/** Time limits of one length share a timer, which is set anew in whole milliseconds. */
const slackMs = 1

/** Retries and hedges are at most the larger of the share of requests and the floor, at every moment. */
function checkBudget(done: readonly Done[], tries: ScriptedTries, policy: Policy, zero: number): void {
  const floor = (policy.minPerSecond * intervalMs) / 1_000
  const further = tries.deliveries.filter(({ attempt }) => attempt.number > 1)
  for (const [i, { beganAt }] of further.entries()) {
    const requests = done.filter(({ startedAt }) => startedAt >= zero && startedAt <= beganAt).length
    const most = Math.max(floor, (policy.percent * requests) / 100)
    assert.ok(i + 1 <= most, `${i + 1} retries and hedges after ${requests} requests`)
  }
}

/** The breaker counts each try once, by what happened to it; tries that somebody ended say nothing about the upstream. */
function checkCounts(tries: ScriptedTries): void {
  let requests = 0
  let failures = 0
  for (const delivery of tries.deliveries) {
    const { status, error } = delivery
    const verdict = delivery.exchange.isGrpc && status === 200 ? callVerdict(delivery) : undefined
    const failed = verdict?.failed ?? (status >= 500 || (status === 0 && blamed(error!)))
    if (failed) failures++
    if (verdict?.counted ?? (failed || status !== 0)) requests++
  }
  const [service] = tries.backends.snapshot()
  assert.deepEqual([service!.breaker!.requests, service!.breaker!.failures], [requests, failures], 'the breaker counts')
}

/** A call whose answer has begun counts when it is over; not if the client or the clock ended it. */
function callVerdict({ trailersOnly, trailers, error }: Delivery): {
  readonly failed: boolean
  readonly counted: boolean
} {
  if (trailersOnly !== -1) return { failed: [2, 4, 13, 14, 15].includes(trailersOnly), counted: true }
  if (trailers !== -1) return { failed: [2, 13, 14, 15].includes(trailers), counted: true }
  const lost = error?.code === 'UPSTREAM_RESET'
  return { failed: lost, counted: lost }
}

function blamed(error: MeshError): boolean {
  return !['POOL_OVERFLOW', 'SUPERSEDED', 'DOWNSTREAM_RESET'].includes(error.code)
}

/** While the breaker of the Service is open nothing goes; while it is half-open one try at a time does, the probe. */
function checkProbes({ transitions, deliveries }: ScriptedTries): void {
  for (const [i, { to, deliveredBefore }] of transitions.entries()) {
    const during = deliveries.slice(deliveredBefore, transitions[i + 1]?.deliveredBefore)
    if (to === 'open') assert.equal(during.length, 0, 'a try while the breaker is open')
    if (to !== 'half-open') continue
    for (const [n, probe] of during.entries()) {
      const next = during[n + 1]
      if (next !== undefined) assert.ok(probe.endedAt! <= next.beganAt, 'two probes at the same time')
    }
  }
}

function repeatable(name: string, { methods }: Policy): boolean {
  return methods.length === 0 ? name === 'GET' || name === 'PUT' : methods.includes(name)
}

function hedgeable(name: string, { hedging }: Policy): boolean {
  if (hedging === undefined) return false
  return hedging.methods.length === 0 ? name === 'GET' : hedging.methods.includes(name)
}

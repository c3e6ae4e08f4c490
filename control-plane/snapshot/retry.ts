import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { HedgingSchema, type Retry, RetryBudgetSchema, RetrySchema } from '../../src/api/gen/outrigger_pb.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import type { Route } from '../model/route.ts'
import { policyRef } from './policy-ref.ts'

type RouteRetry = DocumentOf<'HTTPRoute'>['value']['spec']['rules'][number]['retry']

/** When only a BackendPolicy asks for retries: what failed before the request can have had an effect. */
const policyConditions = ['connect-failure', 'refused']
/** When a route asks: "connection errors (disconnect, reset, timeout, TCP failure)" too (GEP-1731). */
const routeConditions = ['connect-failure', 'refused', 'reset', 'timeout']
/** Safe to repeat by RFC 9110 section 9.2.2. */
const idempotentMethods = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']
/** Safe to send to several endpoints at a time: they change nothing (RFC 9110 section 9.2.1). */
const safeMethods = ['GET', 'HEAD', 'OPTIONS']
const retriesDefault = 1
const backoffDefault = '25ms'
const bodyBytesDefault = 65_536

/**
 * The retries of one rule: the route's own fields (`own`; a GRPCRoute has none), and from the Service's BackendPolicy what the route does not say.
 * Undefined = none. Retries never come without a budget: without one an outage becomes a retry storm.
 */
export function retry(
  route: Route | undefined,
  own: RouteRetry,
  policy: DocumentOf<'BackendPolicy'> | undefined,
): Retry | undefined {
  const shared = policy?.value.spec.retry
  const by = own === undefined ? policy : route
  const asked = own !== undefined || shared !== undefined
  const retries = asked ? (own?.attempts ?? shared?.attempts ?? retriesDefault) : 0
  const hedges = hedging(policy)
  if (by === undefined || (retries === 0 && hedges === undefined)) return undefined
  const backoffBaseMs = durationMs(own?.backoff ?? shared?.backoff?.base ?? backoffDefault)
  const backoffMax = shared?.backoff?.max
  return create(RetrySchema, {
    ref: policyRef(by),
    retries,
    codes: own?.codes ?? shared?.codes ?? [],
    conditions: shared?.retryOn ?? (own === undefined ? policyConditions : routeConditions),
    backoffBaseMs,
    // The route's base may be longer than the policy's longest wait.
    backoffMaxMs: backoffMax === undefined ? backoffBaseMs * 10 : Math.max(durationMs(backoffMax), backoffBaseMs),
    methods: shared?.methods ?? idempotentMethods,
    bodyBytesMax: shared?.maxBodyBytes ?? bodyBytesDefault,
    budget: budget(policy),
    ...(hedges !== undefined && { hedging: hedges }),
  })
}

/** A route cannot switch it off: it is about endpoints, of which routes know nothing. */
function hedging(policy: DocumentOf<'BackendPolicy'> | undefined) {
  const spec = policy?.value.spec.hedging
  if (policy === undefined || spec === undefined) return undefined
  return create(HedgingSchema, {
    ref: policyRef(policy),
    delayMs: durationMs(spec.delay),
    attemptsMax: spec.maxAttempts,
    methods: spec.methods ?? safeMethods,
  })
}

/** Gateway API's retryConstraint; its defaults where the policy has none. */
function budget(policy: DocumentOf<'BackendPolicy'> | undefined) {
  const constraint = policy?.value.spec.retryConstraint
  if (policy === undefined || constraint === undefined) {
    return create(RetryBudgetSchema, { percent: 20, intervalMs: 10_000, minPerSecond: 10 })
  }
  const { count, interval } = constraint.minRetryRate
  return create(RetryBudgetSchema, {
    ref: policyRef(policy),
    percent: constraint.budget.percent,
    intervalMs: durationMs(constraint.budget.interval),
    // Rounded down: a budget must never allow more than it says.
    minPerSecond: Math.floor((count * 1_000) / durationMs(interval)),
  })
}

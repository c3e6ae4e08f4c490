import type { DocumentOf } from '../../src/api/documents/document.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import type { Route } from '../model/route.ts'
import { policyRef } from './policy-ref.ts'

type RouteTimeouts = DocumentOf<'HTTPRoute'>['value']['spec']['rules'][number]['timeouts']

/**
 * The time limits of one rule: the route's own (a GRPCRoute has none), each where the route does not set it from the
 * BackendPolicy. Of a try, `retry.perTryTimeout` is the more particular word of the policy. 0 = none.
 */
export function timeouts(
  route: Route | undefined,
  own: RouteTimeouts,
  policy: DocumentOf<'BackendPolicy'> | undefined,
) {
  const shared = policy?.value.spec
  const whole = limit(route, own?.request, policy, shared?.timeouts?.request)
  const each = limit(
    route,
    own?.backendRequest,
    policy,
    shared?.retry?.perTryTimeout ?? shared?.timeouts?.backendRequest,
  )
  return {
    ...(whole !== undefined && { requestTimeoutMs: whole.ms, timeoutRef: whole.ref }),
    ...(each !== undefined && { backendRequestTimeoutMs: each.ms, backendRequestTimeoutRef: each.ref }),
  }
}

function limit(
  route: Route | undefined,
  own: string | undefined,
  policy: DocumentOf<'BackendPolicy'> | undefined,
  shared: string | undefined,
) {
  const by = own === undefined ? policy : route
  const ms = durationMs(own ?? shared ?? '0s')
  return ms === 0 || by === undefined ? undefined : { ms, ref: policyRef(by) }
}

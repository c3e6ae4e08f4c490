import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Backend, BackendSchema, type Rule, RuleSchema } from '../../src/api/gen/outrigger_pb.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import type { AttachedRoute } from '../model/attachment.ts'
import { resolveExtension } from '../model/extension-ref.ts'
import type { ModelView } from '../model/model-view.ts'
import { ruleFaults } from '../model/targets.ts'
import { type BackendContext, backend } from './backend.ts'
import { fault } from './fault.ts'
import { httpFilters } from './http-filter.ts'
import { policyRef } from './policy-ref.ts'
import { retry } from './retry.ts'
import { routeMatch } from './route-match.ts'

type RuleValue = DocumentOf<'HTTPRoute'>['value']['spec']['rules'][number]
type Policy = DocumentOf<'BackendPolicy'> | undefined

/** One rule of a route. `policy` is the enforced BackendPolicy of the parent Service. */
export function routeRule(model: ModelView, attached: AttachedRoute, at: number, policy: Policy): Rule {
  const { route } = attached
  const rule = route.value.spec.rules[at]!
  const context: BackendContext = { index: model.index, route }
  const broken = brokenExtension(model, route, rule)
  return create(RuleSchema, {
    ref: policyRef(route),
    name: rule.name ?? String(at),
    consumerNamespace: attached.consumerNamespace,
    port: attached.port,
    // An empty list in the document has the same meaning as none.
    matches: (rule.matches.length === 0 ? [{}] : rule.matches).map(routeMatch),
    filters: broken === undefined ? httpFilters(context, rule.filters ?? []) : [],
    backends: broken === undefined ? backends(context, rule) : [broken],
    ...timeouts(route, rule, policy),
    retry: retry(route, rule, policy),
    faults: ruleFaults(model.index, route, rule).map(fault),
  })
}

/** The rule of a port that no route controls: to the Service itself, on the port that was called. */
export function defaultRule(service: DocumentOf<'Service'>, port: number, policy: Policy): Rule {
  return create(RuleSchema, {
    name: 'default',
    port,
    matches: [routeMatch({})],
    backends: [create(BackendSchema, { namespace: service.namespace, name: service.name, port, weight: 1 })],
    ...timeouts(undefined, undefined, policy),
    retry: retry(undefined, undefined, policy),
  })
}

function backends(context: BackendContext, rule: RuleValue): Backend[] {
  return (rule.backendRefs ?? []).map((ref) =>
    backend(context, ref, ref.weight, httpFilters(context, ref.filters ?? [])),
  )
}

/**
 * "If a reference to a custom filter type cannot be resolved, the filter MUST NOT be skipped. Instead, requests [...]
 * MUST receive a HTTP error response" (HTTPRouteFilter): the rule gets one backend, which cannot be used.
 */
function brokenExtension(model: ModelView, route: DocumentOf<'HTTPRoute'>, rule: RuleValue): Backend | undefined {
  for (const { extensionRef } of rule.filters ?? []) {
    if (extensionRef === undefined) continue
    const resolved = resolveExtension(model.index, route, extensionRef)
    if (resolved.is === 'fault') continue
    const invalid =
      resolved.is === 'foreign'
        ? `filter ${resolved.what} ${extensionRef.name} is not one of the mesh's`
        : `filter FaultInjection ${route.namespace}/${extensionRef.name} does not exist`
    return create(BackendSchema, { namespace: route.namespace, name: extensionRef.name, weight: 1, invalid })
  }
  return undefined
}

/** The route's own limits; the time of one try comes from the BackendPolicy where the route says nothing about it. */
function timeouts(route: DocumentOf<'HTTPRoute'> | undefined, rule: RuleValue | undefined, policy: Policy) {
  const own = rule?.timeouts
  const perTry = policy?.value.spec.retry?.perTryTimeout
  const requestTimeoutMs = durationMs(own?.request ?? '0s')
  const backendRequestTimeoutMs = durationMs(own?.backendRequest ?? perTry ?? '0s')
  if (requestTimeoutMs === 0 && backendRequestTimeoutMs === 0) return {}
  const by = requestTimeoutMs > 0 || own?.backendRequest !== undefined ? route : policy
  return { requestTimeoutMs, backendRequestTimeoutMs, ...(by !== undefined && { timeoutRef: policyRef(by) }) }
}

import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Backend, BackendSchema, type Rule, RuleSchema } from '../../src/api/gen/outrigger_pb.ts'
import type { AttachedRoute } from '../model/attachment.ts'
import { resolveExtension } from '../model/extension-ref.ts'
import type { ModelView } from '../model/model-view.ts'
import { type Route, type RouteRule, rulesOf } from '../model/route.ts'
import { ruleFaults } from '../model/targets.ts'
import { type BackendContext, backend } from './backend.ts'
import { fault } from './fault.ts'
import { grpcMatch } from './grpc-match.ts'
import { httpFilters } from './http-filter.ts'
import { policyRef } from './policy-ref.ts'
import { retry } from './retry.ts'
import { routeMatch } from './route-match.ts'
import { timeouts } from './timeouts.ts'

type Policy = DocumentOf<'BackendPolicy'> | undefined

/** One rule of a route. `policy` is the enforced BackendPolicy of the parent Service. */
export function routeRule(model: ModelView, attached: AttachedRoute, at: number, policy: Policy): Rule {
  const { route } = attached
  const rule = rulesOf(route)[at]!
  const context: BackendContext = { index: model.index, route }
  const broken = brokenExtension(model, route, rule)
  return create(RuleSchema, {
    ref: policyRef(route),
    name: rule.name ?? String(at),
    consumerNamespace: attached.consumerNamespace,
    port: attached.port,
    filters: broken === undefined ? httpFilters(context, rule.filters ?? []) : [],
    backends: broken === undefined ? backends(context, rule) : [broken],
    ...(route.kind === 'HTTPRoute' ? httpRule(route, at, policy) : grpcRule(route, at, policy)),
    faults: ruleFaults(model.index, route, rule).map(fault),
  })
}

// An empty list of matches has the same meaning as none, in both kinds.

function httpRule(route: DocumentOf<'HTTPRoute'>, at: number, policy: Policy) {
  const rule = route.value.spec.rules[at]!
  return {
    matches: (rule.matches.length === 0 ? [{}] : rule.matches).map(routeMatch),
    ...timeouts(route, rule.timeouts, policy),
    retry: retry(route, rule.retry, policy),
  }
}

function grpcRule(route: DocumentOf<'GRPCRoute'>, at: number, policy: Policy) {
  const { matches = [] } = route.value.spec.rules[at]!
  return {
    matches: (matches.length === 0 ? [{}] : matches).map(grpcMatch),
    ...timeouts(route, undefined, policy),
    retry: retry(route, undefined, policy),
  }
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

function backends(context: BackendContext, rule: RouteRule): Backend[] {
  return (rule.backendRefs ?? []).map((ref) =>
    backend(context, ref, ref.weight, httpFilters(context, ref.filters ?? [])),
  )
}

/**
 * "If a reference to a custom filter type cannot be resolved, the filter MUST NOT be skipped. Instead, requests [...]
 * MUST receive a HTTP error response" (HTTPRouteFilter): the rule gets one backend, which cannot be used.
 */
function brokenExtension(model: ModelView, route: Route, rule: RouteRule): Backend | undefined {
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

// What HTTPRoute and GRPCRoute have in common: parents, backends, names of rules.
import { z } from 'zod'
import { crossField, type Report } from './cross-field.ts'
import { namespaceName, objectName, port } from './fields.ts'
import {
  backendReferenceFields,
  isServiceRef,
  missingFilters,
  type RouteFilter,
  servicePortNeeded,
} from './route-filter.ts'

/** Limits of Gateway API's CRDs. */
export const routeLimits = {
  rules: 16,
  matchesPerRule: 64,
  matchesTotal: 128,
  filters: 16,
  backendRefs: 16,
  parentRefs: 32,
}

const sectionName = z.string().min(1).max(253)

const parentRef = z
  .strictObject({
    group: z.string().default('gateway.networking.k8s.io').describe('API group of the parent; write "" for a Service.'),
    kind: z.string().min(1).default('Gateway').describe('Kind of the parent; write Service for mesh traffic.'),
    namespace: namespaceName()
      .optional()
      .describe("Namespace of the parent. Another one than the route's own makes it a consumer route."),
    name: objectName().describe('Name of the parent.'),
    sectionName: sectionName.optional().describe('Name of a port of the Service. Default: port, or all ports.'),
    port: port().optional().describe('Port of the Service. Default: all ports.'),
  })
  .check(
    crossField<{ group: string; kind: string }>(['group', 'kind'], ({ group, kind }, report) => {
      if (kind === 'Service' && group !== '' && group !== 'core') {
        report('a Service parent needs group: "" (without it Gateway API means its own group)', ['group'])
      }
    }),
  )

/** Fields of `spec` that every kind of route has, but for its rules. */
export const routeSpecFields = {
  parentRefs: z
    .array(parentRef)
    .max(routeLimits.parentRefs)
    .default([])
    .describe('What the route holds for: {group: "", kind: Service, name}.'),
  hostnames: z
    .array(z.string().min(1).max(253))
    .max(16)
    .optional()
    .describe('Hosts, for a Gateway parent; ignored for a Service parent (Gateway API mesh rule).'),
  useDefaultGateways: z.enum(['All', 'None']).optional().describe('Of Gateways; ignored for a Service parent.'),
}

/** Fields of a rule that every kind of route has. `none`: what becomes of requests without a backend. */
export function routeRuleFields<F extends z.ZodType<RouteFilter>>(filter: F, none: string) {
  const filters = () => z.array(filter).max(routeLimits.filters).optional()
  const backendRef = z
    .strictObject({
      ...backendReferenceFields,
      weight: z.int().min(0).max(1_000_000).default(1).describe('Share of requests, relative to the other backends.'),
      filters: filters().describe('Filters for the requests that this backend gets.'),
    })
    .check(
      servicePortNeeded,
      crossField<{ filters?: RouteFilter[] | undefined }>(['filters'], ({ filters: own }, report) => {
        for (const [at, { type }] of (own ?? []).entries()) {
          if (type === 'RequestRedirect' || type === 'ExtensionRef') {
            report(`${type} acts before a backend is chosen; put it in rules[].filters`, ['filters', at, 'type'])
          }
        }
        checkRepeats(own ?? [], report)
      }),
    )
  return {
    name: sectionName.optional().describe('Name, unique in the route; shown in traces and usable as sectionName.'),
    filters: filters().describe('Applied in this order.'),
    backendRefs: z
      .array(backendRef)
      .max(routeLimits.backendRefs)
      .optional()
      .describe(`Where requests go, by weight. None: ${none}.`),
    sessionPersistence: z.unknown().optional().describe('Not supported for a Service: refused there.'),
  }
}

interface CheckedRule {
  readonly name?: string | undefined
  readonly matches?: readonly unknown[] | undefined
  readonly filters?: RouteFilter[] | undefined
  readonly backendRefs?: { readonly filters?: RouteFilter[] | undefined }[] | undefined
  readonly sessionPersistence?: unknown
}

/** Rules over several rules of a route: how many matches, names that stand twice. */
export const rulesInOrder = crossField<{ rules: CheckedRule[] }>(['rules'], ({ rules }, report) => {
  const total = rules.reduce((sum, { matches = [] }) => sum + matches.length, 0)
  if (total > routeLimits.matchesTotal) {
    report(`${total} matches in all rules together; at most ${routeLimits.matchesTotal}`, ['rules'])
  }
  const names = new Set<string>()
  for (const [at, { name }] of rules.entries()) {
    if (name !== undefined && names.has(name)) report(`two rules are named "${name}"`, ['rules', at, 'name'])
    if (name !== undefined) names.add(name)
  }
})

/**
 * What the mesh does not have must not be passed over in silence: a route that relies on ExternalAuth would let everyone
 * in. Such a route is not in force (Gateway API: Accepted False, UnsupportedValue). What a Gateway makes of its routes is
 * its own concern.
 */
export const supportedForService = crossField<{ parentRefs: { group: string; kind: string }[]; rules: CheckedRule[] }>(
  ['parentRefs', 'rules'],
  ({ parentRefs, rules }, report) => {
    if (!parentRefs.some(isServiceRef)) return
    for (const [at, rule] of rules.entries()) checkMissing(rule, ['rules', at], report)
  },
)

function checkMissing(rule: CheckedRule, place: readonly (string | number)[], report: Report): void {
  const check = (filters: readonly RouteFilter[] = [], at: readonly (string | number)[]) => {
    for (const [i, { type }] of filters.entries()) {
      if (!missingFilters.has(type)) continue
      report(`filter ${type} is not supported for a Service`, [...at, 'filters', i, 'type'], 'not-supported')
    }
  }
  const { filters, backendRefs = [], sessionPersistence } = rule
  check(filters, place)
  for (const [i, ref] of backendRefs.entries()) check(ref.filters, [...place, 'backendRefs', i])
  if (sessionPersistence === undefined) return
  const message =
    'sessionPersistence is not supported for a Service; use BackendPolicy loadBalancer.algorithm: ConsistentHash'
  report(message, [...place, 'sessionPersistence'], 'not-supported')
}

/** Filters that say one thing may stand once. */
export function checkRepeats(filters: readonly RouteFilter[], report: Report): void {
  const seen = new Set<string>()
  for (const [at, { type }] of filters.entries()) {
    if (type !== 'RequestMirror' && type !== 'ExtensionRef' && seen.has(type)) {
      report(`filter ${type} may stand only once`, ['filters', at, 'type'])
    }
    seen.add(type)
  }
}

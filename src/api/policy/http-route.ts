import { z } from 'zod'
import { countSet, crossField, type Report } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { durationMs } from './duration.ts'
import { duration, namespaceName, objectName, port } from './fields.ts'
import {
  backendReferenceFields,
  isServiceRef,
  missingFilters,
  type RouteFilter,
  routeFilter,
  servicePortNeeded,
} from './route-filter.ts'
import { type RouteMatch, routeMatch } from './route-match.ts'

/** Limits of Gateway API's CRD. */
export const httpRouteLimits = {
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

const backendRef = z
  .strictObject({
    ...backendReferenceFields,
    weight: z.int().min(0).max(1_000_000).default(1).describe('Share of requests, relative to the other backends.'),
    filters: z
      .array(routeFilter)
      .max(httpRouteLimits.filters)
      .optional()
      .describe('Filters for the requests that this backend gets.'),
  })
  .check(
    servicePortNeeded,
    crossField<{ filters?: RouteFilter[] | undefined }>(['filters'], ({ filters }, report) => {
      for (const [at, { type }] of (filters ?? []).entries()) {
        if (type === 'RequestRedirect' || type === 'ExtensionRef') {
          report(`${type} acts before a backend is chosen; put it in rules[].filters`, ['filters', at, 'type'])
        }
      }
      checkRepeats(filters ?? [], report)
    }),
  )

const timeouts = z
  .strictObject({
    request: duration().optional().describe('Whole request, all tries included. 0s: none. Default: none.'),
    backendRequest: duration().optional().describe('One try. 0s: none. Default: none.'),
  })
  .check(
    crossField<{ request?: string | undefined; backendRequest?: string | undefined }>(
      ['request', 'backendRequest'],
      ({ request, backendRequest }, report) => {
        if (request === undefined || backendRequest === undefined || durationMs(request) === 0) return
        if (durationMs(backendRequest) > durationMs(request)) {
          report(`backendRequest (${backendRequest}) must not be longer than request (${request})`, ['backendRequest'])
        }
      },
    ),
  )

const retry = z.strictObject({
  codes: z
    .array(z.int().min(400).max(599))
    .max(200)
    .optional()
    .describe('Status codes that are retried. Default: those of BackendPolicy retry, else none.'),
  attempts: z
    .int()
    .min(0)
    .max(100)
    .optional()
    .describe('Retries after the first try; 0 switches retries off. Default: 1.')
    .meta({ default: 1 }),
  backoff: duration()
    .optional()
    .describe('Shortest wait before a retry; it doubles, with jitter. Default: 25ms.')
    .meta({ default: '25ms' }),
})

const rule = z
  .strictObject({
    name: sectionName.optional().describe('Name, unique in the route; shown in traces and usable as sectionName.'),
    matches: z
      .array(routeMatch)
      .max(httpRouteLimits.matchesPerRule)
      .default([{ path: { type: 'PathPrefix', value: '/' } }])
      .describe('Any one must hold. Default: every request.'),
    filters: z.array(routeFilter).max(httpRouteLimits.filters).optional().describe('Applied in this order.'),
    backendRefs: z
      .array(backendRef)
      .max(httpRouteLimits.backendRefs)
      .optional()
      .describe('Where requests go, by weight. None: 500, unless a filter answers.'),
    timeouts: timeouts.optional().describe('Time limits.'),
    retry: retry
      .optional()
      .describe(
        'Retries: of connections that fail, are refused, reset or time out, and of codes. BackendPolicy retry holds what is not set here.',
      ),
    sessionPersistence: z.unknown().optional().describe('Not supported for a Service: refused there.'),
  })
  .check(
    crossField<{ matches: RouteMatch[]; filters?: RouteFilter[] | undefined; backendRefs?: unknown[] | undefined }>(
      ['matches', 'filters', 'backendRefs'],
      ({ matches, filters = [], backendRefs = [] }, report) => {
        checkRepeats(filters, report)
        checkRedirect(filters, backendRefs.length > 0, report)
        checkPrefixRewrite(filters, matches, report)
      },
    ),
  )

const spec = z
  .strictObject({
    parentRefs: z
      .array(parentRef)
      .max(httpRouteLimits.parentRefs)
      .default([])
      .describe('What the route holds for: {group: "", kind: Service, name}.'),
    hostnames: z
      .array(z.string().min(1).max(253))
      .max(16)
      .optional()
      .describe('Hosts, for a Gateway parent; ignored for a Service parent (Gateway API mesh rule).'),
    rules: z
      .array(rule)
      .min(1)
      .max(httpRouteLimits.rules)
      .default([{ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }])
      .describe('The rule whose match is most specific decides; a request that none matches gets 404.'),
    useDefaultGateways: z.enum(['All', 'None']).optional().describe('Of Gateways; ignored for a Service parent.'),
  })
  .check(
    crossField<{ rules: { name?: string | undefined; matches: unknown[] }[] }>(['rules'], ({ rules }, report) => {
      const total = rules.reduce((sum, { matches }) => sum + matches.length, 0)
      if (total > httpRouteLimits.matchesTotal) {
        report(`${total} matches in all rules together; at most ${httpRouteLimits.matchesTotal}`, ['rules'])
      }
      const names = new Set<string>()
      for (const [at, { name }] of rules.entries()) {
        if (name !== undefined && names.has(name)) report(`two rules are named "${name}"`, ['rules', at, 'name'])
        if (name !== undefined) names.add(name)
      }
    }),
    crossField<{ parentRefs: { group: string; kind: string }[]; rules: MissableRule[] }>(
      ['parentRefs', 'rules'],
      ({ parentRefs, rules }, report) => {
        // What a Gateway makes of its routes is its own concern.
        if (parentRefs.some(isServiceRef)) checkMissing(rules, report)
      },
    ),
  )
  .describe('What the route does.')

/** Gateway API HTTPRoute with a Service parent (GAMMA). */
export const httpRoute = strictDocument(
  'gateway.networking.k8s.io/v1',
  'HTTPRoute',
  spec,
  'Routes requests to a Service by path, header, query and method: weights, filters, timeouts, retries.',
)

/** Gateway API HTTPRoute with a Service parent (GAMMA). */
export type HTTPRoute = z.infer<typeof httpRoute>
/** One rule of an HTTPRoute. */
export type HTTPRouteRule = HTTPRoute['spec']['rules'][number]
/** One backend of a rule. */
export type HTTPBackendRef = NonNullable<HTTPRouteRule['backendRefs']>[number]

interface MissableRule {
  readonly filters?: RouteFilter[] | undefined
  readonly backendRefs?: { readonly filters?: RouteFilter[] | undefined }[] | undefined
  readonly sessionPersistence?: unknown
}

/**
 * What the mesh does not have must not be passed over in silence: a route that relies on ExternalAuth would let everyone
 * in. Such a route is not in force (Gateway API: Accepted False, UnsupportedValue).
 */
function checkMissing(rules: readonly MissableRule[], report: Report): void {
  const check = (filters: readonly RouteFilter[] = [], place: readonly (string | number)[]) => {
    for (const [at, { type }] of filters.entries()) {
      if (!missingFilters.has(type)) continue
      report(`filter ${type} is not supported for a Service`, [...place, 'filters', at, 'type'], 'not-supported')
    }
  }
  for (const [at, { filters, backendRefs = [], sessionPersistence }] of rules.entries()) {
    check(filters, ['rules', at])
    for (const [i, ref] of backendRefs.entries()) check(ref.filters, ['rules', at, 'backendRefs', i])
    if (sessionPersistence === undefined) continue
    const message =
      'sessionPersistence is not supported for a Service; use BackendPolicy loadBalancer.algorithm: ConsistentHash'
    report(message, ['rules', at, 'sessionPersistence'], 'not-supported')
  }
}

function checkRepeats(filters: readonly RouteFilter[], report: Report): void {
  const seen = new Set<string>()
  for (const [at, { type }] of filters.entries()) {
    if (type !== 'RequestMirror' && type !== 'ExtensionRef' && seen.has(type)) {
      report(`filter ${type} may stand only once`, ['filters', at, 'type'])
    }
    seen.add(type)
  }
}

function checkRedirect(filters: readonly RouteFilter[], hasBackends: boolean, report: Report): void {
  const redirect = filters.findIndex(({ type }) => type === 'RequestRedirect')
  if (redirect === -1) return
  if (hasBackends) report('a rule with RequestRedirect answers by itself and cannot have backendRefs', ['backendRefs'])
  if (filters.some(({ type }) => type === 'URLRewrite')) {
    report('RequestRedirect and URLRewrite cannot stand in the same rule', ['filters', redirect, 'type'])
  }
}

function checkPrefixRewrite(filters: readonly RouteFilter[], matches: readonly RouteMatch[], report: Report): void {
  const prefixes = matches.filter(({ path }) => path === undefined || path.type === 'PathPrefix')
  for (const [at, { requestRedirect, urlRewrite }] of filters.entries()) {
    const fields = { requestRedirect: requestRedirect?.path, urlRewrite: urlRewrite?.path }
    if (countSet(fields, ['requestRedirect', 'urlRewrite']) === 0) continue
    for (const [field, path] of Object.entries(fields)) {
      if (path?.type !== 'ReplacePrefixMatch') continue
      if (matches.length !== 1 || prefixes.length !== 1) {
        report('ReplacePrefixMatch needs exactly one match in its rule, of type PathPrefix', [
          'filters',
          at,
          field,
          'path',
          'type',
        ])
      }
    }
  }
}

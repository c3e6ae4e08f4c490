import { z } from 'zod'
import { countSet, crossField, type Report } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { duration } from './fields.ts'
import { type RouteFilter, routeFilter } from './route-filter.ts'
import { type RouteMatch, routeMatch } from './route-match.ts'
import {
  checkRepeats,
  routeLimits,
  routeRuleFields,
  routeSpecFields,
  rulesInOrder,
  supportedForService,
} from './route-spec.ts'
import { timeouts } from './timeouts.ts'

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

const { name, filters, backendRefs, sessionPersistence } = routeRuleFields(routeFilter, '500, unless a filter answers')

const rule = z
  .strictObject({
    name,
    matches: z
      .array(routeMatch)
      .max(routeLimits.matchesPerRule)
      .default([{ path: { type: 'PathPrefix', value: '/' } }])
      .describe('Any one must hold. Default: every request.'),
    filters,
    backendRefs,
    timeouts: timeouts({
      request: 'that of BackendPolicy timeouts, else none',
      backendRequest: 'that of BackendPolicy retry.perTryTimeout or timeouts, else none',
    })
      .optional()
      .describe('Time limits.'),
    retry: retry
      .optional()
      .describe(
        'Retries: of connections that fail, are refused, reset or time out, and of codes. BackendPolicy retry holds what is not set here.',
      ),
    sessionPersistence,
  })
  .check(
    crossField<{ matches: RouteMatch[]; filters?: RouteFilter[] | undefined; backendRefs?: unknown[] | undefined }>(
      ['matches', 'filters', 'backendRefs'],
      ({ matches, filters: own = [], backendRefs: refs = [] }, report) => {
        checkRepeats(own, report)
        checkRedirect(own, refs.length > 0, report)
        checkPrefixRewrite(own, matches, report)
      },
    ),
  )

const { parentRefs, hostnames, useDefaultGateways } = routeSpecFields

const spec = z
  .strictObject({
    parentRefs,
    hostnames,
    rules: z
      .array(rule)
      .min(1)
      .max(routeLimits.rules)
      .default([{ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }])
      .describe('The rule whose match is most specific decides; a request that none matches gets 404.'),
    useDefaultGateways,
  })
  .check(rulesInOrder, supportedForService)
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

import { z } from 'zod'
import { crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { grpcMatch } from './grpc-match.ts'
import { grpcRouteFilter, isServiceRef, type RouteFilter } from './route-filter.ts'
import {
  checkRepeats,
  routeLimits,
  routeRuleFields,
  routeSpecFields,
  rulesInOrder,
  supportedForService,
} from './route-spec.ts'

const { name, filters, backendRefs, sessionPersistence } = routeRuleFields(grpcRouteFilter, 'UNAVAILABLE (14)')

const rule = z
  .strictObject({
    name,
    matches: z
      .array(grpcMatch)
      .max(routeLimits.matchesPerRule)
      .optional()
      .describe('Any one must hold. Default: every gRPC request.'),
    filters,
    backendRefs,
    sessionPersistence,
  })
  .check(
    crossField<{ filters?: RouteFilter[] | undefined }>(['filters'], ({ filters: own = [] }, report) =>
      checkRepeats(own, report),
    ),
  )

const { parentRefs, hostnames, useDefaultGateways } = routeSpecFields

const spec = z
  .strictObject({
    parentRefs,
    hostnames,
    rules: z
      .array(rule)
      .max(routeLimits.rules)
      .default([])
      .describe(
        'The rule whose match is most specific decides. A gRPC request that none matches gets UNIMPLEMENTED (12), any other request 404.',
      ),
    useDefaultGateways,
  })
  .check(
    rulesInOrder,
    supportedForService,
    crossField<{ parentRefs: { group: string; kind: string }[]; rules: unknown[] }>(
      ['parentRefs', 'rules'],
      ({ parentRefs: parents, rules }, report) => {
        // Gateway API lets it pass, and it would take all requests of the Service and send them nowhere.
        if (rules.length === 0 && parents.some(isServiceRef)) {
          report('a GRPCRoute for a Service needs a rule; one with backendRefs alone takes every gRPC request', [
            'rules',
          ])
        }
      },
    ),
  )
  .describe('What the route does.')

/** Gateway API GRPCRoute with a Service parent (GAMMA). */
export const grpcRoute = strictDocument(
  'gateway.networking.k8s.io/v1',
  'GRPCRoute',
  spec,
  'Routes gRPC requests to a Service by service, method and header: weights and filters. BackendPolicy has timeouts and retries.',
)

/** Gateway API GRPCRoute with a Service parent (GAMMA). */
export type GRPCRoute = z.infer<typeof grpcRoute>

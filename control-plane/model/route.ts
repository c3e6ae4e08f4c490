/** What the model knows of a route whatever its kind. */
import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import type { BackendReference } from './backend-ref.ts'
import type { DocumentIndex } from './document-index.ts'

/** Kinds of routes; the first one that holds for a port has it alone (GEP-1294, "Route types"). */
export const routeKinds = ['GRPCRoute', 'HTTPRoute'] as const satisfies readonly Kind[]

export type RouteKind = (typeof routeKinds)[number]

export type Route = { [K in RouteKind]: DocumentOf<K> }[RouteKind]

/** The part of a rule that every kind of route has. */
export interface RouteRule {
  readonly name?: string | undefined
  readonly filters?: readonly RouteFilter[] | undefined
  readonly backendRefs?:
    | readonly (BackendReference & {
        readonly weight: number
        readonly filters?: readonly RouteFilter[] | undefined
      })[]
    | undefined
}

export function isRouteKind(kind: string): kind is RouteKind {
  return (routeKinds as readonly string[]).includes(kind)
}

export function rulesOf(route: Route): readonly RouteRule[] {
  return route.value.spec.rules
}

export function findRoute(index: DocumentIndex, kind: RouteKind, namespace: string, name: string): Route | undefined {
  return kind === 'GRPCRoute' ? index.find(kind, namespace, name) : index.find(kind, namespace, name)
}

/** All routes, each kind in order of precedence. */
export function allRoutes(index: DocumentIndex): readonly Route[] {
  return [...index.all('GRPCRoute'), ...index.all('HTTPRoute')]
}

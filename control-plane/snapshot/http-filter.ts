import { create } from '@bufbuild/protobuf'
import {
  type HeaderModifier,
  HeaderModifierSchema,
  type HttpFilter,
  HttpFilterSchema,
  MirrorSchema,
  PathRewrite,
  RedirectSchema,
  RewriteSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import { type BackendContext, backend } from './backend.ts'

/**
 * The filters of a rule or backend, in their order. An ExtensionRef becomes a fault of the rule, not a filter. A mirror
 * whose backend cannot be resolved is left out, as Gateway API asks: the requests themselves are not affected.
 */
export function httpFilters(context: BackendContext, filters: readonly RouteFilter[]): HttpFilter[] {
  return filters.map((filter) => httpFilter(context, filter)).filter((filter) => filter !== undefined)
}

function httpFilter(context: BackendContext, filter: RouteFilter): HttpFilter | undefined {
  const { requestHeaderModifier, responseHeaderModifier, requestRedirect, urlRewrite, requestMirror } = filter
  if (requestHeaderModifier !== undefined) {
    return of({ case: 'requestHeaders', value: headerModifier(requestHeaderModifier) })
  }
  if (responseHeaderModifier !== undefined) {
    return of({ case: 'responseHeaders', value: headerModifier(responseHeaderModifier) })
  }
  if (requestRedirect !== undefined) {
    const { scheme = '', hostname = '', port = 0, statusCode: status } = requestRedirect
    const value = create(RedirectSchema, { scheme, hostname, port, status, ...pathRewrite(requestRedirect.path) })
    return of({ case: 'redirect', value })
  }
  if (urlRewrite !== undefined) {
    const value = create(RewriteSchema, { hostname: urlRewrite.hostname ?? '', ...pathRewrite(urlRewrite.path) })
    return of({ case: 'rewrite', value })
  }
  if (requestMirror !== undefined) {
    const target = backend(context, requestMirror.backendRef, 1, [])
    if (target.invalid !== '') return undefined
    return of({ case: 'mirror', value: create(MirrorSchema, { backend: target, ppm: mirrorPpm(requestMirror) }) })
  }
  return undefined
}

function of(filter: HttpFilter['filter']): HttpFilter {
  return create(HttpFilterSchema, { filter })
}

function headerModifier(modifier: NonNullable<RouteFilter['requestHeaderModifier']>): HeaderModifier {
  const { set = [], add = [], remove = [] } = modifier
  return create(HeaderModifierSchema, { set, add, remove })
}

function pathRewrite(path: NonNullable<RouteFilter['urlRewrite']>['path']): { pathType: PathRewrite; path: string } {
  if (path === undefined) return { pathType: PathRewrite.UNSPECIFIED, path: '' }
  if (path.type === 'ReplaceFullPath') return { pathType: PathRewrite.FULL, path: path.replaceFullPath ?? '' }
  return { pathType: PathRewrite.PREFIX, path: path.replacePrefixMatch ?? '' }
}

function mirrorPpm(mirror: NonNullable<RouteFilter['requestMirror']>): number {
  if (mirror.fraction !== undefined) {
    return Math.round((mirror.fraction.numerator / mirror.fraction.denominator) * 1_000_000)
  }
  return (mirror.percent ?? 100) * 10_000
}

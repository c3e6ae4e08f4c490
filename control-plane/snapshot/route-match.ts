import { create } from '@bufbuild/protobuf'
import {
  type KeyMatch,
  KeyMatchSchema,
  type RouteMatch,
  RouteMatchSchema,
  StringMatchType,
} from '../../src/api/gen/outrigger_pb.ts'
import type { RouteMatch as RouteMatchValue } from '../../src/api/policy/route-match.ts'

const types = {
  Exact: StringMatchType.EXACT,
  PathPrefix: StringMatchType.PREFIX,
  RegularExpression: StringMatchType.REGEX,
} as const

/** One match of a rule or of a fault. Without a path it is PathPrefix "/" (Gateway API's default). */
export function routeMatch(match: RouteMatchValue): RouteMatch {
  return create(RouteMatchSchema, {
    pathType: types[match.path?.type ?? 'PathPrefix'],
    path: match.path?.value ?? '/',
    method: match.method ?? '',
    headers: (match.headers ?? []).map(keyMatch),
    query: (match.queryParams ?? []).map(keyMatch),
  })
}

/** One header or query parameter. */
export function keyMatch(match: { type: 'Exact' | 'RegularExpression'; name: string; value: string }): KeyMatch {
  return create(KeyMatchSchema, { name: match.name, type: types[match.type], value: match.value })
}

import { create } from '@bufbuild/protobuf'
import { GrpcMatchSchema, type RouteMatch, RouteMatchSchema, StringMatchType } from '../../src/api/gen/outrigger_pb.ts'
import { type GrpcMatch, pathExpression } from '../../src/api/policy/grpc-match.ts'
import { keyMatch } from './route-match.ts'

/**
 * One match of a GRPCRoute, as a match on the path "/SERVICE/METHOD". So the sidecar's order of paths (exact, longest
 * prefix, regular expression, anything) is Gateway API's order of GRPCRoutes: characters of the service, then of the method.
 */
export function grpcMatch({ method, headers = [] }: GrpcMatch): RouteMatch {
  const { type = 'Exact', service = '', method: name = '' } = method ?? {}
  return create(RouteMatchSchema, {
    ...path(type, service, name),
    headers: headers.map(keyMatch),
    grpc: create(GrpcMatchSchema, { serviceCharacters: service.length, methodCharacters: name.length }),
  })
}

function path(type: 'Exact' | 'RegularExpression', service: string, method: string) {
  if (service === '' && method === '') return { pathType: StringMatchType.PREFIX, path: '/' }
  if (type === 'RegularExpression') {
    return { pathType: StringMatchType.REGEX, path: pathExpression({ service, method }) }
  }
  if (method === '') return { pathType: StringMatchType.PREFIX, path: `/${service}` }
  // The name of a method has no character that means something in an expression.
  if (service === '') return { pathType: StringMatchType.REGEX, path: `/[^/]+/${method}` }
  return { pathType: StringMatchType.EXACT, path: `/${service}/${method}` }
}

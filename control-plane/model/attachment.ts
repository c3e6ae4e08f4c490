import type { DocumentOf } from '../../src/api/documents/document.ts'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import { isServiceRef } from '../../src/api/policy/route-filter.ts'
import type { DocumentIndex } from './document-index.ts'
import { objectKey } from './document-key.ts'
import { servicePortProtocol } from './opaque-ports.ts'
import { allRoutes, type Route } from './route.ts'
import { meshPorts } from './service-ports.ts'

type ParentRef = Route['value']['spec']['parentRefs'][number]

/** A route that holds for a Service, or for one port of it. */
export interface AttachedRoute {
  readonly route: Route
  /** 0 = every port. */
  readonly port: number
  /** The namespace whose callers it holds for; '' = all of them (a producer route). */
  readonly consumerNamespace: string
}

/** Whether a parentRef names a Service; others (Gateway) are not for the mesh. */
export const isServiceParent: (ref: ParentRef) => boolean = isServiceRef

/** What became of one parentRef of a route. */
export type Attachment =
  | { readonly is: 'attached'; readonly service: DocumentOf<'Service'>; readonly port: number }
  | { readonly is: 'no-service' }
  | { readonly is: 'no-port'; readonly service: DocumentOf<'Service'> }

/**
 * Resolves a Service parent. `port` and `sectionName` (the name of a port, for a Service) must both hold where both
 * are given; a parentRef that names a port which does not exist attaches to nothing (Gateway API ParentReference).
 */
export function attach(index: DocumentIndex, route: Route, ref: ParentRef): Attachment {
  const service = index.find('Service', ref.namespace ?? route.namespace, ref.name)
  if (service === undefined) return { is: 'no-service' }
  if (ref.port === undefined && ref.sectionName === undefined) return { is: 'attached', service, port: 0 }
  const port = meshPorts(service).find(
    (p) =>
      (ref.port === undefined || p.port === ref.port) && (ref.sectionName === undefined || p.name === ref.sectionName),
  )
  return port === undefined ? { is: 'no-port', service } : { is: 'attached', service, port: port.port }
}

/**
 * The routes of every Service, by `NS/NAME`, in Gateway API's order of last resort: oldest, then name. A route in the
 * Service's own namespace holds for every caller, one elsewhere for callers of its own namespace (GEP-1426). What a
 * GRPCRoute has taken from an HTTPRoute is not among them.
 */
export function routesByService(index: DocumentIndex): ReadonlyMap<string, readonly AttachedRoute[]> {
  const routes = new Map<string, AttachedRoute[]>()
  const services = new Map<string, DocumentOf<'Service'>>()
  for (const route of allRoutes(index)) {
    for (const ref of route.value.spec.parentRefs) {
      const attachment = isServiceParent(ref) ? attach(index, route, ref) : undefined
      if (attachment?.is !== 'attached') continue
      const { service } = attachment
      const key = objectKey(service)
      let attached = routes.get(key) ?? []
      for (const port of portsFor(route, service, attachment.port)) {
        if (attached.some((a) => a.route === route && (a.port === port || a.port === 0))) continue
        attached = [...attached, { route, port, consumerNamespace: consumersOf(route, service) }]
      }
      routes.set(key, attached)
      services.set(key, service)
    }
  }
  for (const [key, attached] of routes) routes.set(key, settle(attached, services.get(key)!))
  return routes
}

/** The namespace whose callers a route holds for; '' = all of them. */
function consumersOf(route: Route, service: DocumentOf<'Service'>): string {
  return route.namespace === service.namespace ? '' : route.namespace
}

/**
 * Ports of an attachment on which a route can see requests, by what the Service declares: no route sees those of an opaque
 * port, a GRPCRoute none of a port for HTTP/1.1, where nothing can be gRPC.
 */
export function seenPorts(route: Route, service: DocumentOf<'Service'>, port: number): number[] {
  const blind: readonly Protocol[] = [
    Protocol.TCP,
    Protocol.TLS,
    ...(route.kind === 'GRPCRoute' ? [Protocol.HTTP1] : []),
  ]
  return meshPorts(service)
    .filter((one) => (port === 0 || one.port === port) && !blind.includes(servicePortProtocol(service, one)))
    .map((one) => one.port)
}

/** 0 = all. A GRPCRoute leaves requests alone that are none of its own: on the Service's ports for HTTP/1.1. */
function portsFor(route: Route, service: DocumentOf<'Service'>, port: number): readonly number[] {
  if (route.kind === 'HTTPRoute') return [port]
  const meant = meshPorts(service).filter((one) => port === 0 || one.port === port)
  const isForAll = meant.every((one) => servicePortProtocol(service, one) !== Protocol.HTTP1)
  return isForAll ? [port] : seenPorts(route, service, port)
}

/** What GRPCRoutes have taken of the ports that an HTTPRoute is for. */
export interface Displacement {
  readonly by: Route
  /** In the order of the Service's ports. */
  readonly ports: readonly number[]
  /** Ports that it has left; none: the route holds for nothing. */
  readonly left: readonly number[]
}

/**
 * Of several kinds of routes for one port of a Service only one is applied, and that is GRPCRoute (GEP-1294, "Route
 * types"): the other is ignored there. Routes for different callers are not in each other's way. `attached`: the routes of
 * the Service; `port` as in AttachedRoute.
 */
export function displacement(
  attached: readonly AttachedRoute[],
  route: Route,
  service: DocumentOf<'Service'>,
  port: number,
): Displacement | undefined {
  if (route.kind === 'GRPCRoute') return undefined
  const consumers = consumersOf(route, service)
  const rivals = attached.filter((one) => one.route.kind === 'GRPCRoute' && one.consumerNamespace === consumers)
  const rivalOf = (wanted: number) => rivals.find((one) => one.port === 0 || one.port === wanted)
  const meant = port === 0 ? meshPorts(service).map((one) => one.port) : [port]
  const ports = meant.filter((one) => rivalOf(one) !== undefined)
  const by = ports.length === 0 ? undefined : rivalOf(ports[0]!)?.route
  return by === undefined ? undefined : { by, ports, left: meant.filter((one) => !ports.includes(one)) }
}

function settle(attached: AttachedRoute[], service: DocumentOf<'Service'>): AttachedRoute[] {
  if (!attached.some(({ route }) => route.kind === 'GRPCRoute')) return attached
  return attached.flatMap((one) => {
    const lost = displacement(attached, one.route, service, one.port)
    return lost === undefined ? [one] : lost.left.map((port) => ({ ...one, port }))
  })
}

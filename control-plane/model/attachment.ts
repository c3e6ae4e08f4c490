import type { DocumentOf } from '../../src/api/documents/document.ts'
import { isServiceRef } from '../../src/api/policy/route-filter.ts'
import type { DocumentIndex } from './document-index.ts'
import { objectKey } from './document-key.ts'
import { meshPorts } from './service-ports.ts'

type ParentRef = DocumentOf<'HTTPRoute'>['value']['spec']['parentRefs'][number]

/** A route that holds for a Service, or for one port of it. */
export interface AttachedRoute {
  readonly route: DocumentOf<'HTTPRoute'>
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
export function attach(index: DocumentIndex, route: DocumentOf<'HTTPRoute'>, ref: ParentRef): Attachment {
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
 * Service's own namespace holds for every caller, one elsewhere for callers of its own namespace (GEP-1426).
 */
export function routesByService(index: DocumentIndex): ReadonlyMap<string, readonly AttachedRoute[]> {
  const routes = new Map<string, AttachedRoute[]>()
  for (const route of index.all('HTTPRoute')) {
    for (const ref of route.value.spec.parentRefs) {
      const attachment = isServiceParent(ref) ? attach(index, route, ref) : undefined
      if (attachment?.is !== 'attached') continue
      const key = objectKey(attachment.service)
      const consumerNamespace = route.namespace === attachment.service.namespace ? '' : route.namespace
      const attached = routes.get(key) ?? []
      if (attached.some((a) => a.route === route && (a.port === attachment.port || a.port === 0))) continue
      routes.set(key, [...attached, { route, port: attachment.port, consumerNamespace }])
    }
  }
  return routes
}

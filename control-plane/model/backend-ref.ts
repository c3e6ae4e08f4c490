import type { DocumentOf } from '../../src/api/documents/document.ts'
import { isServiceRef } from '../../src/api/policy/route-filter.ts'
import type { DocumentIndex } from './document-index.ts'
import { objectKey } from './document-key.ts'
import { meshPorts, portList } from './service-ports.ts'

/** What `backendRefs[]` and `requestMirror.backendRef` have in common. */
export interface BackendReference {
  readonly group: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string | undefined
  /** A Service has one; other kinds may not. */
  readonly port?: number | undefined
}

/** Why a backend cannot be used, in Gateway API's words for the ResolvedRefs condition. */
export type BackendFault = 'BackendNotFound' | 'RefNotPermitted' | 'UnsupportedValue' | 'InvalidKind'

export type ResolvedBackend =
  | { readonly is: 'service'; readonly service: DocumentOf<'Service'>; readonly port: number }
  | { readonly is: 'invalid'; readonly fault: BackendFault; readonly reason: string }

/**
 * Resolves a backend of a route. A Service in another namespace needs a ReferenceGrant there; the parent Service itself
 * needs none, for its owner already lets the route's namespace call it (this is what a consumer route that only adds
 * filters looks like).
 */
export function resolveBackend(
  index: DocumentIndex,
  route: DocumentOf<'HTTPRoute'>,
  ref: BackendReference,
  parent: DocumentOf<'Service'> | undefined,
): ResolvedBackend {
  const namespace = ref.namespace ?? route.namespace
  if (!isServiceRef(ref)) {
    const kind = ref.group === '' ? ref.kind : `${ref.kind}.${ref.group}`
    return invalid('InvalidKind', `${kind} ${namespace}/${ref.name} cannot be a backend; the mesh sends to Services`)
  }
  const named = `Service ${namespace}/${ref.name}`
  const service = index.find('Service', namespace, ref.name)
  const isParent = service !== undefined && parent !== undefined && objectKey(service) === objectKey(parent)
  // Before anything about the Service is said: what exists in another namespace is not the route owner's to know.
  if (namespace !== route.namespace && !isParent && !isGranted(index, route, namespace, ref.name)) {
    return invalid('RefNotPermitted', `${named} is in another namespace and no ReferenceGrant permits it`)
  }
  if (service === undefined) return invalid('BackendNotFound', `${named} does not exist`)
  if (service.value.spec.type === 'ExternalName') {
    return invalid('UnsupportedValue', `${named} is of type ExternalName, which cannot be a backend`)
  }
  const port = meshPorts(service).find((one) => one.port === ref.port)?.port
  if (port === undefined) {
    return invalid('BackendNotFound', `${named} has no TCP port ${ref.port}; its ports: ${portList(service)}`)
  }
  return { is: 'service', service, port }
}

/** Whether a ReferenceGrant in the Service's namespace lets HTTPRoutes of the route's namespace refer to it. */
function isGranted(index: DocumentIndex, route: DocumentOf<'HTTPRoute'>, namespace: string, service: string): boolean {
  return index
    .inNamespace('ReferenceGrant', namespace)
    .some(
      ({ value: { spec } }) =>
        spec.from.some(
          (from) => from.group === gatewayGroup && from.kind === 'HTTPRoute' && from.namespace === route.namespace,
        ) && spec.to.some((to) => isServiceRef(to) && (to.name === undefined || to.name === service)),
    )
}

const gatewayGroup = 'gateway.networking.k8s.io'

function invalid(fault: BackendFault, reason: string): ResolvedBackend {
  return { is: 'invalid', fault, reason }
}

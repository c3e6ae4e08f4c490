import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { DocumentIndex } from './document-index.ts'
import { objectKey } from './document-key.ts'
import { meshPorts, portList } from './service-ports.ts'

/** What `backendRefs[]` and `requestMirror.backendRef` have in common. */
export interface BackendReference {
  readonly name: string
  readonly namespace?: string | undefined
  readonly port: number
}

/** Why a backend cannot be used, in Gateway API's words for the ResolvedRefs condition. */
export type BackendFault = 'BackendNotFound' | 'RefNotPermitted' | 'UnsupportedValue'

export type ResolvedBackend =
  | { readonly is: 'service'; readonly service: DocumentOf<'Service'>; readonly port: number }
  | { readonly is: 'invalid'; readonly fault: BackendFault; readonly reason: string }

/**
 * Resolves a backend of a route. A Service in another namespace would need a ReferenceGrant, a kind that the mesh does
 * not read yet; the parent Service itself needs none, for its owner already lets the route's namespace call it (this is
 * what a consumer route that only adds filters looks like).
 */
export function resolveBackend(
  index: DocumentIndex,
  route: DocumentOf<'HTTPRoute'>,
  ref: BackendReference,
  parent: DocumentOf<'Service'> | undefined,
): ResolvedBackend {
  const namespace = ref.namespace ?? route.namespace
  const named = `Service ${namespace}/${ref.name}`
  const service = index.find('Service', namespace, ref.name)
  const isParent = service !== undefined && parent !== undefined && objectKey(service) === objectKey(parent)
  // Before anything about the Service is said: what exists in another namespace is not the route owner's to know.
  if (namespace !== route.namespace && !isParent) {
    return invalid('RefNotPermitted', `${named} is in another namespace and no ReferenceGrant permits it`)
  }
  if (service === undefined) return invalid('BackendNotFound', `${named} does not exist`)
  if (service.value.spec.type === 'ExternalName') {
    return invalid('UnsupportedValue', `${named} is of type ExternalName, which cannot be a backend`)
  }
  if (!meshPorts(service).some((port) => port.port === ref.port)) {
    return invalid('BackendNotFound', `${named} has no TCP port ${ref.port}; its ports: ${portList(service)}`)
  }
  return { is: 'service', service, port: ref.port }
}

function invalid(fault: BackendFault, reason: string): ResolvedBackend {
  return { is: 'invalid', fault, reason }
}

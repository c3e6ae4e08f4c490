import type { DocumentOf } from '../../src/api/documents/document.ts'
import { isServiceRef } from '../../src/api/policy/route-filter.ts'
import type { DocumentIndex } from './document-index.ts'
import type { Route } from './route.ts'
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
export type BackendFault = 'BackendNotFound' | 'UnsupportedValue' | 'InvalidKind'

export type ResolvedBackend =
  | { readonly is: 'service'; readonly service: DocumentOf<'Service'>; readonly port: number }
  | { readonly is: 'invalid'; readonly fault: BackendFault; readonly reason: string }

/**
 * Resolves a backend of a route. One in another namespace needs no ReferenceGrant, as it would behind a Gateway: routes
 * of a mesh lend their callers nothing, each request is sent in its caller's own name (GEP-1294, "Namespace boundaries").
 */
export function resolveBackend(index: DocumentIndex, route: Route, ref: BackendReference): ResolvedBackend {
  const namespace = ref.namespace ?? route.namespace
  if (!isServiceRef(ref)) {
    const kind = ref.group === '' ? ref.kind : `${ref.kind}.${ref.group}`
    return invalid('InvalidKind', `${kind} ${namespace}/${ref.name} cannot be a backend; the mesh sends to Services`)
  }
  const named = `Service ${namespace}/${ref.name}`
  const service = index.find('Service', namespace, ref.name)
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

function invalid(fault: BackendFault, reason: string): ResolvedBackend {
  return { is: 'invalid', fault, reason }
}

import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Endpoint, EndpointSchema, type EndpointSet, EndpointSetSchema } from '../../src/api/gen/outrigger_pb.ts'
import { canonicalRevision, canonicalService } from '../model/canonical.ts'
import { objectKey } from '../model/document-key.ts'
import type { ModelEndpoint } from '../model/endpoints.ts'
import { isMeshed, spiffeId } from '../model/meshed.ts'
import type { ModelView } from '../model/model-view.ts'
import { mtlsOf } from '../model/workload-policy.ts'
import type { MeshSettings } from './mesh-settings.ts'

/** The resource `endpoints/NS/NAME`: the addresses behind a Service. */
export function endpointSet(model: ModelView, service: DocumentOf<'Service'>, settings: MeshSettings): EndpointSet {
  const endpoints = model.endpoints.get(objectKey(service)) ?? []
  return create(EndpointSetSchema, {
    namespace: service.namespace,
    name: service.name,
    endpoints: endpoints.flatMap((one) => endpointMessages(model, one, settings)).sort(byAddress),
  })
}

/**
 * The messages of one address: one, or two when only some of its ports accept mTLS. An endpoint without identity is
 * dialled in plaintext, so a port whose PeerAuthentication says DISABLE must not share a message with one that has it.
 */
export function endpointMessages(model: ModelView, from: ModelEndpoint, settings: MeshSettings): Endpoint[] {
  const { pod } = from
  if (pod === undefined || !isMeshed(model.index, pod)) return withPorts(from, '', from.ports)
  const mtls = mtlsOf(model.index, pod)
  const [plain, secured] = [new Map<number, number>(), new Map<number, number>()]
  for (const [port, dialled] of from.ports) {
    const mode = mtls.ports.get(dialled) ?? mtls.mode
    ;(mode === 'DISABLE' ? plain : secured).set(port, dialled)
  }
  const identity = spiffeId(settings.trustDomain, pod)
  return [...withPorts(from, identity, secured), ...withPorts(from, '', plain)]
}

function withPorts(
  { address, pod, workload, ready, zone }: ModelEndpoint,
  identity: string,
  ports: ReadonlyMap<number, number>,
): Endpoint[] {
  if (ports.size === 0) return []
  const labels = pod?.value.metadata.labels
  return [
    create(EndpointSchema, {
      address,
      ports: Object.fromEntries(ports),
      identity,
      workload,
      canonicalService: pod === undefined ? '' : canonicalService(labels, pod.name),
      canonicalRevision: pod === undefined ? '' : canonicalRevision(labels),
      ready,
      zone,
    }),
  ]
}

// The order of slices says nothing, and an endpoint that moves between them is no change.
function byAddress(a: Endpoint, b: Endpoint): number {
  return compare(a.address, b.address) || compare(a.workload, b.workload) || firstPort(a) - firstPort(b)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function firstPort(endpoint: Endpoint): number {
  return Object.values(endpoint.ports)[0] ?? 0
}

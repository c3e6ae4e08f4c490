import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { MtlsMode, type ProxyProtocolSchema, type Workload, WorkloadSchema } from '../../src/api/gen/outrigger_pb.ts'
import { canonicalRevision, canonicalService } from '../model/canonical.ts'
import { documentKey, objectKey } from '../model/document-key.ts'
import type { ModelView } from '../model/model-view.ts'
import { authorizationsOf, inboundFaultsOf, mtlsOf, telemetryOf } from '../model/workload-policy.ts'
import { authorization } from './authorization.ts'
import { fault } from './fault.ts'
import { policyRef } from './policy-ref.ts'
import { telemetry } from './telemetry.ts'

/** The resource `workload/NS/NAME`: what a sidecar must know of its own Pod, for inbound traffic above all. */
export function workloadResource(model: ModelView, pod: DocumentOf<'Pod'>): Workload {
  const labels = pod.value.metadata.labels ?? {}
  const mtls = mtlsOf(model.index, pod)
  const resolvedTelemetry = telemetry(telemetryOf(model.index, pod))
  return create(WorkloadSchema, {
    namespace: pod.namespace,
    name: pod.name,
    serviceAccount: pod.value.spec.serviceAccountName,
    canonicalService: canonicalService(labels, pod.name),
    canonicalRevision: canonicalRevision(labels),
    labels: sorted(labels),
    mtls: MtlsMode[mtls.mode],
    ...(mtls.by !== undefined && { mtlsRef: policyRef(mtls.by) }),
    portMtls: Object.fromEntries([...mtls.ports].map(([port, mode]) => [port, MtlsMode[mode]])),
    authorizations: authorizationsOf(model.index, model.guards, pod).map(authorization),
    faults: inboundFaultsOf(model.index, pod).map(fault),
    ...(resolvedTelemetry !== undefined && { telemetry: resolvedTelemetry }),
    ports: (model.workloads.ports.get(documentKey(pod)) ?? []).map(({ port, protocol, service }) => ({
      port,
      protocol,
      service: service === undefined ? '' : objectKey(service),
    })),
    proxyProtocol: mtls.proxies === undefined ? [] : proxyProtocol(mtls.proxies),
  })
}

/** Each entry of a PeerAuthentication's `proxyProtocol`. */
function proxyProtocol(policy: DocumentOf<'PeerAuthentication'>): MessageInitShape<typeof ProxyProtocolSchema>[] {
  const ref = policyRef(policy)
  return (policy.value.spec.proxyProtocol ?? []).map(({ ports, from }) => ({ ref, ports, from }))
}

/** The order of labels in a document is not part of what it says. */
function sorted(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))
}

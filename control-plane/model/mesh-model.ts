import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type AttachedRoute, routesByService } from './attachment.ts'
import type { IndexedDocuments } from './document-index.ts'
import { endpointsByService, type ModelEndpoint, sameEndpoint } from './endpoints.ts'
import { sameFields, sameItems, shareValues } from './sharing.ts'
import { backendPolicies, type ServicePolicies, serviceFaults } from './targets.ts'
import { type Guards, guardsByPod } from './workload-policy.ts'
import { indexWorkloads, type WorkloadIndex } from './workload-ports.ts'

/** One set of documents with their references resolved: everything that is asked of more than one resource. */
export interface MeshModel {
  readonly index: IndexedDocuments
  /** All by the Service's `NS/NAME`. */
  readonly routes: ReadonlyMap<string, readonly AttachedRoute[]>
  readonly endpoints: ReadonlyMap<string, readonly ModelEndpoint[]>
  readonly faults: ReadonlyMap<string, readonly DocumentOf<'FaultInjection'>[]>
  readonly backendPolicies: ServicePolicies
  readonly workloads: WorkloadIndex
  readonly guards: Guards
}

/**
 * Resolves one set of documents. Pure: the same documents give the same model. What says the same as in `before` is the
 * very same object; `before` says nothing else.
 */
export function meshModel(index: IndexedDocuments, before?: MeshModel): MeshModel {
  const endpoints = shareValues(endpointsByService(index), before?.endpoints, (a, b) => sameItems(a, b, sameEndpoint))
  const { ports, podsByService } = indexWorkloads(index, endpoints)
  return {
    index,
    endpoints,
    routes: shareValues(routesByService(index), before?.routes, (a, b) => sameItems(a, b, sameFields)),
    faults: shareValues(serviceFaults(index), before?.faults, sameItems),
    backendPolicies: backendPolicies(index),
    workloads: {
      ports: shareValues(ports, before?.workloads.ports, (a, b) => sameItems(a, b, sameFields)),
      podsByService,
    },
    guards: shareValues(guardsByPod(index, podsByService), before?.guards, sameItems),
  }
}

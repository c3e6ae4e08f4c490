import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type AttachedRoute, routesByService } from './attachment.ts'
import type { DocumentIndex } from './document-index.ts'
import { endpointsByService, type ModelEndpoint } from './endpoints.ts'
import { backendPolicies, type ServicePolicies, serviceFaults } from './targets.ts'
import { type Guards, guardsByPod } from './workload-policy.ts'
import { indexWorkloads, type WorkloadIndex } from './workload-ports.ts'

/** One set of documents with their references resolved: everything that is asked of more than one resource. */
export interface MeshModel {
  readonly index: DocumentIndex
  /** All by the Service's `NS/NAME`. */
  readonly routes: ReadonlyMap<string, readonly AttachedRoute[]>
  readonly endpoints: ReadonlyMap<string, readonly ModelEndpoint[]>
  readonly faults: ReadonlyMap<string, readonly DocumentOf<'FaultInjection'>[]>
  readonly backendPolicies: ServicePolicies
  readonly workloads: WorkloadIndex
  readonly guards: Guards
}

/** Resolves one set of documents. Pure: the same documents give the same model. */
export function meshModel(index: DocumentIndex): MeshModel {
  const endpoints = endpointsByService(index)
  const workloads = indexWorkloads(index, endpoints)
  return {
    index,
    endpoints,
    routes: routesByService(index),
    faults: serviceFaults(index),
    backendPolicies: backendPolicies(index),
    workloads,
    guards: guardsByPod(index, workloads),
  }
}

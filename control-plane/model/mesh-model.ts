import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type AttachedRoute, routesByService } from './attachment.ts'
import { type Derivation, derive } from './derivation.ts'
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
  readonly derivations: Derivations
}

/** What the model after this one can have of it. */
interface Derivations {
  readonly routes: Derivation<MeshModel['routes'], undefined>
  readonly endpoints: Derivation<MeshModel['endpoints'], undefined>
  readonly faults: Derivation<MeshModel['faults'], undefined>
  readonly backendPolicies: Derivation<ServicePolicies, undefined>
  readonly workloads: Derivation<WorkloadIndex, MeshModel['endpoints']>
  readonly guards: Derivation<Guards, WorkloadIndex['podsByService']>
}

/**
 * Resolves one set of documents. Pure: the same documents give the same model. What says the same as in `before` is the
 * very same object; `before` says nothing else.
 */
export function meshModel(index: IndexedDocuments, before?: MeshModel): MeshModel {
  const known = before?.derivations
  const endpoints = derive(index, undefined, known?.endpoints, endpointsByService, (now, old) =>
    shareValues(now, old, (a, b) => sameItems(a, b, sameEndpoint)),
  )
  const workloads = derive(index, endpoints.value, known?.workloads, indexWorkloads, (now, old) => ({
    ...now,
    ports: shareValues(now.ports, old.ports, (a, b) => sameItems(a, b, sameFields)),
    opaque: shareValues(now.opaque, old.opaque, sameItems),
  }))
  const routes = derive(index, undefined, known?.routes, routesByService, (now, old) =>
    shareValues(now, old, (a, b) => sameItems(a, b, sameFields)),
  )
  const faults = derive(index, undefined, known?.faults, serviceFaults, (now, old) => shareValues(now, old, sameItems))
  const policies = derive(index, undefined, known?.backendPolicies, backendPolicies)
  const guards = derive(index, workloads.value.podsByService, known?.guards, guardsByPod, (now, old) =>
    shareValues(now, old, sameItems),
  )
  return {
    index,
    endpoints: endpoints.value,
    routes: routes.value,
    faults: faults.value,
    backendPolicies: policies.value,
    workloads: workloads.value,
    guards: guards.value,
    derivations: { routes, endpoints, faults, backendPolicies: policies, workloads, guards },
  }
}

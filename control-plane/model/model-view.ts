import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { AttachedRoute } from './attachment.ts'
import type { DocumentIndex } from './document-index.ts'
import type { ModelEndpoint } from './endpoints.ts'
import type { Lookup } from './lookup.ts'
import type { WorkloadPort } from './workload-ports.ts'

/** What one resource may ask of the model: never for all of something, so that it is known what it depends on. */
export interface ModelView {
  readonly index: DocumentIndex
  readonly routes: Lookup<string, readonly AttachedRoute[]>
  readonly endpoints: Lookup<string, readonly ModelEndpoint[]>
  readonly faults: Lookup<string, readonly DocumentOf<'FaultInjection'>[]>
  readonly backendPolicies: { readonly inForce: Lookup<string, DocumentOf<'BackendPolicy'>> }
  readonly workloads: {
    readonly ports: Lookup<string, readonly WorkloadPort[]>
    readonly opaque: Lookup<string, readonly number[]>
  }
  readonly guards: Lookup<DocumentOf<'Pod'>, readonly DocumentOf<'AuthorizationPolicy'>[]>
}

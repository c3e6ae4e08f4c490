import { create } from '@bufbuild/protobuf'
import { type Backend, BackendSchema, type HttpFilter } from '../../src/api/gen/outrigger_pb.ts'
import { type BackendReference, resolveBackend } from '../model/backend-ref.ts'
import type { DocumentIndex } from '../model/document-index.ts'
import type { Route } from '../model/route.ts'

/** Where a backendRef is resolved from. */
export interface BackendContext {
  readonly index: DocumentIndex
  readonly route: Route
}

/** One backend of a rule; one that cannot be resolved keeps its weight and says why, for its share is answered 500. */
export function backend(
  context: BackendContext,
  ref: BackendReference,
  weight: number,
  filters: readonly HttpFilter[],
): Backend {
  const resolved = resolveBackend(context.index, context.route, ref)
  return create(BackendSchema, {
    namespace: ref.namespace ?? context.route.namespace,
    name: ref.name,
    port: ref.port ?? 0,
    weight,
    filters: [...filters],
    invalid: resolved.is === 'invalid' ? resolved.reason : '',
  })
}

import type { Document } from '../../src/api/documents/document.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { checkEndpoints } from './check-endpoints.ts'
import { checkPolicies } from './check-policies.ts'
import { checkRoutes } from './check-routes.ts'
import { checkWorkloads } from './check-workloads.ts'
import { indexDocuments } from './document-index.ts'
import { type MeshModel, meshModel } from './mesh-model.ts'

/**
 * What is wrong between documents that are each in order: references, conflicts, cycles, selectors. All at once, in the
 * order of kinds and precedence. An error means that a part of its document has no effect, or that requests are
 * answered 500 for it; a warning, that it is probably not what was meant.
 */
export function checkModel(documents: Iterable<Document>, clock: Pick<Clock, 'wall'> = systemClock): Problem[] {
  return problemsOfModel(meshModel(indexDocuments(documents)), clock)
}

/** The same of documents whose references are resolved already. */
export function problemsOfModel(model: MeshModel, clock: Pick<Clock, 'wall'>): Problem[] {
  return [
    ...checkRoutes(model),
    ...checkPolicies(model, clock.wall()),
    ...checkEndpoints(model),
    ...checkWorkloads(model),
  ]
}

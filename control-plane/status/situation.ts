/** What conditions are made of: one object, and what is known of everything around it. */
import type { Problem } from '../../src/api/documents/problem.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import type { Kept } from '../sources/kubernetes/source.ts'
import type { Acks } from './programmed.ts'

/** `spec.controllerName` of ours in Gateway API's status. */
export const controllerName = 'outrigger.dev/mesh-controller'

export interface Situation {
  readonly object: Kept
  readonly model: MeshModel
  /** Why the object's newest version cannot be read; each says which version stays in force. */
  readonly unread: readonly Problem[]
  /** What is wrong between it and others. */
  readonly problems: readonly Problem[]
  /** False at a start on documents that are not in order: sidecars get nothing then. */
  readonly isPublished: boolean
  /** Undefined: no resource brings it to a sidecar. */
  readonly acks: Acks | undefined
}

/** `PATH: MESSAGE (and N more)` */
export function tell(problems: readonly Problem[]): string {
  const [first, ...others] = problems
  if (first === undefined) return ''
  const path = first.path === '' ? '' : `${first.path}: `
  return `${path}${first.message}${others.length === 0 ? '' : ` (and ${others.length} more problems)`}`
}

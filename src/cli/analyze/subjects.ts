/** Everything that `analyze` looks at: documents of the mesh, and the Pods, templates, Services and Namespaces around them. */
import type { Pod } from '../../../control-plane/inject/pod.ts'
import type { ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import type { Document } from '../../api/documents/document.ts'
import type { Path, Problem } from '../../api/documents/problem.ts'
import { marks } from '../../base/kubernetes-names.ts'
import type { Subject } from './message.ts'

/** A Pod, or a template of Pods. */
export interface PodSubject extends Subject {
  readonly pod: Pod
  /** Before `metadata` and `spec` of the Pod. */
  readonly base: Path
  /** It runs in a cluster: what it has is what it has. */
  readonly runs: boolean
}

/** Any other object, as it is written. */
export interface ObjectSubject extends Subject {
  readonly object: ApiObject
}

export interface Subjects {
  /** What the mesh reads; Pods stand here too, those of templates by their template's name. */
  readonly documents: readonly Document[]
  readonly problems: readonly Problem[]
  /** Documents that an error has kept out: what refers to them is not called dangling. */
  readonly refused: readonly { readonly namespace: string; readonly name: string }[]
  /** There are some of which not even the name is known. */
  readonly unidentified: boolean
  readonly pods: readonly PodSubject[]
  readonly namespaces: readonly ObjectSubject[]
  readonly services: readonly ObjectSubject[]
  /** What is left out of the findings: by `KIND NS/NAME`, the codes that its annotation names. */
  readonly suppressed: ReadonlyMap<string, readonly string[]>
  /** Where the annotation stands, by the same name. */
  readonly suppressors: readonly ObjectSubject[]
  readonly systemNamespace: string
}

/** Codes that the annotation of an object names. */
export function suppressedBy(object: ApiObject): readonly string[] {
  const text = object.metadata?.annotations?.[marks.suppress]
  if (typeof text !== 'string') return []
  return text
    .split(',')
    .map((code) => code.trim())
    .filter((code) => code !== '')
}

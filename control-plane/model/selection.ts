import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { DocumentIndex } from './document-index.ts'

/** Documents in this namespace that select nothing hold for the whole mesh, as in Istio's root namespace. */
export const rootNamespace = 'outrigger-system'

type Labels = Readonly<Record<string, string>>

/** Whether a Pod has all the labels. */
export function hasLabels(pod: DocumentOf<'Pod'>, wanted: Labels): boolean {
  return hasAll(pod, Object.entries(wanted))
}

function hasAll(pod: DocumentOf<'Pod'>, wanted: readonly (readonly [string, string])[]): boolean {
  const labels = pod.value.metadata.labels ?? {}
  return wanted.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
}

/** The documents of a kind that can hold for a Pod at all, in order of precedence: its namespace's and the mesh's. */
export function nearby<K extends Kind>(
  index: DocumentIndex,
  kind: K,
  pod: DocumentOf<'Pod'>,
): readonly DocumentOf<K>[] {
  const own = index.inNamespace(kind, pod.namespace)
  return pod.namespace === rootNamespace ? own : [...index.inNamespace(kind, rootNamespace), ...own]
}

/** The Pods of a namespace with all the labels. */
export function selectPods(index: DocumentIndex, namespace: string, labels: Labels): DocumentOf<'Pod'>[] {
  const wanted = Object.entries(labels)
  return index.inNamespace('Pod', namespace).filter((pod) => hasAll(pod, wanted))
}

/** How closely a policy holds for a workload; a closer one wins. */
export type Scope = 'workload' | 'namespace' | 'mesh'

interface Selective {
  readonly namespace: string
  readonly value: { readonly spec: { readonly selector?: { readonly matchLabels: Labels } | undefined } }
}

/** Whether, and how closely, a policy with an optional selector holds for a Pod. */
export function scopeFor(policy: Selective, pod: DocumentOf<'Pod'>): Scope | undefined {
  const labels = policy.value.spec.selector?.matchLabels
  if (labels !== undefined) {
    return policy.namespace === pod.namespace && hasLabels(pod, labels) ? 'workload' : undefined
  }
  if (policy.namespace === rootNamespace) return 'mesh'
  return policy.namespace === pod.namespace ? 'namespace' : undefined
}

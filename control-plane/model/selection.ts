import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { DocumentIndex } from './document-index.ts'

/** Documents in this namespace that select nothing hold for the whole mesh, as in Istio's root namespace. */
export const rootNamespace = 'outrigger-system'

type Labels = Readonly<Record<string, string>>

/** Whether a Pod has all the labels. */
export function hasLabels(pod: DocumentOf<'Pod'>, wanted: Labels): boolean {
  const labels = pod.value.metadata.labels ?? {}
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
}

/** The Pods of a namespace with all the labels. */
export function selectPods(index: DocumentIndex, namespace: string, labels: Labels): DocumentOf<'Pod'>[] {
  return index.all('Pod').filter((pod) => pod.namespace === namespace && hasLabels(pod, labels))
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

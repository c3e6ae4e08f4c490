import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { DocumentIndex } from './document-index.ts'

/** Documents in this namespace that select nothing hold for the whole mesh, as in Istio's root namespace. */
export const rootNamespace = 'outrigger-system'

type Labels = Readonly<Record<string, string>>
type Label = readonly [name: string, value: string]
type Pods = readonly DocumentOf<'Pod'>[]

/** Whether a Pod has all the labels. */
export function hasLabels(pod: DocumentOf<'Pod'>, wanted: Labels): boolean {
  return hasAll(pod, Object.entries(wanted))
}

function hasAll(pod: DocumentOf<'Pod'>, wanted: readonly Label[]): boolean {
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
export function selectPods(index: DocumentIndex, namespace: string, labels: Labels): readonly DocumentOf<'Pod'>[] {
  const wanted = Object.entries(labels)
  const pods = index.inNamespace('Pod', namespace)
  if (wanted.length === 0) return pods
  // A namespace may have thousands of Pods and of selectors: only those with the rarest of the labels are looked at.
  const byLabel = podsByLabel(pods)
  const [rarest] = wanted.map((label) => byLabel.get(labelKey(label)) ?? []).sort((a, b) => a.length - b.length)
  return (rarest ?? []).filter((pod) => hasAll(pod, wanted))
}

const labelIndexes = new WeakMap<Pods, ReadonlyMap<string, Pods>>()

/** By label, in the order of the list; made once for each list, which stays the same while none of its Pods changes. */
function podsByLabel(pods: Pods): ReadonlyMap<string, Pods> {
  const known = labelIndexes.get(pods)
  if (known !== undefined) return known
  const byLabel = new Map<string, DocumentOf<'Pod'>[]>()
  for (const pod of pods) {
    for (const label of Object.entries(pod.value.metadata.labels ?? {})) {
      const those = byLabel.get(labelKey(label))
      if (those === undefined) byLabel.set(labelKey(label), [pod])
      else those.push(pod)
    }
  }
  labelIndexes.set(pods, byLabel)
  return byLabel
}

/** Neither part of a label has a space. */
function labelKey([name, value]: Label): string {
  return `${name} ${value}`
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

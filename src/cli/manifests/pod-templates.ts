/** Where Kubernetes objects keep the Pods that they make. */
import type { Pod } from '../../../control-plane/inject/pod.ts'
import type { Path } from '../../api/documents/problem.ts'

/** A Pod, or the template from which an object makes its Pods. */
export interface PodTemplate {
  /** Of the object: Pod, Deployment, CronJob ... */
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** From the root of the document to what holds `metadata` and `spec` of the Pod; empty for a Pod itself. */
  readonly path: Path
  readonly pod: Pod
}

const templatePaths: Readonly<Record<string, Path>> = {
  Pod: [],
  Deployment: ['spec', 'template'],
  StatefulSet: ['spec', 'template'],
  DaemonSet: ['spec', 'template'],
  ReplicaSet: ['spec', 'template'],
  ReplicationController: ['spec', 'template'],
  Job: ['spec', 'template'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
}

/** Kinds whose Pods are found. */
export const templateKinds = Object.keys(templatePaths)

/** Every Pod template of a document, also those in a `kind: List`. `namespace` is for objects that name none. */
export function podTemplates(value: unknown, namespace: string, base: Path = []): PodTemplate[] {
  if (!isRecord(value) || typeof value['kind'] !== 'string') return []
  if (value['kind'] === 'List' && Array.isArray(value['items']))
    return value['items'].flatMap((item, at) => podTemplates(item, namespace, [...base, 'items', at]))
  const inside = Object.hasOwn(templatePaths, value['kind']) ? templatePaths[value['kind']] : undefined
  if (inside === undefined) return []
  const template = inside.reduce<unknown>((at, step) => (isRecord(at) ? at[step] : undefined), value)
  if (!isRecord(template)) return []
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {}
  const { name, generateName, namespace: own } = metadata
  return [
    {
      kind: value['kind'],
      namespace: typeof own === 'string' ? own : namespace,
      name: typeof name === 'string' ? name : typeof generateName === 'string' ? generateName : '',
      path: [...base, ...inside],
      pod: template,
    },
  ]
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

import { marks } from '../../base/kubernetes-names.ts'
import { isRecord } from './pod-templates.ts'

type Labels = Readonly<Record<string, string>>

/** Labels of the Namespaces among some documents that say something about injection. */
export function namespaceLabelsOf(values: readonly unknown[]): ReadonlyMap<string, Labels> {
  const found = new Map<string, Labels>()
  for (const value of values) {
    if (!isRecord(value)) continue
    if (value['kind'] === 'List' && Array.isArray(value['items']))
      for (const [name, labels] of namespaceLabelsOf(value['items'])) found.set(name, labels)
    if (!isRecord(value['metadata'])) continue
    const { name, labels } = value['metadata']
    if (value['kind'] !== 'Namespace' || typeof name !== 'string' || !isRecord(labels)) continue
    if (labels[marks.inject] !== undefined) found.set(name, labels as Labels)
  }
  return found
}

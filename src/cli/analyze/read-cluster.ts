/** Subjects of a cluster. */
import type { Pod } from '../../../control-plane/inject/pod.ts'
import type { ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import { ApiError } from '../../../control-plane/kubernetes/cluster.ts'
import { resourcePath } from '../../../control-plane/kubernetes/resource-path.ts'
import { objectOrigin, readObject } from '../../../control-plane/sources/kubernetes/read-object.ts'
import type { Document } from '../../api/documents/document.ts'
import type { Problem } from '../../api/documents/problem.ts'
import { type Kind, type KindTraits, kindNames, kinds } from '../../api/policy/kinds.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { asPod, type ClusterPod, hasEnded, listAll } from '../cluster/pods.ts'
import { suppressionsOf } from './read-files.ts'
import { type ObjectSubject, type PodSubject, type Subjects, suppressedBy } from './subjects.ts'

const noPlace = { line: 0, column: 0 }

/** Every document that the control plane reads, by its own reader, and the Pods whole. */
export async function readCluster({ cluster, systemNamespace }: OpenedCluster): Promise<Subjects> {
  const documents: Document[] = []
  const problems: Problem[] = []
  const refused: { namespace: string; name: string }[] = []
  const objects: ObjectSubject[] = []
  const pods: PodSubject[] = []
  const lists = await Promise.all(kindNames.map(async (kind) => [kind, await listKind(cluster, kind)] as const))
  for (const [kind, items] of lists) {
    for (const item of items) {
      if (kind === 'Pod' && hasEnded(item as ClusterPod)) continue
      const reading = readObject(kind, item)
      if (reading.document === undefined) refused.push(reading)
      else documents.push(reading.document)
      problems.push(...reading.problems)
      const { namespace, name } = reading
      const about = { kind, namespace, name, file: objectOrigin(kind, namespace, name), place: () => noPlace }
      objects.push({ ...about, object: item })
      if (kind === 'Pod') pods.push({ ...about, pod: asPod(item as ClusterPod) satisfies Pod, base: [], runs: true })
    }
  }
  return {
    documents,
    problems,
    refused,
    unidentified: false,
    pods,
    namespaces: objects.filter(({ kind }) => kind === 'Namespace'),
    services: objects.filter(({ kind }) => kind === 'Service'),
    suppressed: suppressionsOf(objects),
    suppressors: objects.filter(({ object }) => suppressedBy(object).length > 0),
    systemNamespace,
  }
}

async function listKind(cluster: OpenedCluster['cluster'], kind: Kind): Promise<ApiObject[]> {
  try {
    return await listAll(cluster, resourcePath(kinds[kind] as KindTraits))
  } catch (error) {
    // Its CRD is not installed: there are none.
    if (error instanceof ApiError && error.status === 404) return []
    throw error
  }
}

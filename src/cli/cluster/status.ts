/** `outrigger status` of a cluster. */
import { paint, renderTable } from '../table.ts'
import { askReplicas } from './control-planes.ts'
import { type ClusterStatus, mergeStatus } from './merged-status.ts'
import type { ClusterOptions, OpenedCluster } from './open.ts'
import { type ClusterPod, hasEnded, keyOf, listAll, sidecarMark } from './pods.ts'

/** Asks every replica, and which Pods have a sidecar. */
export async function fetchClusterStatus(opened: OpenedCluster, options: ClusterOptions): Promise<ClusterStatus> {
  const { namespace: only } = options
  const [replicas, injected] = await Promise.all([askReplicas(opened), injectedPods(opened, only)])
  return mergeStatus({ cluster: opened.name, namespace: opened.systemNamespace, replicas, injected, only })
}

/** Who may ask the control plane may not be allowed to list Pods. */
async function injectedPods({ cluster }: OpenedCluster, only: string | undefined): Promise<Set<string> | undefined> {
  const path = only === undefined ? '/api/v1/pods' : `/api/v1/namespaces/${only}/pods`
  try {
    const pods = await listAll<ClusterPod>(cluster, path)
    const running = pods.filter((pod) => pod.metadata?.deletionTimestamp === undefined && !hasEnded(pod))
    return new Set(running.filter((pod) => sidecarMark(pod) !== undefined).map(keyOf))
  } catch {
    return undefined
  }
}

export interface StatusWords {
  readonly sidecars: (sidecars: ClusterStatus['sidecars']) => string
  readonly details: (status: ClusterStatus) => readonly string[]
}

/** For people: the replicas, a row per sidecar, then what is refused and why. */
export function clusterStatusText(status: ClusterStatus, words: StatusWords): string {
  const { replicas, sidecars, unheard, sources, namespace, leader } = status
  const answers = replicas.filter(({ answer }) => answer.is === 'status').length
  const documents = sources.reduce((sum, source) => sum + source.documents, 0)
  const connected = sidecars.filter((sidecar) => sidecar.connected).length
  const lines = [
    `control plane in ${namespace}: ${answers} of ${replicas.length} replicas answer, ${documents} documents, ` +
      `${connected} of ${sidecars.length} sidecars connected`,
    '',
    replicaTable(status),
  ]
  if (leader === '') lines.push(paint('red', 'nobody leads: no status is written, no new namespace gets its root'))
  lines.push('', sidecars.length === 0 ? 'No sidecar has connected.' : words.sidecars(sidecars))
  if (unheard.length > 0)
    lines.push(
      '',
      paint('red', 'Pods with a sidecar that no replica knows (kubectl logs POD -c outrigger-proxy):'),
      ...unheard.map((pod) => `  ${pod}`),
    )
  lines.push(...words.details(status))
  return `${lines.join('\n')}\n`
}

function replicaTable({ replicas }: ClusterStatus): string {
  return renderTable(
    [
      { title: 'REPLICA' },
      { title: 'READY' },
      { title: 'LEADER' },
      { title: 'REVISION', align: 'right' },
      { title: 'SIDECARS', align: 'right' },
      { title: 'PROGRAM' },
    ],
    replicas.map(({ pod, ready, leads, answer }) => [
      pod,
      ready ? 'yes' : paint('red', 'no'),
      leads ? 'yes' : '',
      ...(answer.is === 'status'
        ? [
            answer.status.synced ? String(answer.status.revision) : paint('yellow', 'not synced'),
            String(answer.status.sidecars.filter(({ connected }) => connected).length),
            answer.status.program,
          ]
        : ['', '', paint('red', answer.reason)]),
    ]),
  )
}

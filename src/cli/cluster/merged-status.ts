/** What all replicas say together. */
import type { ControlPlaneStatus, SourceStatus } from '../../../control-plane/admin/status.ts'
import type { SidecarStatus } from '../../../control-plane/stream/sidecars.ts'
import type { Replica } from './control-planes.ts'

/** A sidecar, and the replica whose stream it is on (or was, last). */
export interface PlacedSidecar extends SidecarStatus {
  readonly replica: string
  /** Of that replica: each counts its own. */
  readonly revision: number
}

export interface ClusterStatus {
  readonly cluster: string
  readonly namespace: string
  /** Name of the Pod; '' when nobody leads. */
  readonly leader: string
  readonly replicas: readonly Replica[]
  readonly sidecars: readonly PlacedSidecar[]
  /** `NS/NAME` of Pods that have a sidecar which no replica knows. */
  readonly unheard: readonly string[]
  /** As the leader has them. */
  readonly sources: readonly SourceStatus[]
  readonly certificateRefusals: Readonly<Record<string, number>>
}

export interface MergeInput {
  readonly cluster: string
  readonly namespace: string
  readonly replicas: readonly Replica[]
  /** `NS/NAME` of the Pods that run now and have a sidecar; undefined: not known. */
  readonly injected: ReadonlySet<string> | undefined
  /** Only sidecars of this namespace. */
  readonly only: string | undefined
}

/** Merges. A sidecar stands once: where it is connected, else where it was last; one whose Pod is gone is left out. */
export function mergeStatus({ cluster, namespace, replicas, injected, only }: MergeInput): ClusterStatus {
  const placed = new Map<string, PlacedSidecar>()
  const refusals: Record<string, number> = {}
  const answers = replicas.flatMap(({ pod, leads, answer }) =>
    answer.is === 'status' ? [{ pod, leads, status: answer.status }] : [],
  )
  for (const { pod, status } of answers) {
    for (const sidecar of status.sidecars) {
      const before = placed.get(sidecar.workload)
      if (before === undefined || isCloser(sidecar, before))
        placed.set(sidecar.workload, { ...sidecar, replica: pod, revision: status.revision })
    }
    for (const [cause, count] of Object.entries(status.certificateRefusals))
      refusals[cause] = (refusals[cause] ?? 0) + count
  }
  const isMeant = (workload: string): boolean => only === undefined || workload.startsWith(`${only}/`)
  const sidecars = [...placed.values()]
    .filter(({ workload, connected }) => connected || injected === undefined || injected.has(workload))
    .filter(({ workload }) => isMeant(workload))
    .sort((a, b) => (a.workload < b.workload ? -1 : 1))
  const spokesman: ControlPlaneStatus | undefined = (answers.find(({ leads }) => leads) ?? answers[0])?.status
  // While a replica does not answer, nobody knows who is on it.
  const allAnswer = answers.length === replicas.length
  return {
    cluster,
    namespace,
    leader: replicas.find(({ leads }) => leads)?.pod ?? '',
    replicas,
    sidecars,
    unheard: allAnswer ? [...(injected ?? [])].filter((pod) => isMeant(pod) && !placed.has(pod)).sort() : [],
    sources: spokesman?.sources ?? [],
    certificateRefusals: refusals,
  }
}

function isCloser(sidecar: SidecarStatus, before: SidecarStatus): boolean {
  return sidecar.connected === before.connected ? sidecar.since > before.since : sidecar.connected
}

/** Every replica answers, one leads, and everyone obeys what is written. */
export function isClusterWell({ leader, replicas, sidecars, unheard, sources }: ClusterStatus): boolean {
  return (
    leader !== '' &&
    unheard.length === 0 &&
    replicas.every(({ ready, answer }) => ready && answer.is === 'status' && answer.status.synced) &&
    sidecars.every(({ connected, inSync, rejected }) => connected && inSync && rejected.length === 0) &&
    sources.every(({ problems }) => problems.every(({ severity }) => severity !== 'error'))
  )
}

/** What a cluster says of one Pod's sidecar. */
import { systemClock } from '../../base/clock.ts'
import { messageOf } from '../../base/log.ts'
import { age } from '../age.ts'
import { askReplicas } from '../cluster/control-planes.ts'
import { mergeStatus } from '../cluster/merged-status.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { type ClusterPod, keyOf } from '../cluster/pods.ts'
import { sidecarImage, sidecarState } from '../cluster/sidecar-state.ts'
import type { Section } from './describe.ts'

/** State of the container by the kubelet, of the stream by the control plane. */
export async function sidecarSection(opened: OpenedCluster, pod: ClusterPod): Promise<Section> {
  const title = 'Sidecar'
  const state = sidecarState(pod)
  if (state.is === 'none') return { title, lines: [`none: 'outrigger check inject ${keyOf(pod)}' says why`] }
  const image = `image ${sidecarImage(pod) ?? '?'}`
  if (state.is === 'waiting') return { title, lines: [`does not run: ${state.reason}`, image] }
  const restarts = state.restarts === 0 ? '' : `, restarted ${state.restarts} times`
  return {
    title,
    lines: [
      `runs, ${state.ready ? 'ready' : 'not ready'}${restarts}`,
      image,
      ...(await streamLines(opened, keyOf(pod))),
    ],
  }
}

async function streamLines(opened: OpenedCluster, workload: string): Promise<string[]> {
  try {
    const replicas = await askReplicas(opened)
    const { sidecars } = mergeStatus({ cluster: '', namespace: '', replicas, injected: undefined, only: undefined })
    const known = sidecars.find((one) => one.workload === workload)
    const silent = replicas.find(({ answer }) => answer.is === 'silent')?.answer
    if (known === undefined)
      return [
        silent?.is === 'silent' ? `in sync? not known: ${silent.reason}` : 'no replica of the control plane knows it',
      ]
    const nowMs = systemClock.wall()
    return [
      known.connected
        ? `connected to ${known.replica}, ${known.inSync ? 'in sync' : `behind: ${known.ackedRevision} of ${known.revision}`}`
        : `not connected for ${age(nowMs - known.since)}: its last policy stays in force`,
      ...known.rejected.map(({ resource, reason }) => `refuses ${resource}: ${reason}`),
      `certificate: ${age(known.certificateExpiresAt - nowMs)} left`,
    ]
  } catch (error) {
    return [`in sync? not known: ${messageOf(error)}`]
  }
}

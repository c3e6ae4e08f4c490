import { inPod } from '../../base/kubernetes-names.ts'
import { type ClusterPod, type ContainerStatus, sidecarMark } from './pods.ts'

/** What becomes of the sidecar of a Pod, as the kubelet tells it. */
export type SidecarState =
  | { readonly is: 'none' }
  | { readonly is: 'waiting'; readonly reason: string }
  | { readonly is: 'running'; readonly ready: boolean; readonly restarts: number }

/** Looks for the sidecar's container, native or classic. */
export function sidecarState(pod: ClusterPod): SidecarState {
  const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]
  if (sidecarMark(pod) === undefined || !all.some(({ name }) => name === inPod.proxyContainer)) return { is: 'none' }
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
  const status = statuses.find(({ name }) => name === inPod.proxyContainer)
  // Nothing can be captured before the rules are there.
  const init = statuses.find(({ name }) => name === inPod.initContainer)
  const initReason = init === undefined ? undefined : notRunning(init)
  if (initReason !== undefined) return { is: 'waiting', reason: `its init container ${initReason}` }
  if (status === undefined) return { is: 'waiting', reason: `the Pod is ${pod.status?.phase ?? 'not started'}` }
  const reason = notRunning(status)
  if (reason !== undefined) return { is: 'waiting', reason }
  return { is: 'running', ready: status.ready ?? false, restarts: status.restartCount ?? 0 }
}

function notRunning({ state }: ContainerStatus): string | undefined {
  const { waiting, terminated } = state ?? {}
  if (waiting !== undefined && waiting.reason !== 'PodInitializing')
    return `waits: ${[waiting.reason, waiting.message].filter((part) => part !== undefined).join(': ')}`
  if (terminated !== undefined && terminated.exitCode !== 0)
    return `has ended: ${terminated.reason ?? 'exit code'} ${terminated.exitCode ?? ''}`.trim()
  return undefined
}

/** Image of the sidecar; undefined: it has none. */
export function sidecarImage(pod: ClusterPod): string | undefined {
  const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]
  return all.find(({ name }) => name === inPod.proxyContainer)?.image
}

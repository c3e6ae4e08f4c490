/** Pods of the mesh, and the sidecars in them. */

import { decide } from '../../../control-plane/inject/decision.ts'
import { injectPod } from '../../../control-plane/inject/inject-pod.ts'
import type { InjectionTemplate } from '../../../control-plane/inject/template.ts'
import { inSystem } from '../../base/kubernetes-names.ts'
import { version } from '../../base/version.ts'
import type { ClusterStatus } from '../cluster/merged-status.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { asClusterPod, asPod, type ClusterPod, found, hasEnded, keyOf, sidecarMark } from '../cluster/pods.ts'
import { sidecarState } from '../cluster/sidecar-state.ts'
import { uninjected } from '../cluster/uninjected.ts'
import { type Finding, failed, type Group, ok, some, warning } from './report.ts'

export interface Workloads {
  readonly pods: readonly ClusterPod[]
  /** Labels by namespace. */
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>
  readonly status: ClusterStatus
  /** As the control plane has it; undefined: it cannot be read. */
  readonly template: InjectionTemplate | undefined
  readonly systemNamespace: string
}

/** Sidecars that are missing, old, behind, or do not run. */
export function checkWorkloads({ pods, namespaces, status, template, systemNamespace }: Workloads): Group {
  const findings: Finding[] = []
  const live = pods.filter((pod) => !hasEnded(pod) && pod.metadata?.deletionTimestamp === undefined)
  const meshed = live.filter((pod) => sidecarMark(pod) !== undefined)
  const bare = live.filter((pod) => sidecarMark(pod) === undefined && isWanted(pod, namespaces, systemNamespace))
  findings.push(
    bare.length === 0
      ? ok(`every Pod that should have a sidecar has one: ${meshed.length}`)
      : warning(
          `without a sidecar in a namespace of the mesh: ${some(bare.map(keyOf))}`,
          `'outrigger check inject ${keyOf(bare[0]!)}' says why; older than the label? kubectl rollout restart`,
        ),
  )
  const stuck = meshed.flatMap((pod) => {
    const state = sidecarState(pod)
    return state.is === 'waiting' ? [`${keyOf(pod)} (${state.reason})`] : []
  })
  if (stuck.length > 0)
    findings.push(failed(`sidecars that do not run: ${some(stuck)}`, 'kubectl describe pod says why'))
  const behind = status.sidecars.filter(({ connected, inSync }) => connected && !inSync).map(({ workload }) => workload)
  const lost = status.sidecars.filter(({ connected }) => !connected).map(({ workload }) => workload)
  const refusing = status.sidecars.filter(({ rejected }) => rejected.length > 0).map(({ workload }) => workload)
  if (behind.length > 0)
    findings.push(
      warning(
        `not in sync yet: ${some(behind)}`,
        'that passes within a second; else the sidecar or the node is overloaded',
      ),
    )
  if (lost.length > 0)
    findings.push(
      failed(
        `not connected: ${some(lost)}`,
        'they go on with their last policy; kubectl logs POD -c outrigger-proxy says why',
      ),
    )
  if (refusing.length > 0)
    findings.push(
      failed(
        `refuse something: ${some(refusing)}`,
        "'outrigger status' has the reasons; their last good version is in force",
      ),
    )
  if (status.unheard.length > 0)
    findings.push(
      failed(
        `no replica knows: ${some(status.unheard)}`,
        'kubectl logs POD -c outrigger-proxy says why it does not connect',
      ),
    )
  if (behind.length + lost.length + refusing.length + status.unheard.length === 0)
    findings.push(ok(`${status.sidecars.length} sidecars are connected and in sync`))
  findings.push(...age(meshed, status, template))
  return { name: 'Workloads', findings }
}

function age(meshed: readonly ClusterPod[], status: ClusterStatus, template: InjectionTemplate | undefined): Finding[] {
  const restart = 'kubectl rollout restart brings them up to date'
  const programs = status.sidecars.filter(
    ({ connected, program }) => connected && program !== '' && program !== `outrigger ${version}`,
  )
  const old = template === undefined ? [] : meshed.filter((pod) => isOld(pod, template))
  return [
    ...(programs.length === 0
      ? []
      : [
          warning(
            `sidecars of another version than ${version}: ${some(programs.map(({ workload, program }) => `${workload} (${program})`))}`,
            restart,
          ),
        ]),
    ...(old.length === 0
      ? []
      : [warning(`injected with other settings than those of now: ${some(old.map(keyOf))}`, restart)]),
  ]
}

/** Whether the sidecar was injected with other settings than a new one would be. */
export function isOld(pod: ClusterPod, template: InjectionTemplate): boolean {
  const hash = sidecarMark(pod)?.hash
  return hash !== undefined && hash !== currentHash(pod, template)
}

/** What injection would write into this Pod today. */
function currentHash(pod: ClusterPod, template: InjectionTemplate): string | undefined {
  const context = { namespace: pod.metadata?.namespace ?? '', namespaceLabels: {} }
  const result = injectPod(uninjected(asPod(pod)), context, template)
  return result.is === 'injected' ? sidecarMark(asClusterPod(result.pod))?.hash : undefined
}

/** Whether somebody asked for a sidecar in this Pod, and it could have one. */
export function isWanted(
  pod: ClusterPod,
  namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>,
  systemNamespace: string,
): boolean {
  const namespace = pod.metadata?.namespace ?? ''
  const namespaceLabels = namespaces.get(namespace) ?? {}
  return decide(asPod(pod), { namespace, namespaceLabels, systemNamespace }).is === 'inject'
}

/** The control plane's settings, from its ConfigMap; undefined when they cannot be read. */
export async function readClusterTemplate({
  cluster,
  systemNamespace,
}: OpenedCluster): Promise<InjectionTemplate | undefined> {
  const { parseControlPlaneConfig } = await import('../../../control-plane/config.ts')
  const map = await found(cluster, `/api/v1/namespaces/${systemNamespace}/configmaps/${inSystem.name}-config`).catch(
    () => undefined,
  )
  const text = (map?.['data'] as Readonly<Record<string, string>> | undefined)?.['config.yaml']
  if (text === undefined) return undefined
  try {
    return { config: parseControlPlaneConfig(text, 'config.yaml'), systemNamespace }
  } catch {
    // Of another version, perhaps: its settings are not ours to judge.
    return undefined
  }
}

/** The replicas of the control plane of a cluster, each asked by itself. */
import type { ControlPlaneStatus } from '../../../control-plane/admin/status.ts'
import type { ApiObject, Cluster } from '../../../control-plane/kubernetes/cluster.ts'
import { inSystem } from '../../base/kubernetes-names.ts'
import { messageOf } from '../../base/log.ts'
import type { OpenedCluster } from './open.ts'
import { type ClusterPod, found, isReady, listAll, nameOf } from './pods.ts'
import { Forward } from './port-forward.ts'

/** Where the control plane answers people. */
export const adminPort = 15_014

/** One replica, and what it says. */
export interface Replica {
  readonly pod: string
  readonly ready: boolean
  readonly leads: boolean
  readonly answer:
    | { readonly is: 'status'; readonly status: ControlPlaneStatus }
    | { readonly is: 'silent'; readonly reason: string }
}

/** Pods of the control plane's Deployment. Throws an Error with the remedy when it is not installed. */
export async function controlPlanePods({ cluster, systemNamespace }: OpenedCluster): Promise<ClusterPod[]> {
  const deployment = await found(cluster, `/apis/apps/v1/namespaces/${systemNamespace}/deployments/${inSystem.name}`)
  if (deployment === undefined)
    throw new Error(
      `there is no Deployment ${inSystem.name} in namespace ${systemNamespace}: install the control plane with 'outrigger install', or name its namespace with --system-namespace`,
    )
  const labels = selectorOf(deployment)
  const labelSelector = Object.entries(labels)
    .map((pair) => pair.join('='))
    .join(',')
  const pods = await listAll<ClusterPod>(cluster, `/api/v1/namespaces/${systemNamespace}/pods`, { labelSelector })
  return pods.filter((pod) => Object.entries(labels).every(([name, value]) => pod.metadata?.labels?.[name] === value))
}

function selectorOf(deployment: ApiObject): Readonly<Record<string, string>> {
  const spec = deployment['spec'] as { selector?: { matchLabels?: Readonly<Record<string, string>> } } | undefined
  return spec?.selector?.matchLabels ?? {}
}

/** Name of the Pod that holds the Lease; '' when nobody does. */
export async function leaderOf({ cluster, systemNamespace }: OpenedCluster): Promise<string> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${systemNamespace}/leases/${inSystem.lease}`
  const lease = await found(cluster, path)
  return (lease?.['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity ?? ''
}

/** Asks every replica at once. */
export async function askReplicas(opened: OpenedCluster): Promise<Replica[]> {
  const [pods, leader] = await Promise.all([controlPlanePods(opened), leaderOf(opened)])
  if (pods.length === 0)
    throw new Error(
      `Deployment ${opened.systemNamespace}/${inSystem.name} has no Pods: kubectl -n ${opened.systemNamespace} describe deployment ${inSystem.name} says why`,
    )
  const replicas = await Promise.all(
    pods.map(async (pod): Promise<Replica> => {
      const name = nameOf(pod)
      const about = { pod: name, ready: isReady(pod), leads: name === leader }
      try {
        const status = await askStatus(opened.cluster, opened.systemNamespace, name)
        return { ...about, answer: { is: 'status', status } }
      } catch (error) {
        return { ...about, answer: { is: 'silent', reason: messageOf(error) } }
      }
    }),
  )
  return replicas.sort((a, b) => (a.pod < b.pod ? -1 : 1))
}

async function askStatus(cluster: Cluster, namespace: string, pod: string): Promise<ControlPlaneStatus> {
  await using forward = await Forward.open(cluster, { namespace, pod, port: adminPort })
  return JSON.parse(await forward.get('/status')) as ControlPlaneStatus
}

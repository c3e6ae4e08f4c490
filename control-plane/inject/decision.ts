/** Whether a Pod gets a sidecar, and why: the same words in events, in `outrigger inject` and in the answer of the webhook. */
import { inPod, marks } from '../../src/base/kubernetes-names.ts'
import type { Container, Pod, SecurityContext } from './pod.ts'

export type Decision =
  | { readonly is: 'inject' }
  | { readonly is: 'skip'; readonly code: string; readonly reason: string }
  /** The Pod asks for a sidecar and cannot have one. */
  | { readonly is: 'refuse'; readonly code: string; readonly reason: string }

export interface DecisionContext {
  readonly namespace: string
  readonly namespaceLabels: Readonly<Record<string, string>>
  /** Of the control plane. */
  readonly systemNamespace: string
}

/** Sidecars and init containers of Istio, Linkerd and Kuma. */
const otherMeshes: ReadonlySet<string> = new Set([
  'istio-proxy',
  'istio-init',
  'linkerd-proxy',
  'linkerd-init',
  'kuma-sidecar',
  'kuma-init',
])

const neverMeshed: ReadonlySet<string> = new Set(['kube-system', 'kube-public', 'kube-node-lease'])

/** The Pod's own label decides before its Namespace's. */
export function decide(pod: Pod, context: DecisionContext): Decision {
  const { namespace, namespaceLabels, systemNamespace } = context
  const asked = pod.metadata?.labels?.[marks.inject]
  const byNamespace = namespaceLabels[marks.inject]
  if (neverMeshed.has(namespace) || namespace === systemNamespace)
    return skip('system-namespace', `Pods of ${namespace} are never meshed`)
  if (asked !== undefined && asked !== 'true' && asked !== 'false')
    return refuse('invalid-label', `label ${marks.inject} is "${asked}": expected "true" or "false"`)
  if (asked === 'false') return skip('pod-label', `its label ${marks.inject} is "false"`)
  if (asked === undefined && byNamespace !== 'enabled') {
    return byNamespace === undefined
      ? skip('no-label', `neither it nor the Namespace ${namespace} has the label ${marks.inject}`)
      : skip('namespace-label', `its Namespace's label ${marks.inject} is "${byNamespace}", not "enabled"`)
  }
  const proxy = containersOf(pod).find(({ name }) => name === inPod.proxyContainer || name === inPod.initContainer)
  // The mark alone, copied from elsewhere, is no sidecar.
  if (proxy !== undefined && pod.metadata?.annotations?.[marks.status] !== undefined)
    return skip('injected', 'it has a sidecar already')
  if (pod.spec?.os?.name === 'windows') return skip('windows', 'it runs on Windows, where there is no sidecar')
  // In the node's network namespace rules would capture the traffic of the whole node.
  if (pod.spec?.hostNetwork === true) return skip('host-network', 'it uses the network of its node (hostNetwork)')
  const taken = usersOf(pod).find(([, uid, gid]) => uid === inPod.proxyUid || gid === inPod.proxyUid)
  if (taken !== undefined) {
    return refuse(
      'proxy-user',
      `${taken[0]} runs as user or group ${inPod.proxyUid}, whose traffic is not captured: it would bypass the mesh; choose another runAsUser`,
    )
  }
  if (proxy !== undefined)
    return refuse('container-name', `it has a container ${proxy.name} of its own; rename that one`)
  const other = containersOf(pod).find(({ name }) => otherMeshes.has(name))
  if (other !== undefined) {
    return refuse(
      'other-mesh',
      `its container ${other.name} is the sidecar of another mesh, and two would redirect each other's traffic: label it ${marks.inject}: "false", or take it out of the other one`,
    )
  }
  return { is: 'inject' }
}

/**
 * Who may change the rules that bring traffic to the sidecar: what a container does with NET_ADMIN cannot be known. An init
 * container has it to set rules; a container of the application may.
 */
export function networkAdmins(pod: Pod): { readonly init: readonly string[]; readonly apps: readonly string[] } {
  const names = (containers: readonly Container[] | undefined): string[] =>
    (containers ?? []).filter(({ securityContext }) => isNetworkAdmin(securityContext)).map(({ name }) => name)
  return { init: names(pod.spec?.initContainers), apps: names(pod.spec?.containers) }
}

function isNetworkAdmin(context: SecurityContext | undefined): boolean {
  return context?.capabilities?.add?.some((capability) => /^(CAP_)?(NET_ADMIN|ALL)$/i.test(capability)) === true
}

/** All containers, those that start first first. */
export function containersOf(pod: Pod): readonly Container[] {
  return [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]
}

function usersOf(pod: Pod): (readonly [who: string, uid: number | undefined, gid: number | undefined])[] {
  const own = pod.spec?.securityContext
  return [
    ['the Pod', own?.runAsUser, own?.runAsGroup],
    ...containersOf(pod).map(
      ({ name, securityContext }) =>
        [`its container ${name}`, securityContext?.runAsUser, securityContext?.runAsGroup] as const,
    ),
  ]
}

function skip(code: string, reason: string): Decision {
  return { is: 'skip', code, reason }
}

function refuse(code: string, reason: string): Decision {
  return { is: 'refuse', code, reason }
}

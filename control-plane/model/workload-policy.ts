import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import type { DocumentIndex } from './document-index.ts'
import type { Lookup } from './lookup.ts'
import { olderFirst } from './precedence.ts'
import { nearby, rootNamespace, type Scope, scopeFor } from './selection.ts'
import type { WorkloadIndex } from './workload-ports.ts'

export type MtlsModeName = 'DISABLE' | 'PERMISSIVE' | 'STRICT'

/** Whether a workload accepts plaintext, and who said so. */
export interface WorkloadMtls {
  readonly mode: MtlsModeName
  /** Undefined: no document says anything, PERMISSIVE holds. */
  readonly by: DocumentOf<'PeerAuthentication'> | undefined
  readonly ports: ReadonlyMap<number, MtlsModeName>
  /** The policy whose `proxyProtocol` holds. */
  readonly proxies: DocumentOf<'PeerAuthentication'> | undefined
}

/** The PeerAuthentication of a workload: its own, then its namespace's, then the mesh's (Istio's order). */
export function mtlsOf(index: DocumentIndex, pod: DocumentOf<'Pod'>): WorkloadMtls {
  const held = byScope(nearby(index, 'PeerAuthentication', pod), pod)
  const own = held.workload[0]
  const by = [own, held.namespace[0], held.mesh[0]].find((policy) => policy?.value.spec.mtls !== undefined)
  const ports = Object.entries(own?.value.spec.portLevelMtls ?? {}).map(
    ([port, mtls]) => [Number(port), mtls.mode] as const,
  )
  return {
    mode: by?.value.spec.mtls?.mode ?? 'PERMISSIVE',
    by,
    ports: new Map(ports.sort(([a], [b]) => a - b)),
    proxies: own,
  }
}

/** Sampling and access log of a workload, or of the mesh: each field by the closest policy that sets it. */
export interface ResolvedTelemetry {
  readonly sampling: DocumentOf<'TelemetryPolicy'> | undefined
  readonly accessLog: DocumentOf<'TelemetryPolicy'> | undefined
}

/** The TelemetryPolicies that hold for a workload; for the mesh when there is no Pod. */
export function telemetryOf(index: DocumentIndex, pod: DocumentOf<'Pod'> | undefined): ResolvedTelemetry {
  const held = pod === undefined ? meshWide(index) : byScope(nearby(index, 'TelemetryPolicy', pod), pod)
  const closest = [held.workload[0], held.namespace[0], held.mesh[0]]
  return {
    sampling: closest.find((policy) => policy?.value.spec.tracing !== undefined),
    accessLog: closest.find((policy) => policy?.value.spec.accessLog !== undefined),
  }
}

/** AuthorizationPolicies by the Pods behind their target Services, which may be in another namespace. */
export type Guards = ReadonlyMap<DocumentOf<'Pod'>, readonly DocumentOf<'AuthorizationPolicy'>[]>

/** Finds the Pods behind the targets of AuthorizationPolicies. */
export function guardsByPod(index: DocumentIndex, podsByService: WorkloadIndex['podsByService']): Guards {
  const guards = new Map<DocumentOf<'Pod'>, DocumentOf<'AuthorizationPolicy'>[]>()
  for (const policy of index.all('AuthorizationPolicy')) {
    const refs = policy.value.spec.targetRefs ?? []
    const pods = refs.flatMap((ref) => [...(podsByService.get(`${policy.namespace}/${ref.name}`) ?? [])])
    for (const pod of new Set(pods)) guards.set(pod, [...(guards.get(pod) ?? []), policy])
  }
  return guards
}

/** Every AuthorizationPolicy that holds for a workload: they add up, so there are no conflicts among them. */
export function authorizationsOf(
  index: DocumentIndex,
  guards: Lookup<DocumentOf<'Pod'>, readonly DocumentOf<'AuthorizationPolicy'>[]>,
  pod: DocumentOf<'Pod'>,
): readonly DocumentOf<'AuthorizationPolicy'>[] {
  const scoped = nearby(index, 'AuthorizationPolicy', pod).filter(
    (policy) => policy.value.spec.targetRefs === undefined && scopeFor(policy, pod) !== undefined,
  )
  return [...scoped, ...(guards.get(pod) ?? [])].sort(olderFirst)
}

/** Faults that a workload itself answers with. */
export function inboundFaultsOf(index: DocumentIndex, pod: DocumentOf<'Pod'>): readonly DocumentOf<'FaultInjection'>[] {
  return index
    .inNamespace('FaultInjection', pod.namespace)
    .filter((fault) => fault.value.spec.selector !== undefined && scopeFor(fault, pod) === 'workload')
}

type ScopedPolicy = DocumentOf<'PeerAuthentication'> | DocumentOf<'TelemetryPolicy'>

/** Enforced policies by how closely they hold, each list in order of precedence: only the first of each counts. */
export function byScope<D extends ScopedPolicy & Document>(
  policies: readonly D[],
  pod: DocumentOf<'Pod'>,
): Readonly<Record<Scope, readonly D[]>> {
  const held: Record<Scope, D[]> = { workload: [], namespace: [], mesh: [] }
  for (const policy of policies) {
    // A Shadow policy of these kinds has nothing that could be counted beside what is in force.
    const scope = policy.value.spec.mode === 'Enforce' ? scopeFor(policy, pod) : undefined
    if (scope !== undefined) held[scope].push(policy)
  }
  return held
}

function meshWide(index: DocumentIndex) {
  const mesh = index
    .inNamespace('TelemetryPolicy', rootNamespace)
    .filter((policy) => policy.value.spec.selector === undefined && policy.value.spec.mode === 'Enforce')
  return { workload: [], namespace: [], mesh }
}

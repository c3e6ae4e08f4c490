import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { DocumentIndex } from './document-index.ts'
import { isFaultRef } from './extension-ref.ts'
import type { Route, RouteRule } from './route.ts'

/** A policy that lost to an older one of its kind on one target. */
export interface Conflict<D> {
  readonly loser: D
  readonly winner: D
  /** Position in the loser's targetRefs. */
  readonly at: number
}

/** The BackendPolicies of Services. */
export interface ServicePolicies {
  /** By the Service's `NS/NAME`; a Shadow policy stands here only where no other holds. */
  readonly inForce: ReadonlyMap<string, DocumentOf<'BackendPolicy'>>
  readonly conflicts: readonly Conflict<DocumentOf<'BackendPolicy'>>[]
}

/**
 * One BackendPolicy for each Service: the oldest, then by name, whole (GEP-713: direct policies of one kind do not
 * merge). An enforced policy is never displaced by one in Shadow mode.
 */
export function backendPolicies(index: DocumentIndex): ServicePolicies {
  const inForce = new Map<string, DocumentOf<'BackendPolicy'>>()
  const conflicts: Conflict<DocumentOf<'BackendPolicy'>>[] = []
  const all = index.all('BackendPolicy')
  const enforcedFirst = [
    ...all.filter((p) => p.value.spec.mode === 'Enforce'),
    ...all.filter((p) => p.value.spec.mode === 'Shadow'),
  ]
  for (const policy of enforcedFirst) {
    for (const [at, ref] of policy.value.spec.targetRefs.entries()) {
      const key = `${policy.namespace}/${ref.name}`
      const winner = inForce.get(key)
      if (winner === undefined) inForce.set(key, policy)
      else if (winner !== policy) conflicts.push({ loser: policy, winner, at })
    }
  }
  return { inForce, conflicts }
}

/** Faults that target whole Services, by `NS/NAME`. Several may hold at once: each has its own share and match. */
export function serviceFaults(index: DocumentIndex): ReadonlyMap<string, readonly DocumentOf<'FaultInjection'>[]> {
  const faults = new Map<string, DocumentOf<'FaultInjection'>[]>()
  for (const fault of index.all('FaultInjection')) {
    for (const ref of fault.value.spec.targetRefs ?? []) {
      if (ref.kind !== 'Service') continue
      const key = `${fault.namespace}/${ref.name}`
      const known = faults.get(key) ?? []
      if (!known.includes(fault)) faults.set(key, [...known, fault])
    }
  }
  return faults
}

/** Faults of one rule of a route: those that target it, and those that it uses by ExtensionRef. */
export function ruleFaults(
  index: DocumentIndex,
  route: Route,
  rule: RouteRule,
): readonly DocumentOf<'FaultInjection'>[] {
  const used = new Set(
    (rule.filters ?? []).flatMap(({ extensionRef: ref }) => (ref !== undefined && isFaultRef(ref) ? [ref.name] : [])),
  )
  return index
    .inNamespace('FaultInjection', route.namespace)
    .filter(
      (fault) =>
        used.has(fault.name) ||
        (fault.value.spec.targetRefs ?? []).some(
          (ref) =>
            ref.kind === route.kind &&
            ref.name === route.name &&
            (ref.sectionName === undefined || ref.sectionName === rule.name),
        ),
    )
}

import { closest } from '../../src/api/documents/closest.ts'
import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import { type Problem, problemAt } from '../../src/api/documents/problem.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import { dangling } from './dangling.ts'
import { objectKey } from './document-key.ts'
import { isFaultRef } from './extension-ref.ts'
import type { MeshModel } from './mesh-model.ts'
import { allRoutes, findRoute, type RouteKind, rulesOf } from './route.ts'
import { rootNamespace, selectPods } from './selection.ts'

type Targeted = DocumentOf<'BackendPolicy'> | DocumentOf<'FaultInjection'> | DocumentOf<'AuthorizationPolicy'>
type Scoped = DocumentOf<'PeerAuthentication'> | DocumentOf<'TelemetryPolicy'>

/** What is wrong with the targets, selectors and dates of policies. `wallMs`: unix milliseconds. */
export function checkPolicies(model: MeshModel, wallMs: number): Problem[] {
  const { index } = model
  const backends = index.all('BackendPolicy')
  const faults = index.all('FaultInjection')
  const authorizations = index.all('AuthorizationPolicy')
  const scoped = [...index.all('PeerAuthentication'), ...index.all('TelemetryPolicy')]
  return [
    ...checkPolicyTargets(model),
    ...backends.flatMap(checkRetryRate),
    ...faults.flatMap((fault) => checkFault(model, fault, wallMs)),
    ...[...authorizations, ...faults, ...scoped].flatMap((policy) => checkSelector(model, policy)),
    ...authorizations.flatMap((policy) => checkReach(model, policy)),
    ...scoped.flatMap(checkShadow),
    ...scopeConflicts(model, index.all('PeerAuthentication')),
    ...scopeConflicts(model, index.all('TelemetryPolicy')),
  ]
}

/** The part that costs little however many Pods there are: targets that are missing, or that an older policy has. */
export function checkPolicyTargets(model: MeshModel): Problem[] {
  const { index } = model
  const targeted = [...index.all('BackendPolicy'), ...index.all('FaultInjection'), ...index.all('AuthorizationPolicy')]
  return [...targeted.flatMap((policy) => checkTargets(model, policy)), ...backendConflicts(model)]
}

function checkTargets(model: MeshModel, policy: Targeted): Problem[] {
  const problems: Problem[] = []
  for (const [at, ref] of (policy.value.spec.targetRefs ?? []).entries()) {
    const wanted = { kind: ref.kind, namespace: policy.namespace, name: ref.name }
    if (model.index.find(ref.kind, policy.namespace, ref.name) === undefined) {
      problems.push(dangling(model.index, policy, ['spec', 'targetRefs', at, 'name'], wanted))
    } else if (ref.kind !== 'Service' && ref.sectionName !== undefined) {
      const problem = checkSection(model, policy, at, { ...wanted, kind: ref.kind }, ref.sectionName)
      if (problem !== undefined) problems.push(problem)
    }
  }
  return problems
}

function checkSection(
  model: MeshModel,
  policy: Targeted,
  at: number,
  { kind, namespace, name: routeName }: { kind: RouteKind; namespace: string; name: string },
  section: string,
): Problem | undefined {
  const route = findRoute(model.index, kind, namespace, routeName)
  const rules = route === undefined ? [] : rulesOf(route)
  const names = rules.map((rule) => rule.name).filter((name) => name !== undefined)
  if (names.includes(section)) return undefined
  return problemAt(policy, ['spec', 'targetRefs', at, 'sectionName'], {
    code: 'dangling-reference',
    message: `${kind} ${namespace}/${routeName} has no rule named ${section}`,
    expected: names.length === 0 ? 'the name of one of its rules; none has one' : `one of ${names.join(', ')}`,
    suggestion: closest(section, names),
  })
}

function backendConflicts(model: MeshModel): Problem[] {
  return model.backendPolicies.conflicts.map(({ loser, winner, at }) =>
    conflicted(
      loser,
      ['spec', 'targetRefs', at],
      winner,
      `Service ${loser.namespace}/${loser.value.spec.targetRefs[at]?.name}`,
    ),
  )
}

/** Of two policies that hold equally closely for one workload the older is in force. */
function scopeConflicts(model: MeshModel, policies: readonly Scoped[]): Problem[] {
  const problems: Problem[] = []
  // Whom or what a policy holds for -> the first that does. One pass: a mesh may have thousands of policies and Pods.
  const holders = new Map<string, Scoped>()
  for (const policy of policies) {
    if (policy.value.spec.mode !== 'Enforce') continue
    const reach = reachOf(model, policy)
    const shared = reach.find((held) => holders.has(held))
    if (shared !== undefined) {
      const path = policy.value.spec.selector === undefined ? ['spec'] : ['spec', 'selector']
      problems.push(conflicted(policy, path, holders.get(shared)!, shared))
    }
    for (const held of reach) if (!holders.has(held)) holders.set(held, policy)
  }
  return problems
}

/** In the words of a problem, which are as good as a key. */
function reachOf(model: MeshModel, policy: Scoped): string[] {
  const labels = policy.value.spec.selector?.matchLabels
  if (labels !== undefined)
    return selectPods(model.index, policy.namespace, labels).map((pod) => `Pod ${objectKey(pod)}`)
  return [policy.namespace === rootNamespace ? 'the mesh' : `namespace ${policy.namespace}`]
}

function conflicted(loser: Document, path: readonly (string | number)[], winner: Document, target: string): Problem {
  const { file, line } = winner.origin
  // An object of a cluster has no line, and its name says where it is.
  const place = line === 0 ? '' : ` (${file}:${line})`
  const message =
    `conflicts with ${winner.kind} ${objectKey(winner)}${place}, which holds for ${target} already; ` +
    'the older of two is in force, and of two without a date the first by name'
  return problemAt(loser, path, { code: 'conflicted', message })
}

function checkRetryRate(policy: DocumentOf<'BackendPolicy'>): Problem[] {
  const rate = policy.value.spec.retryConstraint?.minRetryRate
  if (rate === undefined || rate.count === 0 || (rate.count * 1_000) / durationMs(rate.interval) >= 1) return []
  const message = `${rate.count} retries in ${rate.interval} is less than one a second and counts as none`
  const path = ['spec', 'retryConstraint', 'minRetryRate']
  return [problemAt(policy, path, { severity: 'warning', code: 'no-effect', message })]
}

function checkFault(model: MeshModel, fault: DocumentOf<'FaultInjection'>, wallMs: number): Problem[] {
  const problems: Problem[] = []
  const { expiresAt, targetRefs, selector } = fault.value.spec
  if (expiresAt !== undefined && Date.parse(expiresAt) <= wallMs) {
    const message = `expired at ${expiresAt}: it injects nothing any more`
    problems.push(problemAt(fault, ['spec', 'expiresAt'], { severity: 'warning', code: 'expired', message }))
  }
  if (targetRefs === undefined && selector === undefined && !isUsed(model, fault)) {
    const message = 'has neither targetRefs nor selector, and no route uses it: it injects nothing'
    problems.push(problemAt(fault, ['spec'], { severity: 'warning', code: 'no-effect', message }))
  }
  return problems
}

function isUsed(model: MeshModel, fault: DocumentOf<'FaultInjection'>): boolean {
  return allRoutes(model.index).some(
    (route) =>
      route.namespace === fault.namespace &&
      rulesOf(route).some((rule) =>
        rule.filters?.some(({ extensionRef: ref }) => ref?.name === fault.name && isFaultRef(ref)),
      ),
  )
}

function checkSelector(model: MeshModel, policy: Exclude<Targeted | Scoped, { kind: 'BackendPolicy' }>): Problem[] {
  const labels = policy.value.spec.selector?.matchLabels
  if (labels === undefined || selectPods(model.index, policy.namespace, labels).length > 0) return []
  const wanted = Object.entries(labels).map(([name, value]) => `${name}: ${value}`)
  const pods = model.index.inNamespace('Pod', policy.namespace)
  const values = pods.flatMap((pod) => Object.entries(pod.value.metadata.labels ?? {}).map((pair) => pair.join(': ')))
  const suggestion = wanted.length === 1 ? closest(wanted[0]!, [...new Set(values)]) : undefined
  const message = `selects no Pod of namespace ${policy.namespace}: none is labelled ${wanted.join(', ')}`
  const path = ['spec', 'selector', 'matchLabels']
  return [problemAt(policy, path, { severity: 'warning', code: 'selects-nothing', message, suggestion })]
}

/** A policy that guards nothing looks like protection and is none. */
function checkReach(model: MeshModel, policy: DocumentOf<'AuthorizationPolicy'>): Problem[] {
  const { selector, targetRefs } = policy.value.spec
  const warn = (path: readonly (string | number)[], message: string) => [
    problemAt(policy, path, { severity: 'warning', code: 'selects-nothing', message }),
  ]
  if (selector !== undefined) return []
  if (targetRefs !== undefined) {
    const keys = targetRefs.map((ref) => `${policy.namespace}/${ref.name}`)
    const known = keys.filter((key) => model.workloads.podsByService.has(key))
    // A Service that does not exist is told as a dangling reference.
    if (known.length === 0 || known.some((key) => model.workloads.podsByService.get(key)!.size > 0)) return []
    return warn(['spec', 'targetRefs'], `there is no Pod behind Service ${known.join(', ')}`)
  }
  const pods = model.index.all('Pod')
  if (pods.some((pod) => policy.namespace === rootNamespace || pod.namespace === policy.namespace)) return []
  return warn(['metadata', 'namespace'], `selects nothing: namespace ${policy.namespace} has no Pods`)
}

function checkShadow(policy: Scoped): Problem[] {
  if (policy.value.spec.mode === 'Enforce') return []
  const message = `a ${policy.kind} in Shadow mode has no effect: there is nothing to count beside what is in force`
  return [problemAt(policy, ['spec', 'mode'], { severity: 'warning', code: 'no-effect', message })]
}

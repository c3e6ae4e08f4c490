/** Status of our own kinds: conditions of the whole, and of each target (GEP-713). */
import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { targetGroups } from '../../src/api/policy/attachment.ts'
import { type Statement, statement } from './condition.ts'
import { notProgrammed, notPublished, programmed } from './programmed.ts'
import { type Situation, tell } from './situation.ts'

/** Reference to a target, as `status.ancestors[].ancestorRef` has it. */
export interface AncestorRef {
  readonly group: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly sectionName?: string
}

export interface AncestorStatement {
  readonly ancestorRef: AncestorRef
  readonly statements: readonly Statement[]
}

export interface PolicyStatement {
  readonly statements: readonly Statement[]
  /** Of a policy that names targets. */
  readonly ancestors: readonly AncestorStatement[]
}

type TargetRef = NonNullable<DocumentOf<'FaultInjection'>['value']['spec']['targetRefs']>[number]

/** Codes of the model that keep a target from having the policy, and the reason that they are. */
const targetFaults: Readonly<Record<string, string>> = {
  'dangling-reference': 'TargetNotFound',
  conflicted: 'Conflicted',
}

export function policyStatus(situation: Situation): PolicyStatement {
  const { good } = situation.object
  if (situation.unread.length > 0 || good === undefined) {
    return { statements: unread(situation), ancestors: [] }
  }
  const targets = targetsOf(good).map((ref, at) => ({ ref, ...targetStanding(situation, at) }))
  const accepted = acceptance(situation, targets)
  const ancestors = targets.map(({ ref, reason, message }) => ({
    ancestorRef: ancestorRef(good.namespace, ref),
    statements: [
      reason === undefined
        ? statement('Accepted', 'True', 'Accepted', `holds for ${ref.kind} ${good.namespace}/${ref.name}`)
        : statement('Accepted', 'False', reason, message),
    ],
  }))
  return { statements: [accepted, resolution(targets), inForce(situation, accepted)], ancestors }
}

function unread({ unread: problems, object }: Situation): Statement[] {
  const { good } = object
  const kept = good === undefined ? 'no version of it is in force' : `version ${good.version} stays in force`
  return [
    statement('Accepted', 'False', 'Invalid', tell(problems)),
    statement('ResolvedRefs', 'Unknown', 'Invalid', 'not looked at: the policy cannot be read'),
    notProgrammed('Invalid', kept),
  ]
}

interface TargetStanding {
  /** Why it does not hold for the target. */
  readonly reason: string | undefined
  readonly message: string
}

function targetsOf(document: Document): readonly TargetRef[] {
  const { spec } = document.value as { readonly spec?: { readonly targetRefs?: readonly TargetRef[] } }
  return spec?.targetRefs ?? []
}

function targetStanding({ problems }: Situation, at: number): TargetStanding {
  const path = `spec.targetRefs[${at}]`
  const problem = problems.find((one) => isWithin(one.path, path) && Object.hasOwn(targetFaults, one.code))
  return { reason: problem && targetFaults[problem.code], message: problem?.message ?? '' }
}

function isWithin(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}.`)
}

function acceptance({ problems, acks, isPublished }: Situation, targets: readonly TargetStanding[]): Statement {
  const expired = problems.find(({ code }) => code === 'expired')
  if (expired !== undefined) return statement('Accepted', 'False', 'Expired', expired.message)
  const [first] = targets
  if (first?.reason !== undefined && targets.every(({ reason }) => reason !== undefined)) {
    return statement('Accepted', 'False', first.reason, tell(problems))
  }
  // One that selects may lose to an older one on some workloads and hold for others.
  const conflict = problems.find(({ code, path }) => code === 'conflicted' && !path.startsWith('spec.targetRefs'))
  if (conflict !== undefined && acks === undefined && isPublished)
    return statement('Accepted', 'False', 'Conflicted', conflict.message)
  return statement('Accepted', 'True', 'Accepted', tell(problems) || 'in order')
}

function resolution(targets: readonly TargetStanding[]): Statement {
  const missing = targets.filter(({ reason }) => reason === 'TargetNotFound')
  if (missing.length > 0)
    return statement('ResolvedRefs', 'False', 'TargetNotFound', missing.map(({ message }) => message).join('; '))
  const message = targets.length === 0 ? 'it names no targets' : 'every target is there'
  return statement('ResolvedRefs', 'True', 'ResolvedRefs', message)
}

function inForce({ acks, problems, isPublished }: Situation, accepted: Statement): Statement {
  if (accepted.status === 'False') return notProgrammed(accepted.reason, accepted.message)
  if (!isPublished) return notPublished
  if (acks !== undefined) return programmed(acks)
  return statement('Programmed', 'Unknown', 'NoEffect', tell(problems) || 'no workload or Service has it')
}

function ancestorRef(namespace: string, { kind, name, sectionName }: TargetRef): AncestorRef {
  return { group: targetGroups[kind], kind, namespace, name, ...(sectionName === undefined ? {} : { sectionName }) }
}

/** Problems by the place of their document. */
export function byOrigin(problems: Iterable<Problem>): ReadonlyMap<string, readonly Problem[]> {
  return Map.groupBy(problems, ({ file }) => file)
}

/** Conditions in the words of Kubernetes: one for each type, with the time of its last change. */

export type ConditionStatus = 'True' | 'False' | 'Unknown'

/** What we say of an object; the time comes when it is written. */
export interface Statement {
  readonly type: 'Accepted' | 'ResolvedRefs' | 'Programmed'
  readonly status: ConditionStatus
  /** One word: tables in control-plane/README.md. */
  readonly reason: string
  readonly message: string
}

/** `metav1.Condition`. */
export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration?: number
  readonly lastTransitionTime: string
}

/** metav1.Condition has a limit of 32,768; nobody reads that much. */
const messageMax = 1_024

export function statement(
  type: Statement['type'],
  status: ConditionStatus,
  reason: string,
  message: string,
): Statement {
  const shown = message.length > messageMax ? `${message.slice(0, messageMax - 3)}...` : message
  return { type, status, reason, message: shown }
}

/**
 * The conditions to write: ours as stated, those of types that we do not state as they stand. The time of a condition moves
 * when its status does, not when its words do.
 */
export function conditionsOf(
  statements: readonly Statement[],
  before: readonly Condition[],
  observedGeneration: number,
  now: string,
): Condition[] {
  const stated = statements.map((one): Condition => {
    const known = before.find(({ type }) => type === one.type)
    const lastTransitionTime = known?.status === one.status ? known.lastTransitionTime : now
    return { ...one, observedGeneration, lastTransitionTime }
  })
  return [...stated, ...before.filter(({ type }) => !statements.some((one) => one.type === type))]
}

/** Conditions of a value that anybody may have written. */
export function readConditions(value: unknown): readonly Condition[] {
  if (!Array.isArray(value)) return []
  return value.filter(
    (one: unknown): one is Condition =>
      typeof one === 'object' && one !== null && typeof (one as { type?: unknown }).type === 'string',
  )
}

/** What should stand in the status of every object: pure, of documents, problems and acknowledgements. */
import { isDeepStrictEqual } from 'node:util'
import type { Problem } from '../../src/api/documents/problem.ts'
import { documentKey } from '../model/document-key.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import { isRouteKind } from '../model/route.ts'
import { objectOrigin } from '../sources/kubernetes/read-object.ts'
import type { Kept } from '../sources/kubernetes/source.ts'
import { conditionsOf, readConditions } from './condition.ts'
import { policyStatus } from './policy-status.ts'
import type { Acks } from './programmed.ts'
import { type ParentStatement, routeStatus } from './route-status.ts'
import { controllerName, type Situation } from './situation.ts'

export interface StatusInputs {
  readonly objects: Iterable<Kept>
  readonly model: MeshModel
  /** Of the source, by document: what cannot be read. */
  readonly unread: ReadonlyMap<string, readonly Problem[]>
  /** Of the model, by document. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>
  /** False: nothing is, until every policy that protects is in order. */
  readonly isPublished: boolean
  /** By document key; none: no resource brings it to a sidecar. */
  readonly acks: ReadonlyMap<string, Acks>
  /** RFC 3339, to the second. */
  readonly now: string
}

/** The part of an object's status that is to be written. */
export interface WantedStatus {
  readonly object: Kept
  readonly status: Readonly<Record<string, unknown>>
}

/** Those whose status is not what it should be. */
export function* staleStatuses(inputs: StatusInputs): Iterable<WantedStatus> {
  for (const object of inputs.objects) {
    const { kind, namespace, name } = object.reading
    const file = objectOrigin(kind, namespace, name)
    const situation: Situation = {
      object,
      model: inputs.model,
      unread: object.reading.problems.length === 0 ? [] : (inputs.unread.get(file) ?? object.reading.problems),
      problems: inputs.problems.get(file) ?? [],
      isPublished: inputs.isPublished,
      acks: inputs.acks.get(documentKey(object.reading)),
    }
    const status = wantedStatus(situation, inputs.now)
    if (status !== undefined) yield { object, status }
  }
}

function wantedStatus(situation: Situation, now: string): WantedStatus['status'] | undefined {
  const { reading } = situation.object
  const held = (reading.written?.status ?? {}) as Readonly<Record<string, unknown>>
  if (isRouteKind(reading.kind)) {
    const before = entriesOf(held['parents'])
    const parents = withOurs(before, 'parentRef', routeStatus(situation).map(entryOfParent), reading.generation, now)
    return isDeepStrictEqual(parents, held['parents'] ?? []) ? undefined : { parents }
  }
  const { statements, ancestors } = policyStatus(situation)
  const conditions = conditionsOf(statements, readConditions(held['conditions']), reading.generation, now)
  const wanted = ancestors.map(({ ancestorRef, statements: own }) => ({ ref: ancestorRef, statements: own }))
  const next = withOurs(entriesOf(held['ancestors']), 'ancestorRef', wanted, reading.generation, now)
  const isSame = isDeepStrictEqual(conditions, held['conditions']) && isDeepStrictEqual(next, held['ancestors'] ?? [])
  if (isSame) return undefined
  return { conditions, ...(next.length > 0 || held['ancestors'] !== undefined ? { ancestors: next } : {}) }
}

/** An entry of `parents` or `ancestors`. */
type Entry = Readonly<Record<string, unknown>>

interface WantedEntry {
  readonly ref: object
  readonly statements: ParentStatement['statements']
}

/** Gateway API's limit, of all controllers together. */
const entriesMax = { parentRef: 32, ancestorRef: 16 } as const

/**
 * The list with our entries as they should be. Those of other controllers stay as they are and where they are: two that
 * both put theirs in order would never come to rest.
 */
function withOurs(
  before: readonly Entry[],
  refField: keyof typeof entriesMax,
  wanted: readonly WantedEntry[],
  generation: number,
  now: string,
): Entry[] {
  const left = new Set(wanted)
  const entry = ({ ref, statements }: WantedEntry, known: Entry | undefined): Entry => ({
    [refField]: ref,
    controllerName,
    conditions: conditionsOf(statements, readConditions(known?.['conditions']), generation, now),
  })
  const kept = before.flatMap((known): Entry[] => {
    if (known['controllerName'] !== controllerName) return [known]
    const match = [...left].find(({ ref }) => isDeepStrictEqual(known[refField], ref))
    if (match === undefined) return []
    left.delete(match)
    return [entry(match, known)]
  })
  return [...kept, ...[...left].map((one) => entry(one, undefined))].slice(0, entriesMax[refField])
}

function entryOfParent({ parentRef, statements }: ParentStatement): WantedEntry {
  return { ref: parentRef, statements }
}

function entriesOf(value: unknown): readonly Entry[] {
  if (!Array.isArray(value)) return []
  return value.filter((entry: unknown): entry is Entry => typeof entry === 'object' && entry !== null)
}

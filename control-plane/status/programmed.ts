import type { PolicyAcks } from '../../src/api/gen/outrigger_pb.ts'
import { namedRejectionsMax } from '../stream/acks.ts'
import { type Statement, statement } from './condition.ts'

/** How far all sidecars are with one document, over every replica that could be asked. */
export interface Acks extends Pick<PolicyAcks, 'sidecars' | 'acked' | 'rejected'> {
  readonly rejections: readonly { readonly workload: string; readonly resource: string; readonly reason: string }[]
  /** Replicas of the control plane that did not answer: their sidecars are not counted. */
  readonly unasked: readonly string[]
}

/** Nobody was asked, or nothing is there to ask about. */
export const noAcks: Acks = { sidecars: 0, acked: 0, rejected: 0, rejections: [], unasked: [] }

/** Both together. */
export function addAcks(one: Acks, other: Omit<Acks, 'unasked'>): Acks {
  return {
    sidecars: one.sidecars + other.sidecars,
    acked: one.acked + other.acked,
    rejected: one.rejected + other.rejected,
    rejections: [...one.rejections, ...other.rejections].slice(0, namedRejectionsMax),
    unasked: one.unasked,
  }
}

/** The condition `Programmed` of a document that is in force. */
export function programmed({ sidecars, acked, rejected, rejections, unasked }: Acks): Statement {
  const blind = unasked.length === 0 ? '' : `; not counted are those of ${unasked.join(', ')}`
  const share = `${acked} of ${sidecars} connected sidecars that use it have it${blind}`
  if (rejected > 0) {
    const named = rejections.map(({ workload, resource, reason }) => `${workload} refused ${resource}: ${reason}`)
    const more = rejected > named.length ? `; and ${rejected - named.length} more` : ''
    return statement('Programmed', 'False', 'Rejected', `${share}; ${named.join('; ')}${more}`)
  }
  if (acked < sidecars) return statement('Programmed', 'False', 'Pending', share)
  if (unasked.length > 0) return statement('Programmed', 'Unknown', 'ReplicaNotReached', share)
  if (sidecars === 0) {
    return statement('Programmed', 'Unknown', 'NoSidecars', 'no sidecar is connected that uses it')
  }
  return statement('Programmed', 'True', 'Programmed', share)
}

/** At a start on documents that are not in order. */
export const notPublished: Statement = statement(
  'Programmed',
  'False',
  'Pending',
  'nothing is published before every policy that protects is in order: see `outrigger status`',
)

/** The condition `Programmed` of a document that no sidecar gets. */
export function notProgrammed(reason: string, message: string): Statement {
  return statement('Programmed', 'False', reason, message)
}

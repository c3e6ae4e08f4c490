/** What the pools of both protocols have in common about one try. */
import { MeshError } from '../base/errors.ts'

/** What the admin API shows of a pool. */
export interface PoolCount {
  readonly open: number
  readonly idle: number
  readonly active: number
  readonly waiting: number
}

const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** RFC 9110 section 9.2.2. */
export function isIdempotent(method: string): boolean {
  return idempotent.has(method)
}

/** The same reason, and that nothing was sent. */
export function unsent(reason: MeshError): MeshError {
  if (reason.unsent) return reason
  return new MeshError(reason.code, reason.message, { policy: reason.policy, status: reason.status, unsent: true })
}

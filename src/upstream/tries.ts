/** What the pools of both protocols have in common about one try. */
import { MeshError } from '../base/errors.ts'

/** What the admin API shows of a pool. */
export interface PoolCount {
  readonly open: number
  readonly idle: number
  readonly active: number
  readonly waiting: number
}

/** The same reason, and that nothing was sent. */
export function unsent(reason: MeshError): MeshError {
  if (reason.unsent) return reason
  return new MeshError(reason.code, reason.message, { policy: reason.policy, status: reason.status, unsent: true })
}

/** A pool that is being closed begins nothing. */
export function drained(pool: string): MeshError {
  return new MeshError('DRAINING', `pool of ${pool} is closed`, { unsent: true })
}

export function overflow(pool: string, limit: string, value: number): MeshError {
  return new MeshError('POOL_OVERFLOW', `connection pool of ${pool} is full: ${limit} ${value}`, { unsent: true })
}

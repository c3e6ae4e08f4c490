import type { Clock } from '../base/clock.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import type { Layer } from '../base/stack.ts'
import { TimeoutQueue, timed } from './timeout-queue.ts'

/**
 * The time for the whole exchange, retries and response body included (HTTPRoute `timeouts.request`, GEP-1742).
 * Cancels the exchange with DEADLINE. A tunnel, once made, may last.
 */
export function deadline(ms: number, policy: PolicyRef | undefined, clock: Clock): Layer | undefined {
  if (ms === 0) return undefined
  const queue = new TimeoutQueue<Exchange>(clock, ms, ({ of: exchange }) => {
    exchange.decide(clock.now(), 'deadline', `${ms} ms are over`, policy)
    exchange.cancel(new MeshError('DEADLINE', `no answer within ${ms} ms`, { policy }))
  })
  return (next) => timed(queue, next)
}

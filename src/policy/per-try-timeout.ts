import type { Clock } from '../base/clock.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import type { Layer } from '../base/stack.ts'
import { TimeoutQueue, timed } from './timeout-queue.ts'

/**
 * The time for one try, from its start until its response is whole (HTTPRoute `timeouts.backendRequest`, GEP-1742).
 * Ends the try with TRY_TIMEOUT; retry, above, may make another. A tunnel, once made, may last.
 */
export function perTryTimeout(ms: number, policy: PolicyRef | undefined, clock: Clock): Layer | undefined {
  if (ms === 0) return undefined
  const queue = new TimeoutQueue<Exchange>(clock, ms, ({ of: exchange, attempts }) => {
    // Belongs to a try whose response was given up: what the exchange waits for now is another one.
    if (exchange.attempts.length > attempts + 1) return
    exchange.decide(clock.now(), 'per-try-timeout', `${ms} ms are over`, policy)
    exchange.abort(new MeshError('TRY_TIMEOUT', `no answer to this try within ${ms} ms`, { policy }))
  })
  return (next) => timed(queue, next)
}

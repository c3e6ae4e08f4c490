import { MeshError } from '../base/errors.ts'
import type { Layer } from '../base/stack.ts'

/** How many exchanges are under way: those whose last byte is not out yet. */
export interface InFlight {
  readonly max: number
  /** `max` is lower than it was set: memory is short. */
  readonly short?: boolean
  /** One more begins, unless `max` are under way. */
  enter(): boolean
  leave(): void
}

/** The limit of a sidecar without threads. */
export class OwnInFlight implements InFlight {
  count = 0
  readonly max: number

  constructor(max: number) {
    this.max = max
  }

  enter(): boolean {
    if (this.count >= this.max) return false
    this.count++
    return true
  }

  leave(): void {
    this.count--
  }
}

/**
 * Refuses with OVERLOADED before any work is done, once `limit.max` exchanges are under way. An exchange is under way until
 * its last byte is out (Envoy counts an active request so), whatever became of it.
 */
export function inFlight(limit: InFlight): Layer {
  return (next) => (exchange) => {
    if (!limit.enter()) {
      return Promise.reject(
        new MeshError(
          'OVERLOADED',
          `${limit.max} requests are in flight already${limit.short === true ? ', and memory is short' : ''}`,
          { unsent: true },
        ),
      )
    }
    const { onComplete } = exchange
    exchange.onComplete = (completion) => {
      limit.leave()
      onComplete?.(completion)
    }
    return next(exchange)
  }
}

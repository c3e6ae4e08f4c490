import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { Layer, Service } from '../base/stack.ts'

/** How many exchanges are under way: those whose response body has not ended. */
export interface InFlight {
  readonly max: number
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

/** Refuses with OVERLOADED before any work is done, once `limit.max` exchanges are under way. */
export function inFlight(limit: InFlight): Layer {
  const leave = (): void => limit.leave()
  return (next) => (exchange) => {
    if (!limit.enter()) {
      return Promise.reject(
        new MeshError('OVERLOADED', `${limit.max} requests are in flight already`, { unsent: true }),
      )
    }
    return follow(next, exchange, leave)
  }
}

async function follow(next: Service, exchange: Exchange, leave: () => void): Promise<Response> {
  let response: Response
  try {
    response = await next(exchange)
  } catch (error) {
    leave()
    throw error
  }
  response.onFinish(leave)
  return response
}

import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { Layer, Service } from '../base/stack.ts'

/** How many exchanges are under way; shared between the layer and the metrics. */
export class InFlight {
  /** Exchanges whose response body has not ended. */
  count = 0
  readonly max: number

  constructor(max: number) {
    this.max = max
  }
}

/** Refuses with OVERLOADED before any work is done, once `limit.max` exchanges are under way. */
export function inFlight(limit: InFlight): Layer {
  const leave = (): void => {
    limit.count--
  }
  return (next) => (exchange) => {
    if (limit.count >= limit.max) {
      return Promise.reject(
        new MeshError('OVERLOADED', `${limit.max} requests are in flight already`, { unsent: true }),
      )
    }
    limit.count++
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

import type { Backend } from '../balance/backends.ts'
import type { Endpoint } from '../balance/endpoint-set.ts'
import { MeshError } from '../base/errors.ts'
import type { Attempt, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import { beginAttempt, type Try } from './attempt.ts'
import type { OutboundEnv } from './env.ts'
import { blamesUpstream } from './failure.ts'

/**
 * Chooses the endpoint of this try, makes the attempt, and keeps the endpoint's books: in-flight until the body has
 * ended, latency to the head, outlier detection. Throws NO_HEALTHY_ENDPOINT.
 */
export function pick(backend: Backend, env: OutboundEnv, next: Try): Service {
  const { clock, onAttempt } = env
  return async (exchange) => {
    if (exchange.cancelled !== undefined) throw exchange.cancelled
    const endpoint = backend.choose(exchange)
    const startedAt = clock.now()
    const attempt = beginAttempt(exchange, endpoint, backend.name, startedAt)
    onAttempt?.(exchange, attempt)
    endpoint.inFlight++
    let response: Response
    try {
      response = await next(exchange, attempt, endpoint)
    } catch (caught) {
      end(backend, endpoint, attempt, MeshError.from(caught), clock.now())
      throw caught
    }
    const now = clock.now()
    attempt.status = response.status
    attempt.endedAt = now
    endpoint.observe(now - startedAt, now)
    if (response.finished) end(backend, endpoint, attempt, response.failure, now)
    else response.onFinish((failure) => end(backend, endpoint, attempt, failure, clock.now()))
    return response
  }
}

function end(backend: Backend, endpoint: Endpoint, attempt: Attempt, error: MeshError | undefined, now: number): void {
  endpoint.inFlight--
  attempt.endedAt = now
  attempt.error = error
  const outlier = backend.outlier
  if (outlier === undefined) return
  if (error === undefined) outlier.record(endpoint, attempt.status >= 500, now)
  else if (blamesUpstream(error)) outlier.record(endpoint, true, now)
}

import type { Backend } from '../balance/backends.ts'
import type { Endpoint } from '../balance/endpoint-set.ts'
import { MeshError } from '../base/errors.ts'
import type { Attempt, Exchange, Response } from '../base/exchange.ts'
import { grpcStatusOf } from '../base/grpc.ts'
import type { Service } from '../base/stack.ts'
import { beginAttempt, type Try } from './attempt.ts'
import type { OutboundEnv } from './env.ts'
import { blamesUpstream, verdictOf } from './failure.ts'

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
      const error = MeshError.from(caught)
      const failedAt = clock.now()
      end(endpoint, attempt, error, failedAt)
      if (exchange.isGrpc) attempt.grpcStatus = error.grpc
      if (blamesUpstream(error)) backend.outlier?.record(endpoint, true, failedAt)
      throw caught
    }
    const now = clock.now()
    attempt.status = response.status
    attempt.endedAt = now
    endpoint.observe(now - startedAt, now)
    if (response.finished) answered(backend, endpoint, attempt, exchange, response, now)
    else response.onFinish(() => answered(backend, endpoint, attempt, exchange, response, clock.now()))
    return response
  }
}

function end(endpoint: Endpoint, attempt: Attempt, error: MeshError | undefined, now: number): void {
  endpoint.inFlight--
  attempt.endedAt = now
  attempt.error = error
}

/** The answer is whole, or broke off. */
function answered(
  backend: Backend,
  endpoint: Endpoint,
  attempt: Attempt,
  exchange: Exchange,
  response: Response,
  now: number,
): void {
  const { failure } = response
  end(endpoint, attempt, failure, now)
  if (exchange.isGrpc) attempt.grpcStatus = grpcStatusOf(response)
  const outlier = backend.outlier
  if (outlier === undefined) return
  if (exchange.isGrpc) {
    const verdict = verdictOf(response, exchange)
    if (verdict === 'failed' || verdict === 'good') outlier.record(endpoint, verdict === 'failed', now)
  } else if (failure === undefined) outlier.record(endpoint, attempt.status >= 500, now)
  else if (blamesUpstream(failure)) outlier.record(endpoint, true, now)
}

import type { Backend } from '../balance/backends.ts'
import type { Admission, Breaker } from '../balance/breaker.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { Layer } from '../base/stack.ts'
import type { TryLayer } from './attempt.ts'
import type { PolicyEnv } from './env.ts'
import { answerText, blamesUpstream, verdictOf } from './failure.ts'

/**
 * The breaker of the whole Service (BackendPolicy `circuitBreaker`, scope Service): open, it rejects with BREAKER_OPEN.
 * It stands in every stack and looks the breaker up, because the policy belongs to the backend, not to the route.
 */
export function serviceBreaker(backend: Backend, env: PolicyEnv): Layer {
  return (next) => (exchange) => {
    const breaker = backend.breaker
    if (breaker === undefined) return next(exchange)
    return guarded(breaker, backend, exchange, '', env, () => next(exchange))
  }
}

/** The breaker of the endpoint that was chosen (scope Endpoint). */
export function endpointBreaker(backend: Backend, env: PolicyEnv): TryLayer {
  return (next) => (exchange, attempt, endpoint) => {
    const breaker = backend.breakerOf(endpoint)
    if (breaker === undefined) return next(exchange, attempt, endpoint)
    return guarded(breaker, backend, exchange, attempt.endpoint, env, () => next(exchange, attempt, endpoint))
  }
}

async function guarded(
  breaker: Breaker,
  backend: Backend,
  exchange: Exchange,
  endpoint: string,
  env: PolicyEnv,
  send: () => Promise<Response>,
): Promise<Response> {
  const admission = breaker.admit()
  if (admission === 'rejected' || admission === 'uncounted') {
    env.onEvent?.({
      layer: 'circuit-breaker',
      outcome: 'rejected',
      policy: backend.policy,
      shadow: admission === 'uncounted',
    })
  }
  if (admission === 'rejected') {
    const of = endpoint === '' ? backend.name : `${endpoint} of ${backend.name}`
    throw new MeshError('BREAKER_OPEN', `the breaker of ${of} is ${breaker.state} (rejecting)`, {
      policy: backend.policy,
      unsent: true,
    })
  }
  if (admission === 'probe')
    exchange.decide(env.clock.now(), 'circuit-breaker', 'this request is the probe', backend.policy)
  let response: Response
  try {
    response = await send()
  } catch (caught) {
    const error = MeshError.from(caught)
    if (blamesUpstream(error)) breaker.failed(admission, env.clock.now(), `${error.code} ${error.message}`)
    else breaker.ended(admission)
    throw caught
  }
  if (verdictOf(response, exchange) !== 'unknown') tell(breaker, admission, response, exchange, env)
  // A probe does not wait for the end of a stream, and everybody else with it: that it is being answered is enough.
  else if (admission === 'probe') breaker.succeeded(admission, env.clock.now())
  else response.onFinish(() => tell(breaker, admission, response, exchange, env))
  return response
}

function tell(breaker: Breaker, admission: Admission, response: Response, exchange: Exchange, env: PolicyEnv): void {
  const verdict = verdictOf(response, exchange)
  if (verdict === 'failed')
    breaker.failed(admission, env.clock.now(), response.failure?.code ?? answerText(response, exchange))
  else if (verdict === 'good') breaker.succeeded(admission, env.clock.now())
  else breaker.ended(admission)
}

import type { Backend as BackendMessage } from '../api/gen/outrigger_pb.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import type { Service } from '../base/stack.ts'
import type { PolicyEnv } from './env.ts'

/** One backend of a rule. */
export interface WeightedBackend {
  readonly message: BackendMessage
  /** What sends to it; not asked when `message.invalid` is set. */
  readonly service: Service
}

/**
 * Chooses a backend by weight, once per request: retries stay with it. The share of a backend that cannot be used, and
 * of a rule without any, is answered 500 (HTTPRoute `backendRefs`), a gRPC request UNAVAILABLE (GRPCRoute `backendRefs`).
 */
export function chooseBackend(
  backends: readonly WeightedBackend[],
  policy: PolicyRef | undefined,
  env: PolicyEnv,
): Service {
  const choices = backends.filter((backend) => backend.message.weight > 0)
  if (choices.length === 0) {
    const why = backends.length === 0 ? 'the rule has no backends' : 'every backend of the rule has weight 0'
    return refuse(why, policy)
  }
  const services = choices.map((choice) => into(choice, policy, env))
  if (services.length === 1) return services[0]!

  let total = 0
  const ends = Float64Array.from(choices, (choice) => (total += choice.message.weight))
  return (exchange) => {
    const point = env.clock.random() * total
    let i = 0
    while (point >= ends[i]! && i < services.length - 1) i++
    return services[i]!(exchange)
  }
}

function into({ message, service }: WeightedBackend, policy: PolicyRef | undefined, env: PolicyEnv): Service {
  const name = `${message.namespace}/${message.name}`
  if (message.invalid !== '') return refuse(`backend ${name}: ${message.invalid}`, policy)
  return (exchange) => {
    exchange.backend = name
    if (exchange.decisions !== undefined) exchange.decide(env.clock.now(), 'backend', name, policy)
    return service(exchange)
  }
}

function refuse(why: string, policy: PolicyRef | undefined): Service {
  return () => Promise.reject(new MeshError('NO_VALID_BACKEND', why, { policy, unsent: true }))
}

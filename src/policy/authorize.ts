import type { Authorization, PolicyRef } from '../api/gen/outrigger_pb.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import type { Layer } from '../base/stack.ts'
import { pathOf } from '../route/path.ts'
import { PathReadings } from '../route/path-readings.ts'
import { type AccessFacts, type CompiledAuthorization, compileAuthorization, namespaceOf } from './authorization.ts'
import type { PolicyEnv } from './env.ts'

/**
 * AuthorizationPolicy, Istio's order: a DENY that holds refuses; if there is any ALLOW, one must hold; else it passes.
 * Policies in Shadow are evaluated, counted, and change nothing. What cannot be evaluated is denied. A path that
 * cannot be read is refused with 400 where an enforced policy names paths; one that can be read in several ways is judged by
 * all of them (`PathReadings`). Throws an Error for what cannot be compiled.
 */
export function authorize(policies: readonly Authorization[], env: PolicyEnv): Layer | undefined {
  if (policies.length === 0) return undefined
  const authorizer = new Authorizer(policies.map(compileAuthorization), env)
  return (next) => (exchange) => {
    const refusal = authorizer.check(exchange)
    return refusal === undefined ? next(exchange) : Promise.reject(refusal)
  }
}

class Authorizer {
  readonly #denies: readonly CompiledAuthorization[]
  readonly #allows: readonly CompiledAuthorization[]
  readonly #shadows: readonly CompiledAuthorization[]
  readonly #pathPolicy: CompiledAuthorization | undefined
  /** Any policy looks at paths, in Shadow too. */
  readonly #readsPaths: boolean
  readonly #env: PolicyEnv

  constructor(policies: readonly CompiledAuthorization[], env: PolicyEnv) {
    this.#env = env
    this.#denies = policies.filter((policy) => policy.deny && !policy.shadow)
    this.#allows = policies.filter((policy) => !policy.deny && !policy.shadow)
    this.#shadows = policies.filter((policy) => policy.shadow)
    this.#pathPolicy = policies.find((policy) => policy.namesPaths && !policy.shadow)
    this.#readsPaths = policies.some((policy) => policy.namesPaths)
  }

  /** The refusal; undefined if the request may pass. */
  check(exchange: Exchange): MeshError | undefined {
    const path = this.#readsPaths ? new PathReadings(pathOf(exchange.request.target)) : unread
    if (path.unreadable && this.#pathPolicy !== undefined) {
      const why = 'the path has escapes that are not UTF-8, or no end of readings, and a policy decides by path'
      return new MeshError('BAD_REQUEST', why, {
        policy: this.#pathPolicy.ref,
        unsent: true,
      })
    }
    const facts = factsOf(exchange, path)
    if (this.#shadows.length > 0) this.#watch(exchange, facts)
    try {
      return this.#enforce(exchange, facts)
    } catch (error) {
      const policy = (this.#denies[0] ?? this.#allows[0])?.ref
      return new MeshError('DENIED', 'access could not be evaluated', { policy, cause: error, unsent: true })
    }
  }

  #enforce(exchange: Exchange, facts: AccessFacts): MeshError | undefined {
    for (const policy of this.#denies) {
      if (policy.holds(facts)) return this.#refuse(exchange, facts, policy, 'by a DENY rule of')
    }
    if (this.#allows.length === 0) return undefined
    for (const policy of this.#allows) {
      if (!policy.holds(facts)) continue
      this.#tell(exchange, 'allowed', policy.ref, false)
      return undefined
    }
    return this.#refuse(exchange, facts, this.#allows[0]!, 'because nothing allows it, in')
  }

  /** What the policies in Shadow would do, on their own, by the same order. */
  #watch(exchange: Exchange, facts: AccessFacts): void {
    const first = this.#shadows[0]!
    try {
      if (facts.path.unreadable && this.#shadows.some((policy) => policy.namesPaths)) throw new Error('unreadable path')
      const denies = this.#shadows.find((policy) => policy.deny && policy.holds(facts))
      const allows = this.#shadows.filter((policy) => !policy.deny)
      const allowed = allows.find((policy) => policy.holds(facts))
      if (denies !== undefined) this.#tell(exchange, 'denied', denies.ref, true)
      else if (allows.length > 0 && allowed === undefined) this.#tell(exchange, 'denied', allows[0]!.ref, true)
      else this.#tell(exchange, 'allowed', (allowed ?? first).ref, true)
    } catch {
      // In force, it would deny what it cannot evaluate.
      this.#tell(exchange, 'denied', first.ref, true)
    }
  }

  #refuse(exchange: Exchange, facts: AccessFacts, policy: CompiledAuthorization, how: string): MeshError {
    this.#tell(exchange, 'denied', policy.ref, false)
    const who = facts.principal === '' ? 'a peer without identity' : facts.principal
    const name = policy.ref === undefined ? 'a policy' : `${policy.ref.kind} ${policy.ref.namespace}/${policy.ref.name}`
    const what = `${facts.method} by ${who} is denied ${how} ${name}`
    return new MeshError('DENIED', what, { policy: policy.ref, unsent: true })
  }

  #tell(exchange: Exchange, outcome: 'allowed' | 'denied', policy: PolicyRef | undefined, shadow: boolean): void {
    // A request that passes is no event: that is nearly every one.
    if (outcome === 'denied' || shadow) this.#env.onEvent?.({ layer: 'authorize', outcome, policy, shadow })
    if (exchange.decisions === undefined) return
    exchange.decide(this.#env.clock.now(), 'authorize', shadow ? `would be ${outcome}` : outcome, policy)
  }
}

const unread = new PathReadings('')

function factsOf(exchange: Exchange, path: PathReadings): AccessFacts {
  const { request, downstream } = exchange
  const principal = downstream.identity ?? ''
  return {
    principal,
    namespace: principal === '' ? '' : namespaceOf(principal),
    address: downstream.remoteAddress,
    method: request.method,
    path,
    port: downstream.localPort,
    authority: request.authority,
  }
}

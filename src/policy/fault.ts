import type { Fault } from '../api/gen/outrigger_pb.ts'
import { MeshError } from '../base/errors.ts'
import type { Attempt, Exchange } from '../base/exchange.ts'
import { grpcStatusName } from '../base/grpc.ts'
import type { Layer } from '../base/stack.ts'
import { compileMatch, type RequestMatch } from '../route/match.ts'
import type { TryLayer } from './attempt.ts'
import type { PolicyEnv } from './env.ts'
import { wait } from './wait.ts'

/**
 * Injects delays and aborts into tries (FaultInjection). Below retries and breakers by contract: an injected fault is
 * met like a real one. Throws an Error for what cannot be compiled.
 */
export function faultOfTry(faults: readonly Fault[], env: PolicyEnv): TryLayer | undefined {
  if (faults.length === 0) return undefined
  const injector = new FaultInjector(faults, env)
  return (next) => (exchange, attempt, endpoint) => {
    const delay = injector.inject(exchange, attempt)
    return delay === undefined ? next(exchange, attempt, endpoint) : delay.then(() => next(exchange, attempt, endpoint))
  }
}

/** The same in front of a local application. */
export function fault(faults: readonly Fault[], env: PolicyEnv): Layer | undefined {
  if (faults.length === 0) return undefined
  const injector = new FaultInjector(faults, env)
  return (next) => (exchange) => {
    const delay = injector.inject(exchange, undefined)
    return delay === undefined ? next(exchange) : delay.then(() => next(exchange))
  }
}

interface CompiledFault {
  readonly policy: Fault
  /** Any one; empty = every request. */
  readonly matches: readonly RequestMatch[]
  readonly expiresAt: number
}

class FaultInjector {
  readonly #faults: readonly CompiledFault[]
  readonly #env: PolicyEnv

  constructor(faults: readonly Fault[], env: PolicyEnv) {
    this.#env = env
    this.#faults = faults.map((policy) => ({
      policy,
      matches: policy.matches.map(compileMatch),
      expiresAt: policy.expiresAt === 0n ? Number.POSITIVE_INFINITY : Number(policy.expiresAt),
    }))
  }

  /**
   * undefined: go on. A promise: go on when it resolves, or fail with it. Delays come before aborts; where several
   * faults apply their delays add up and the first abort wins.
   */
  inject(exchange: Exchange, attempt: Attempt | undefined): Promise<void> | undefined {
    let delayMs = 0
    let abort: CompiledFault | undefined
    for (const fault of this.#faults) {
      if (!this.#applies(fault, exchange)) continue
      const { policy } = fault
      if (this.#chance(policy.delayPpm)) {
        const ms = delayOf(policy, this.#env)
        this.#tell(exchange, fault, 'delayed', ms)
        if (!policy.shadow) delayMs += ms
      }
      if (mayAbort(policy, exchange) && this.#chance(policy.abortPpm)) {
        this.#tell(exchange, fault, 'aborted', 0)
        if (!policy.shadow) abort ??= fault
      }
    }
    if (delayMs === 0) return abort === undefined ? undefined : Promise.reject(errorOf(abort, exchange))
    if (attempt !== undefined) attempt.faultDelayMs = delayMs
    const delay = wait(this.#env.clock, exchange, delayMs)
    if (abort === undefined) return delay
    const after = abort
    return delay.then(() => {
      throw errorOf(after, exchange)
    })
  }

  #applies(fault: CompiledFault, exchange: Exchange): boolean {
    // Nothing tells the sidecar that a fault has expired: each request looks.
    if (fault.expiresAt <= this.#env.clock.wall()) return false
    if (fault.matches.length === 0) return true
    for (const match of fault.matches) if (match.matches(exchange)) return true
    return false
  }

  #chance(ppm: number): boolean {
    return ppm > 0 && (ppm >= 1_000_000 || this.#env.clock.random() * 1_000_000 < ppm)
  }

  #tell(exchange: Exchange, { policy }: CompiledFault, outcome: 'delayed' | 'aborted', ms: number): void {
    this.#env.onEvent?.({ layer: 'fault', outcome, policy: policy.ref, shadow: policy.shadow })
    if (exchange.decisions === undefined) return
    const what = outcome === 'delayed' ? `delayed by ${ms} ms` : abortText(policy, exchange)
    exchange.decide(this.#env.clock.now(), 'fault', policy.shadow ? `would be ${what}` : what, policy.ref)
  }
}

function delayOf(policy: Fault, env: PolicyEnv): number {
  if (policy.delayMaxMs <= policy.delayMs) return policy.delayMs
  return Math.round(policy.delayMs + env.clock.random() * (policy.delayMaxMs - policy.delayMs))
}

/** A status for gRPC calls alone concerns nothing else. */
function mayAbort(policy: Fault, exchange: Exchange): boolean {
  return policy.abortGrpcStatus === 0 || policy.abortStatus !== 0 || exchange.isGrpc
}

function isReset({ abortStatus, abortGrpcStatus }: Fault): boolean {
  return abortStatus === 0 && abortGrpcStatus === 0
}

function abortText(policy: Fault, exchange: Exchange): string {
  if (isReset(policy)) return 'reset'
  const { abortStatus, abortGrpcStatus } = policy
  const ownStatus = abortGrpcStatus !== 0 && exchange.isGrpc
  return `aborted with ${ownStatus ? grpcStatusName(abortGrpcStatus) : abortStatus}`
}

function errorOf({ policy }: CompiledFault, exchange: Exchange): MeshError {
  const options = { policy: policy.ref, unsent: true }
  if (isReset(policy)) {
    return new MeshError('FAULT_ABORTED', 'an injected fault reset the request', { ...options, reset: true })
  }
  const grpc = policy.abortGrpcStatus
  // A call that ends with a status of its own is answered 200, as by any server.
  const statuses = grpc !== 0 && exchange.isGrpc ? { status: 200, grpc } : { status: policy.abortStatus }
  return new MeshError('FAULT_ABORTED', 'an injected fault', { ...options, ...statuses })
}

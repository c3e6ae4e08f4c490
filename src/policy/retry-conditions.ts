import type { Retry } from '../api/gen/outrigger_pb.ts'
import { errorCodes, MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Attempt, Exchange, Response } from '../base/exchange.ts'
import { grpcStatuses, grpcStatusOf, isTrailersOnly } from '../base/grpc.ts'
import { headerValue } from '../base/headers.ts'
import { idempotentMethods } from '../base/methods.ts'
import { mayHaveActed } from './failure.ts'

/** The words of `retry.conditions`. */
export type RetryCondition =
  | 'connect-failure'
  | 'reset'
  | 'refused'
  | 'timeout'
  | '5xx'
  | 'gateway-error'
  | 'breaker-open'
  | GrpcCondition

/** How a gRPC call went, in Envoy's words. */
type GrpcCondition = 'cancelled' | 'deadline-exceeded' | 'internal' | 'resource-exhausted' | 'unavailable'

/**
 * Which outcomes may be tried again. Pure: budget, number of tries and body are judged elsewhere.
 * Conditions are Envoy's `retry_on`; status codes are HTTPRoute's `retry.codes` (GEP-1731).
 *
 * Every gRPC call is a POST, so its method says nothing of whether it may be repeated (Envoy does not look at it). By
 * UNAVAILABLE a server says that it cannot take calls on: where a policy names it, that is enough. After the other
 * statuses the work may have been done, wholly or in part, so they need POST among `methods`, as a lost connection does.
 */
export class RetryConditions {
  readonly #codes: ReadonlySet<number>
  readonly #conditions: ReadonlySet<RetryCondition>
  readonly #methods: ReadonlySet<string>

  /** Throws an Error for a condition that is not known. */
  constructor(policy: Retry) {
    this.#codes = new Set(policy.codes)
    const words = policy.conditions.length === 0 ? defaultConditions : policy.conditions
    for (const word of words) {
      if (!isCondition(word)) throw new Error(`retry condition "${word}" is not one of ${conditions.join(', ')}`)
    }
    this.#conditions = new Set(words.filter(isCondition))
    this.#methods = new Set(policy.methods.length === 0 ? idempotentMethods : policy.methods)
  }

  /** Whether a request with this method may reach an application twice. */
  repeatable(method: string): boolean {
    return this.#methods.has(method)
  }

  /**
   * A response came, so the request was acted on; or the sidecar of the endpoint says what became of it on its way to the
   * application, which is then judged as if it had happened here.
   */
  ofResponse(response: Response, exchange: Exchange): boolean {
    const { status } = response
    if (exchange.isGrpc) return this.#ofCall(response, exchange)
    if (this.#wantsStatus(status) && this.#methods.has(exchange.request.method)) return true
    const told = status < 500 ? undefined : errorOfPeer(response)
    return told !== undefined && this.ofError(told, exchange)
  }

  /** The try failed without a response. */
  ofError(error: MeshError, exchange: Exchange): boolean {
    return this.#wantsError(error, exchange.isGrpc) && this.#safe(error, exchange.request.method)
  }

  /** A call whose answer has messages is judged no more, however it ends. */
  #ofCall(response: Response, exchange: Exchange): boolean {
    const { status } = response
    if (status === 200 && !isTrailersOnly(response)) return false
    const grpcStatus = grpcStatusOf(response)
    if (grpcStatus === grpcStatuses.OK || !(pushbackMs(response) >= 0)) return false
    const told = errorOfPeer(response)
    if (told !== undefined) return this.ofError(told, exchange)
    if (!this.#wantsGrpcStatus(grpcStatus) && !this.#wantsStatus(status)) return false
    if (this.#methods.has(exchange.request.method)) return true
    // Only of a server that speaks gRPC: a gateway's 504 means UNAVAILABLE as well.
    return status === 200 && grpcStatus === grpcStatuses.UNAVAILABLE && noneMayHaveActed(exchange.attempts.slice(0, -1))
  }

  #wantsGrpcStatus(status: number): boolean {
    const condition = conditionOf(status)
    return condition !== undefined && this.#conditions.has(condition)
  }

  #wantsStatus(status: number): boolean {
    if (this.#codes.has(status)) return true
    if (status < 500) return false
    return this.#conditions.has('5xx') || (isGatewayError(status) && this.#conditions.has('gateway-error'))
  }

  #wantsError(error: MeshError, isGrpc: boolean): boolean {
    const has = this.#conditions
    // Named by what the mesh would answer: UNAVAILABLE, or DEADLINE_EXCEEDED of a try.
    if (isGrpc && error.code !== 'BREAKER_OPEN' && !error.reset && this.#wantsGrpcStatus(error.grpc)) return true
    switch (error.code) {
      case 'UPSTREAM_CONNECT':
      case 'UPSTREAM_TLS':
        return has.has('connect-failure') || has.has('5xx') || has.has('gateway-error')
      case 'UPSTREAM_RESET':
        return has.has('reset') || has.has('5xx') || has.has('gateway-error') || (error.unsent && has.has('refused'))
      case 'POOL_OVERFLOW':
      case 'DRAINING':
        return has.has('refused') || has.has('5xx') || has.has('gateway-error')
      case 'TRY_TIMEOUT':
        return has.has('timeout') || has.has('5xx') || has.has('gateway-error')
      case 'BREAKER_OPEN':
        return has.has('breaker-open')
      // An injected fault is judged as what it stands for.
      case 'FAULT_ABORTED':
        return error.reset
          ? has.has('reset') || has.has('5xx') || has.has('gateway-error')
          : this.#wantsStatus(error.status)
      default:
        return false
    }
  }

  #safe(error: MeshError, method: string): boolean {
    switch (errorCodes[error.code].retry) {
      case 'always':
        return true
      case 'idempotent':
        return error.unsent || this.#methods.has(method)
      case 'never':
        return false
    }
  }
}

/** What a peer sidecar says became of a request, as an error; undefined: the answer is not of its making. */
function errorOfPeer({ headers }: Response): MeshError | undefined {
  const code = meshCodeOf(headerValue(headers, 'x-outrigger-reason') ?? '')
  return code === undefined ? undefined : new MeshError(code, '', { unsent: code === 'UPSTREAM_CONNECT' })
}

/** Each of these tries was refused, or never reached its endpoint. */
function noneMayHaveActed(earlier: readonly Attempt[]): boolean {
  return earlier.every(({ status, grpcStatus, error }) =>
    status === 200 ? grpcStatus === grpcStatuses.UNAVAILABLE : error !== undefined && !mayHaveActed(error),
  )
}

/** The word for a gRPC status that may be a condition. */
function conditionOf(status: number): GrpcCondition | undefined {
  switch (status) {
    case grpcStatuses.CANCELLED:
      return 'cancelled'
    case grpcStatuses.DEADLINE_EXCEEDED:
      return 'deadline-exceeded'
    case grpcStatuses.INTERNAL:
      return 'internal'
    case grpcStatuses.RESOURCE_EXHAUSTED:
      return 'resource-exhausted'
    case grpcStatuses.UNAVAILABLE:
      return 'unavailable'
    default:
      return undefined
  }
}

const pushbackField = 'grpc-retry-pushback-ms'

/**
 * How long the server asks to wait before a call is tried again (gRFC A6 "pushback"); 0 where it says nothing, not a
 * number where it asks not to: by a negative one, or by what is none.
 */
export function pushbackMs({ headers, trailers = [] }: Response): number {
  const text = headerValue(trailers, pushbackField) ?? headerValue(headers, pushbackField)
  if (text === undefined) return 0
  return /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
}

/** Of what a peer sidecar may say: what happened between it and its application, and that it is about to end. */
function meshCodeOf(reason: string): MeshErrorCode | undefined {
  const code = /^[A-Z_]+/.exec(reason)?.[0]
  switch (code) {
    case 'UPSTREAM_CONNECT':
    case 'UPSTREAM_RESET':
    case 'POOL_OVERFLOW':
    case 'DRAINING':
      return code
    default:
      return undefined
  }
}

/** GEP-1731: connection errors are retried wherever there is a retry stanza. */
const defaultConditions: readonly RetryCondition[] = ['connect-failure', 'refused', 'reset', 'timeout']

const conditions: readonly RetryCondition[] = [
  ...defaultConditions,
  '5xx',
  'gateway-error',
  'breaker-open',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]

function isCondition(word: string): word is RetryCondition {
  return (conditions as readonly string[]).includes(word)
}

function isGatewayError(status: number): boolean {
  return status === 502 || status === 503 || status === 504
}

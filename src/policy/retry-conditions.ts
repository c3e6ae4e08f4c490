import type { Retry } from '../api/gen/outrigger_pb.ts'
import { errorCodes, MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Response } from '../base/exchange.ts'
import { headerValue } from '../base/headers.ts'

/** The words of `retry.conditions`. */
export type RetryCondition =
  | 'connect-failure'
  | 'reset'
  | 'refused'
  | 'timeout'
  | '5xx'
  | 'gateway-error'
  | 'breaker-open'

/**
 * Which outcomes may be tried again. Pure: budget, number of tries and body are judged elsewhere.
 * Conditions are Envoy's `retry_on`; status codes are HTTPRoute's `retry.codes` (GEP-1731).
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
  ofResponse({ status, headers }: Response, method: string): boolean {
    if (this.#wantsStatus(status) && this.#methods.has(method)) return true
    if (status < 500) return false
    const code = meshCodeOf(headerValue(headers, 'x-outrigger-reason') ?? '')
    return code !== undefined && this.ofError(new MeshError(code, '', { unsent: code === 'UPSTREAM_CONNECT' }), method)
  }

  /** The try failed without a response. */
  ofError(error: MeshError, method: string): boolean {
    return this.#wantsError(error) && this.#safe(error, method)
  }

  #wantsStatus(status: number): boolean {
    if (this.#codes.has(status)) return true
    if (status < 500) return false
    return this.#conditions.has('5xx') || (isGatewayError(status) && this.#conditions.has('gateway-error'))
  }

  #wantsError(error: MeshError): boolean {
    const has = this.#conditions
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

/** RFC 9110 section 9.2.2. */
const idempotentMethods = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']

/** GEP-1731: connection errors are retried wherever there is a retry stanza. */
const defaultConditions: readonly RetryCondition[] = ['connect-failure', 'refused', 'reset', 'timeout']

const conditions: readonly RetryCondition[] = [...defaultConditions, '5xx', 'gateway-error', 'breaker-open']

function isCondition(word: string): word is RetryCondition {
  return (conditions as readonly string[]).includes(word)
}

function isGatewayError(status: number): boolean {
  return status === 502 || status === 503 || status === 504
}

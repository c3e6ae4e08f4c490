/**
 * What can go wrong with a request, as one closed table. A layer throws a MeshError; `policy/rescue.ts`
 * is the only place that turns one into a response, `telemetry/result.ts` the only one that makes a label.
 */

import { grpcOfHttpStatus } from './grpc.ts'

/** Which document decided; the shape of `PolicyRef` in outrigger.proto. */
export interface PolicyRef {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** metadata.generation where there is one, else a short hash of the document. */
  readonly version: string
}

/** never: another try cannot help. unsent: only when no byte of the request left. idempotent: also when the method is safe to repeat. always: the endpoint did not act on it. */
export type RetrySafety = 'never' | 'unsent' | 'idempotent' | 'always'

export interface ErrorTraits {
  readonly source: 'downstream' | 'upstream' | 'policy' | 'internal'
  readonly retry: RetrySafety
  /** Status of the response that the mesh makes of it. */
  readonly http: number
  /** Status with which the mesh ends a gRPC call because of it. */
  readonly grpc: number
  /** Envoy's response flag where it has one; ours otherwise (marked in docs). */
  readonly flag: string
}

export const errorCodes = {
  // The engine's own refusals (RFC 9110 section 15.5, RFC 9112 section 2.2 and 3).
  BAD_REQUEST: { source: 'downstream', retry: 'never', http: 400, grpc: 13, flag: 'DPE' },
  REQUEST_TIMEOUT: { source: 'downstream', retry: 'never', http: 408, grpc: 4, flag: 'DT' },
  BODY_TOO_LARGE: { source: 'downstream', retry: 'never', http: 413, grpc: 8, flag: 'DPE' },
  EXPECTATION_FAILED: { source: 'downstream', retry: 'never', http: 417, grpc: 13, flag: 'DPE' },
  HEAD_TOO_LARGE: { source: 'downstream', retry: 'never', http: 431, grpc: 8, flag: 'DPE' },
  NOT_IMPLEMENTED: { source: 'downstream', retry: 'never', http: 501, grpc: 12, flag: 'DPE' },
  VERSION_NOT_SUPPORTED: { source: 'downstream', retry: 'never', http: 505, grpc: 12, flag: 'DPE' },
  METHOD_NOT_ALLOWED: { source: 'downstream', retry: 'never', http: 405, grpc: 12, flag: 'DPE' },
  DOWNSTREAM_RESET: { source: 'downstream', retry: 'never', http: 499, grpc: 1, flag: 'DC' },
  // A peer that costs more than it brings (RFC 9113 section 10.5).
  FLOOD: { source: 'downstream', retry: 'never', http: 429, grpc: 8, flag: 'DPE' },
  LOOP: { source: 'internal', retry: 'never', http: 508, grpc: 9, flag: 'LOOP' },
  // Policy.
  NO_ROUTE: { source: 'policy', retry: 'never', http: 404, grpc: 12, flag: 'NR' },
  NO_VALID_BACKEND: { source: 'policy', retry: 'never', http: 500, grpc: 14, flag: 'NC' },
  UNKNOWN_DESTINATION: { source: 'policy', retry: 'never', http: 502, grpc: 14, flag: 'NR' },
  POLICY_UNAVAILABLE: { source: 'internal', retry: 'never', http: 503, grpc: 14, flag: 'NP' },
  UNAUTHENTICATED: { source: 'policy', retry: 'never', http: 401, grpc: 16, flag: 'AUTHN' },
  DENIED: { source: 'policy', retry: 'never', http: 403, grpc: 7, flag: 'DENY' },
  RATE_LIMITED: { source: 'policy', retry: 'never', http: 429, grpc: 8, flag: 'RL' },
  FAULT_ABORTED: { source: 'policy', retry: 'always', http: 503, grpc: 14, flag: 'FI' },
  OVERLOADED: { source: 'internal', retry: 'never', http: 503, grpc: 14, flag: 'OM' },
  // Upstream.
  NO_HEALTHY_ENDPOINT: { source: 'upstream', retry: 'never', http: 503, grpc: 14, flag: 'UH' },
  BREAKER_OPEN: { source: 'upstream', retry: 'always', http: 503, grpc: 14, flag: 'UO' },
  POOL_OVERFLOW: { source: 'upstream', retry: 'always', http: 503, grpc: 14, flag: 'UO' },
  UPSTREAM_CONNECT: { source: 'upstream', retry: 'always', http: 503, grpc: 14, flag: 'UF' },
  UPSTREAM_TLS: { source: 'upstream', retry: 'always', http: 503, grpc: 14, flag: 'TLS' },
  UPSTREAM_IDENTITY: { source: 'upstream', retry: 'never', http: 503, grpc: 14, flag: 'ID' },
  UPSTREAM_RESET: { source: 'upstream', retry: 'idempotent', http: 502, grpc: 14, flag: 'UC' },
  UPSTREAM_PROTOCOL: { source: 'upstream', retry: 'never', http: 502, grpc: 13, flag: 'UPE' },
  TRY_TIMEOUT: { source: 'upstream', retry: 'idempotent', http: 504, grpc: 4, flag: 'UT' },
  DEADLINE: { source: 'upstream', retry: 'never', http: 504, grpc: 4, flag: 'UT' },
  DRAINING: { source: 'internal', retry: 'always', http: 503, grpc: 14, flag: 'DR' },
  // Never the answer to a client: how a try ends beside which another one was answered first.
  SUPERSEDED: { source: 'internal', retry: 'never', http: 499, grpc: 1, flag: '-' },
  UNEXPECTED: { source: 'internal', retry: 'never', http: 500, grpc: 13, flag: '-' },
} as const satisfies Record<string, ErrorTraits>

export type MeshErrorCode = keyof typeof errorCodes

export interface MeshErrorOptions extends ErrorOptions {
  /** The document that decided, if one did. */
  readonly policy?: PolicyRef | undefined
  /** Overrides the table's status (an injected fault answers what the policy says). */
  readonly status?: number | undefined
  /** The same for a gRPC call; without it, it follows from `status`. */
  readonly grpc?: number | undefined
  /** No byte of the request left for this upstream; then a retry is safe for every method. */
  readonly unsent?: boolean | undefined
  /** The connection must end without a response (an injected reset). */
  readonly reset?: boolean | undefined
}

export class MeshError extends Error {
  override readonly name = 'MeshError'
  readonly code: MeshErrorCode
  readonly policy: PolicyRef | undefined
  readonly status: number
  readonly grpc: number
  readonly unsent: boolean
  readonly reset: boolean

  constructor(code: MeshErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.policy = options.policy
    const traits: ErrorTraits = errorCodes[code]
    this.status = options.status ?? traits.http
    this.grpc = options.grpc ?? (this.status === traits.http ? traits.grpc : grpcOfHttpStatus(this.status))
    this.unsent = options.unsent ?? false
    this.reset = options.reset ?? false
  }

  get traits(): ErrorTraits {
    return errorCodes[this.code]
  }

  /** What a client may read. Our own mistakes are for our log. */
  get publicMessage(): string {
    return this.code === 'UNEXPECTED' ? 'the mesh failed to handle this request; its log says more' : this.message
  }

  /** Normalises anything caught, once, at the edge. */
  static from(error: unknown, code: MeshErrorCode = 'UNEXPECTED'): MeshError {
    if (error instanceof MeshError) return error
    return new MeshError(code, error instanceof Error ? error.message : String(error), { cause: error })
  }
}

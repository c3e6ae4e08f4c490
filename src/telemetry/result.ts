import { errorCodes, type MeshError, type MeshErrorCode, type PolicyRef } from '../base/errors.ts'
import type { Completion, Exchange, Headers } from '../base/exchange.ts'
import { grpcOfHttpStatus, grpcStatusOf, isServerError } from '../base/grpc.ts'

/** How an exchange went, in the words that metrics, log and traces share. The only place that makes them. */
export interface Result {
  /** Status sent to the client; 0 when no response head left. */
  readonly status: number
  /** How a gRPC call went for its caller; -1 for any other request. */
  readonly grpcStatus: number
  /** Envoy's response flags joined with a comma; '-' for none. */
  readonly flags: string
  /** Code of the mesh's refusal, ours or (outbound) the peer sidecar's; '' when an application answered. */
  readonly code: MeshErrorCode | ''
  /** What `x-outrigger-reason` said, or would have said; '' for none. */
  readonly reason: string
  readonly policy: PolicyRef | undefined
  /** Counts against the success rate: 5xx, its like in gRPC, a refusal by the mesh, a body that broke off on the upstream's side. */
  readonly failed: boolean
}

const plain = { flags: '-', code: '', reason: '', policy: undefined, failed: false } as const

/** `headerReason` is the response's `x-outrigger-reason`, '' for none. */
export function resultOf(exchange: Exchange, completion: Completion, headerReason: string): Result {
  const error = exchange.error ?? completion.error
  const attempts = exchange.attempts
  const status = completion.status
  let delayed = false
  for (let i = 0; i < attempts.length; i++) if (attempts[i]!.faultDelayMs > 0) delayed = true
  const grpcStatus = exchange.isGrpc ? grpcOutcome(exchange, completion) : -1
  const answered = status < 500 && status !== 0 && !isServerError(grpcStatus)
  if (error === undefined && headerReason === '' && !delayed && answered) return { status, grpcStatus, ...plain }
  const code = error?.code ?? codeOf(headerReason)
  return {
    status,
    grpcStatus,
    flags: flagsOf(exchange, error, answered, delayed),
    code,
    reason: headerReason !== '' ? headerReason : error === undefined ? '' : reasonOf(error),
    policy: error?.policy ?? (error === undefined ? policyOf(headerReason) : undefined),
    // A client that went away is its own choice, not a failure of what it called.
    failed: code === 'DOWNSTREAM_RESET' ? false : error !== undefined || code !== '' || !answered,
  }
}

/** What broke off says how it went for the client, whatever the upstream may have said meanwhile. */
function grpcOutcome({ error, response }: Exchange, completion: Completion): number {
  if (completion.error !== undefined) return completion.error.grpc
  if (response !== undefined) return grpcStatusOf(response)
  return error === undefined ? grpcOfHttpStatus(completion.status) : error.grpc
}

function flagsOf(exchange: Exchange, error: MeshError | undefined, answered: boolean, delayed: boolean): string {
  const flags: string[] = []
  const attempts = exchange.attempts
  const last = attempts[attempts.length - 1]
  if (error !== undefined && error.traits.flag !== '-') flags.push(error.traits.flag)
  // Envoy's URX: tries were repeated and the last one failed as well.
  if (attempts.length > 1 && last !== undefined && (last.error !== undefined || !answered)) flags.push('URX')
  if (delayed) flags.push('DI')
  return flags.length === 0 ? '-' : flags.join(',')
}

/** The code in front of an `x-outrigger-reason`; '' when it is not one of ours: a peer's words make no new labels. */
export function codeOf(reason: string): MeshErrorCode | '' {
  if (reason === '') return ''
  const end = reason.indexOf(';')
  const code = (end === -1 ? reason : reason.slice(0, end)).trim()
  return Object.hasOwn(errorCodes, code) ? (code as MeshErrorCode) : ''
}

/** `policy=Kind/ns/name; version=N` out of an `x-outrigger-reason`. */
function policyOf(reason: string): PolicyRef | undefined {
  const match = /;\s*policy=([A-Za-z]+)\/([a-z0-9.-]*)\/([a-z0-9.-]+)(?:;\s*version=([\w.-]+))?/.exec(reason)
  if (match === null) return undefined
  return { kind: match[1]!, namespace: match[2]!, name: match[3]!, version: match[4] ?? '' }
}

function reasonOf(error: MeshError): string {
  const policy = error.policy
  if (policy === undefined) return error.code
  return `${error.code}; policy=${policyName(policy)}; version=${policy.version}`
}

/** `Kind/namespace/name`. */
export function policyName(policy: PolicyRef): string {
  return `${policy.kind}/${policy.namespace}/${policy.name}`
}

/** First value of a header, by lower-case name; '' when it is not there. */
export function headerValue(headers: Headers, name: string): string {
  for (let i = 0; i < headers.length; i += 2) {
    const candidate = headers[i]!
    if (candidate.length === name.length && candidate.toLowerCase() === name) return headers[i + 1]!
  }
  return ''
}

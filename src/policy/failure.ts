import type { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { grpcStatuses, grpcStatusName, grpcStatusOf, isServerError, isTrailersOnly } from '../base/grpc.ts'

/**
 * Whether an error says that the endpoint (or the fault that stands for it) failed, so that breakers and outlier
 * detection count it. What the mesh itself refused before any endpoint was asked does not.
 */
export function blamesUpstream(error: MeshError): boolean {
  switch (error.code) {
    case 'BREAKER_OPEN':
    case 'NO_HEALTHY_ENDPOINT':
    case 'POOL_OVERFLOW':
      return false
    case 'FAULT_ABORTED':
      return error.reset || error.status >= 500 || (error.status === 200 && isEndpointFailure(error.grpc))
    default:
      return error.traits.source === 'upstream'
  }
}

/** Whether an endpoint may have acted on a request that failed so. */
export function mayHaveActed(error: MeshError): boolean {
  return !error.unsent && error.traits.retry !== 'always'
}

/** What an answer says about the endpoint. `unknown`: a call whose answer still comes; `nothing`: one that somebody ended. */
export type Verdict = 'good' | 'failed' | 'unknown' | 'nothing'

/** Judges an answer by its head; a gRPC call, once its messages began, when it is over. */
export function verdictOf(response: Response, { isGrpc }: Exchange): Verdict {
  if (response.status >= 500) return 'failed'
  if (!isGrpc || response.status !== 200) return 'good'
  const status = grpcStatusOf(response)
  if (status === -1) return 'unknown'
  if (isTrailersOnly(response)) return isEndpointFailure(status) ? 'failed' : 'good'
  const { failure } = response
  // The time of a stream that had begun may be over, or its client may leave: that is how most long ones end.
  const late = status === grpcStatuses.DEADLINE_EXCEEDED
  if (failure !== undefined) return !late && blamesUpstream(failure) ? 'failed' : 'nothing'
  return !late && isEndpointFailure(status) ? 'failed' : 'good'
}

/**
 * Statuses by which a server says that it failed itself: what Envoy counts as 5xx, but for UNIMPLEMENTED, by which a caller
 * is told that it asks for what is not there. CANCELLED and those about the request say nothing against the endpoint.
 */
export function isEndpointFailure(grpcStatus: number): boolean {
  return isServerError(grpcStatus) && grpcStatus !== grpcStatuses.UNIMPLEMENTED
}

/** How a try was answered, for people. */
export function answerText(response: Response, { isGrpc }: Exchange): string {
  return isGrpc && response.status === 200
    ? `grpc-status ${grpcStatusName(grpcStatusOf(response))}`
    : `status ${response.status}`
}

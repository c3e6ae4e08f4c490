import type { Endpoint } from '../balance/endpoint-set.ts'
import type { Attempt, Exchange, Response } from '../base/exchange.ts'
import { headerValue, setHeader } from '../base/headers.ts'
import { tellTimeLeft } from './deadline.ts'

/** The same by gRPC's own convention (gRFC A6), in calls: how many tries there were before this one. */
export const previousAttemptsHeader = 'grpc-previous-rpc-attempts'

/** Names the try on a request that is sent again, and on the answer to it. */
export const attemptHeader = 'x-outrigger-attempt'

/** A service below the choice of an endpoint: one try. */
export type Try = (exchange: Exchange, attempt: Attempt, endpoint: Endpoint) => Promise<Response>

/** A layer below the choice of an endpoint. */
export type TryLayer = (next: Try) => Try

/** As `stack` of base/stack.ts, for tries. */
export function tryStack(layers: readonly (TryLayer | undefined)[], inner: Try): Try {
  return layers.reduceRight<Try>((next, layer) => (layer === undefined ? next : layer(next)), inner)
}

interface Note {
  readonly cause: string
  readonly backoffMs: number
  readonly hedge: boolean
}

/** Written by retry and hedge, read where the attempt is made. Only further tries pay for it. */
const notes = new WeakMap<Exchange, Note>()

/** Says why the next attempt is made, and what was waited before it. */
export function noteRetry(exchange: Exchange, cause: string, backoffMs: number): void {
  notes.set(exchange, { cause, backoffMs, hedge: false })
}

/** Says why the attempt of this branch is made beside others. */
export function noteHedge(branch: Exchange, cause: string): void {
  notes.set(branch, { cause, backoffMs: 0, hedge: true })
}

/** Writes on the request which try is about to be made, and on a call what is left of its caller's time. */
export function announceTry(exchange: Exchange, number: number, now: number): void {
  const { headers } = exchange.request
  setHeader(headers, attemptHeader, String(number))
  if (!exchange.isGrpc) return
  setHeader(headers, previousAttemptsHeader, String(number - 1))
  tellTimeLeft(exchange, now)
}

/** Whether a request says that it is a retry of its caller, be it a sidecar or a gRPC library. */
export function isCallersRetry(exchange: Exchange): boolean {
  const { headers } = exchange.request
  if (Number(headerValue(headers, attemptHeader) ?? 1) > 1) return true
  return exchange.isGrpc && Number(headerValue(headers, previousAttemptsHeader) ?? 0) > 0
}

/** Makes the attempt that is about to begin at this endpoint, and adds it to the exchange. */
export function beginAttempt(exchange: Exchange, endpoint: Endpoint, backend: string, now: number): Attempt {
  const { origin } = exchange
  const all = (origin ?? exchange).attempts
  const number = all.length + 1
  const note = number === 1 ? undefined : (notes.get(exchange) ?? (origin && notes.get(origin)))
  const target = endpoint.target
  const attempt: Attempt = {
    number,
    backend,
    endpoint: target.key,
    workload: target.workload,
    identity: target.identity,
    revision: target.canonicalRevision,
    startedAt: now,
    endedAt: 0,
    status: 0,
    grpcStatus: -1,
    error: undefined,
    cause: note === undefined ? '' : note.cause,
    hedge: note === undefined ? false : note.hedge,
    backoffMs: note === undefined ? 0 : note.backoffMs,
    faultDelayMs: 0,
    spanId: '',
  }
  all.push(attempt)
  if (origin !== undefined) exchange.attempts.push(attempt)
  return attempt
}

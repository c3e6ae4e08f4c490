import { noBody, textBody } from '../base/body.ts'
import { MeshError, type MeshErrorCode } from '../base/errors.ts'
import { type Exchange, type Headers, Response } from '../base/exchange.ts'
import { grpcFieldsOf } from '../base/grpc.ts'
import { reasonPhrase } from '../base/reason-phrase.ts'
import type { Layer } from '../base/stack.ts'

/** The part of a logger that rescue needs. */
export interface RescueLog {
  error(fields: object, message: string): void
}

export interface RescueOptions {
  readonly log: RescueLog
  /** Who answers: "ns/workload". */
  readonly by: string
}

/**
 * Makes every error a response; the only place that does. The response names code, policy and version in
 * `x-outrigger-reason`. A gRPC request always gets a real grpc-status, in a trailers-only response (gRPC over HTTP/2,
 * "Responses"). An error with `reset` passes: the engine ends the connection without an answer.
 */
export function rescue(options: RescueOptions): Layer {
  return (next) => async (exchange) => {
    try {
      return await next(exchange)
    } catch (caught) {
      const error = MeshError.from(caught)
      exchange.error = error
      if (error.code === 'UNEXPECTED') {
        const { method, authority, target } = exchange.request
        options.log.error({ err: caught }, `${method} ${authority}${target}: ${error.message}`)
      }
      if (error.reset) throw error
      return responseTo(error, exchange, options.by)
    }
  }
}

/** The response that an error becomes. For what the parser refuses as well, where there is no stack. */
export function responseTo(error: MeshError, exchange: Exchange | undefined, by: string): Response {
  const headers: Headers = ['x-outrigger-reason', reason(error, by)]
  const retryAfter = retryAfterSeconds[error.code]
  if (retryAfter !== undefined) headers.push('retry-after', retryAfter)
  const tries = exchange?.attempts.length ?? 0
  if (tries > 1) headers.push('x-outrigger-attempt', String(tries))

  let response: Response
  if (exchange?.isGrpc === true) {
    headers.push('content-type', 'application/grpc', ...grpcFieldsOf(error))
    response = new Response(200, 'OK', headers, noBody)
  } else {
    headers.push('content-type', 'text/plain; charset=utf-8')
    const body = exchange?.request.method === 'HEAD' ? noBody : textBody(`${error.code}: ${error.publicMessage}\n`)
    response = new Response(error.status, reasonPhrase(error.status), headers, body)
  }
  response.finish(undefined)
  return response
}

/** What cures itself soon says when to come again (RFC 9110 section 10.2.3). */
const retryAfterSeconds: Partial<Record<MeshErrorCode, string>> = {
  OVERLOADED: '1',
  RATE_LIMITED: '1',
  BREAKER_OPEN: '1',
  POOL_OVERFLOW: '1',
  DRAINING: '1',
  POLICY_UNAVAILABLE: '5',
}

function reason(error: MeshError, by: string): string {
  const { code, policy } = error
  if (policy === undefined) return `${code}; by=${by}`
  return `${code}; policy=${policy.kind}/${policy.namespace}/${policy.name}; version=${policy.version}; by=${by}`
}

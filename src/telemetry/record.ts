import assert from 'node:assert'
import { noBody } from '../base/body.ts'
import type { MeshError } from '../base/errors.ts'
import { type Downstream, Exchange } from '../base/exchange.ts'
import { isTrailersOnly } from '../base/grpc.ts'
import type { Layer } from '../base/stack.ts'
import { headerValue } from './result.ts'
import type { Direction, Telemetry } from './telemetry.ts'

/**
 * The outermost layer: opens the trace context, and makes exactly one result of each exchange when the engine says
 * that its last byte is out. Stands outside `rescue`, so the mesh's own refusals are counted too.
 */
export function record(telemetry: Telemetry, direction: Direction): Layer {
  return (next) => (exchange) => {
    let completed = false
    telemetry.begin(exchange)
    exchange.onComplete = (completion) => {
      assert(!completed, 'an exchange completes once')
      completed = true
      const { response } = exchange
      // Nobody refused below 400, but for gRPC calls that were answered with nothing but a status: else no header is searched.
      const refused =
        response !== undefined && (response.status >= 400 || (exchange.isGrpc && isTrailersOnly(response)))
      const reason = refused ? headerValue(response.headers, 'x-outrigger-reason') : ''
      telemetry.complete(direction, exchange, completion, reason)
    }
    return next(exchange)
  }
}

/** What is known of a request whose head was not accepted. */
export interface RefusedRequest {
  readonly downstream: Downstream
  readonly error: MeshError
  /** Clock milliseconds of its first byte. */
  readonly startedAt: number
  /** Bytes of the answer's body. */
  readonly bytesOut: number
  /** False when the connection was cut without an answer. */
  readonly answered: boolean
}

/** Counts, logs and traces what the parser refused, which no layer ever sees. Call it when the answer is out. */
export function recordRefusal(telemetry: Telemetry, refused: RefusedRequest): void {
  const exchange = new Exchange({
    // A head that was refused has no part that could be trusted enough to be shown.
    request: {
      method: '-',
      target: '-',
      authority: '-',
      scheme: refused.downstream.tls ? 'https' : 'http',
      version: '1.1',
      headers: [],
      upgrade: undefined,
      expectContinue: false,
    },
    body: noBody,
    downstream: refused.downstream,
    startedAt: refused.startedAt,
  })
  telemetry.begin(exchange)
  exchange.error = refused.error
  telemetry.metrics.downstreamRefused(refused.error.code)
  telemetry.complete(
    refused.downstream.direction,
    exchange,
    {
      bytesIn: 0,
      bytesOut: refused.bytesOut,
      status: refused.answered ? refused.error.status : 0,
      error: undefined,
    },
    '',
  )
}

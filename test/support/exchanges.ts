import { type Body, noBody, WholeBody } from '../../src/base/body.ts'
import { type Downstream, Exchange, type Headers, type RequestHead, Response } from '../../src/base/exchange.ts'

/** A request head; a plain GET / unless told otherwise. */
export function head(over: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    target: '/',
    authority: 'orders.shop',
    scheme: 'http',
    version: '1.1',
    headers: [],
    upgrade: undefined,
    expectContinue: false,
    ...over,
  }
}

/** A connection in plaintext from 10.1.0.9 to 10.1.0.7:8080. */
export function downstream(over: Partial<Downstream> = {}): Downstream {
  return {
    direction: 'outbound',
    remoteAddress: '10.1.0.9',
    remotePort: 40_000,
    proxy: undefined,
    localAddress: '10.1.0.7',
    localPort: 8080,
    identity: undefined,
    tls: false,
    captured: false,
    ...over,
  }
}

/** An exchange without a body. */
export function exchange(request: Partial<RequestHead> = {}, from: Partial<Downstream> = {}): Exchange {
  return new Exchange({ request: head(request), body: noBody, downstream: downstream(from), startedAt: 1_000 })
}

/** A unary gRPC call of `shop.Orders/Get` with one empty message. */
export function grpcExchange(headers: Headers = [], over: Partial<RequestHead> = {}): Exchange {
  const request = head({
    method: 'POST',
    target: '/shop.Orders/Get',
    version: '2',
    headers: ['content-type', 'application/grpc+proto', 'te', 'trailers', ...headers],
    ...over,
  })
  return new Exchange({ request, body: new WholeBody(emptyMessage), downstream: downstream(), startedAt: 1_000 })
}

/** Not compressed, of length 0. */
const emptyMessage = '\0\0\0\0\0'

/** An answer to a call that is its status and nothing else. */
export function trailersOnly(grpcStatus: number, headers: Headers = []): Response {
  return answer(200, ['content-type', 'application/grpc', 'grpc-status', String(grpcStatus), ...headers])
}

/** An answer to a call whose messages are still to come; `endCall` ends it. */
export function begunCall(): Response {
  return new Response(200, '', ['content-type', 'application/grpc'], streamed)
}

/** The messages of an answer are over, and this was its status; undefined: it has none. */
export function endCall(response: Response, grpcStatus: number | undefined): void {
  if (grpcStatus !== undefined) response.trailers = ['grpc-status', String(grpcStatus)]
  response.finish(undefined)
}

/** A body whose bytes nobody looks at. */
const streamed: Body = {
  length: undefined,
  whole: undefined,
  pipe: () => {},
  pause: () => {},
  resume: () => {},
  discard: () => {},
}

/** A response whose (empty) body has ended. */
export function answer(status = 200, headers: Headers = []): Response {
  const response = new Response(status, '', headers, noBody)
  response.finish(undefined)
  return response
}

import { noBody } from '../../src/base/body.ts'
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

/** A response whose (empty) body has ended. */
export function answer(status = 200, headers: Headers = []): Response {
  const response = new Response(status, '', headers, noBody)
  response.finish(undefined)
  return response
}

/** The server side of the HTTP/2 engine before a client in memory; what it serves, the test says. */
import { textBody } from '../../../src/base/body.ts'
import type { MeshError } from '../../../src/base/errors.ts'
import { type Exchange, Response } from '../../../src/base/exchange.ts'
import type { Service } from '../../../src/base/stack.ts'
import { http1Limits } from '../../../src/http1/limits.ts'
import { requestRules } from '../../../src/http1/request-head.ts'
import { type Http2Limits, http2Limits } from '../../../src/http2/limits.ts'
import { Http2Server } from '../../../src/http2/server.ts'
import { relay } from '../../../src/tcp/relay.ts'
import { downstream } from '../exchanges.ts'
import { FakeClock } from '../fake-clock.ts'
import { socketPair } from './fake-sockets.ts'
import type { Settings } from './frames.ts'
import { RawHttp2 } from './raw.ts'

export interface FakeServer {
  readonly server: Http2Server
  readonly clock: FakeClock
  readonly exchanges: Exchange[]
  /** Refused with an answer, and without. */
  readonly refused: MeshError[]
  readonly dropped: MeshError[]
  /** Calls of `onComplete`, by exchange. */
  readonly completed: Map<Exchange, number>
  /** A connection whose client has said preface, SETTINGS, and how much larger the window of the connection is. */
  readonly open: (said?: Settings, window?: number) => RawHttp2
}

export function fakeServer(serve: Service, limits: Partial<Http2Limits> = {}): FakeServer {
  const clock = new FakeClock()
  const exchanges: Exchange[] = []
  const refused: MeshError[] = []
  const dropped: MeshError[] = []
  const completed = new Map<Exchange, number>()
  const server = new Http2Server({
    clock,
    limits: { ...http2Limits, ...limits },
    serve: (exchange) => {
      exchanges.push(exchange)
      exchange.onComplete = () => completed.set(exchange, (completed.get(exchange) ?? 0) + 1)
      return serve(exchange)
    },
    refuse: (error) => {
      refused.push(error)
      return whole(error.status, error.code)
    },
    dropped: (error) => dropped.push(error),
    rules: requestRules(http1Limits, { dropReserved: true, allowConnect: true }),
    splice: async (_exchange, client, response) => {
      await relay(client, response.tunnel!.socket, { clock, idleTimeoutMs: 60_000 })
    },
  })
  return {
    server,
    clock,
    exchanges,
    refused,
    dropped,
    completed,
    open: (said, window) => {
      const [ours, theirs] = socketPair()
      const client = RawHttp2.greet(theirs, said, window)
      server.accept(ours, downstream())
      return client
    },
  }
}

/** An answer that is here whole. */
export function whole(status: number, text = ''): Response {
  const response = new Response(status, '', [], textBody(text))
  response.finish(undefined)
  return response
}

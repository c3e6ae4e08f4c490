/** Both engines alone, between clients and one upstream, no policy: what they refuse, relay and translate shows here. */
import { once } from 'node:events'
import net from 'node:net'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import { textBody } from '../../src/base/body.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { MeshError } from '../../src/base/errors.ts'
import { type Exchange, Response } from '../../src/base/exchange.ts'
import { Live } from '../../src/base/live.ts'
import type { Service } from '../../src/base/stack.ts'
import { HttpEngines } from '../../src/http-engines.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { downstreamOf } from '../../src/outbound.ts'
import { relay } from '../../src/tcp/relay.ts'
import { Connector } from '../../src/upstream/connect.ts'
import { Pools } from '../../src/upstream/pools.ts'

export interface Http2Relay extends AsyncDisposable {
  readonly port: number
  readonly engines: HttpEngines
  readonly pools: Pools
  readonly exchanges: Exchange[]
  /** Answered by the engine itself. */
  readonly refusals: MeshError[]
  /** Streams and connections that were ended without an answer. */
  readonly dropped: MeshError[]
}

export interface Http2RelayOptions {
  readonly clock?: Clock
  readonly allowConnect?: boolean
  /** What the port is said to speak. */
  readonly declared?: Protocol
  /** What the upstream speaks; without it what the client speaks. */
  readonly upstreamHttp2?: boolean
  /** Wraps the plain relay. */
  readonly layer?: (next: Service) => Service
}

export async function startHttp2Relay(upstreamPort: number, options: Http2RelayOptions = {}): Promise<Http2Relay> {
  const clock = options.clock ?? systemClock
  const pools = new Pools(new Connector(clock, new Live<Credentials | undefined>(undefined)), clock)
  const exchanges: Exchange[] = []
  const refusals: MeshError[] = []
  const dropped: MeshError[] = []
  const to = { key: `127.0.0.1:${upstreamPort}`, address: '127.0.0.1', port: upstreamPort, identity: '' }
  const serve: Service = (exchange) => {
    exchanges.push(exchange)
    return pools
      .pool(to, undefined, options.upstreamHttp2 ?? exchange.http2)
      .send(exchange, '')
      .catch((error: unknown) => answer(MeshError.from(error)))
  }
  const engines = new HttpEngines({
    clock,
    serve: options.layer === undefined ? serve : options.layer(serve),
    refuse: (error) => {
      refusals.push(error)
      return answer(error)
    },
    dropped: (error) => dropped.push(error),
    dropReserved: true,
    allowConnect: options.allowConnect ?? false,
    splice: async (_exchange, client, head, response) => {
      const { socket, head: upstreamHead } = response.tunnel!
      await relay(client, socket, { clock, idleTimeoutMs: 60_000, heads: { a: head, b: upstreamHead } })
    },
  })
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
    engines.accept(socket, downstreamOf(socket, false), engines.rules, options.declared ?? Protocol.UNSPECIFIED),
  )
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as net.AddressInfo).port,
    engines,
    pools,
    exchanges,
    refusals,
    dropped,
    async [Symbol.asyncDispose]() {
      engines.close()
      pools.close()
      listener.close()
    },
  }
}

function answer(error: MeshError): Response {
  const response = new Response(
    error.status,
    error.code,
    ['content-type', 'text/plain'],
    textBody(`${error.code}: ${error.message}\n`),
  )
  response.finish(undefined)
  return response
}

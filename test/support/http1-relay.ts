/** The engine alone: an Http1Server in front of one upstream, no policy. What the engine refuses or relays shows here. */
import { once } from 'node:events'
import net from 'node:net'
import { textBody } from '../../src/base/body.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { MeshError } from '../../src/base/errors.ts'
import { type Exchange, Response } from '../../src/base/exchange.ts'
import { Live } from '../../src/base/live.ts'
import type { Service } from '../../src/base/stack.ts'
import { type Http1Limits, http1Limits } from '../../src/http1/limits.ts'
import { Http1Server } from '../../src/http1/server.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { relay } from '../../src/tcp/relay.ts'
import { Connector } from '../../src/upstream/connect.ts'
import { Pools } from '../../src/upstream/pools.ts'

export interface Relay extends AsyncDisposable {
  readonly port: number
  readonly server: Http1Server
  readonly pools: Pools
  readonly exchanges: Exchange[]
  readonly refusals: MeshError[]
}

export interface RelayOptions {
  readonly limits?: Partial<Http1Limits>
  readonly allowConnect?: boolean
  readonly clock?: Clock
  /** Field lines that the engine adds to what it sends, each ended by CRLF. */
  readonly lines?: (exchange: Exchange) => string
  /** Wraps the plain relay. */
  readonly layer?: (next: Service) => Service
}

export async function startRelay(upstreamPort: number, options: RelayOptions = {}): Promise<Relay> {
  const clock = options.clock ?? systemClock
  const limits = { ...http1Limits, ...options.limits }
  const pools = new Pools(new Connector(clock, new Live<Credentials | undefined>(undefined)), clock, { http1: limits })
  const exchanges: Exchange[] = []
  const refusals: MeshError[] = []
  const to = { key: `127.0.0.1:${upstreamPort}`, address: '127.0.0.1', port: upstreamPort, identity: '' }
  const serve: Service = (exchange) => {
    exchanges.push(exchange)
    return pools
      .pool(to)
      .send(exchange, options.lines?.(exchange) ?? '')
      .catch((error: unknown) => answer(MeshError.from(error)))
  }
  const server = new Http1Server({
    clock,
    limits,
    serve: options.layer === undefined ? serve : options.layer(serve),
    refuse: (error) => {
      refusals.push(error)
      return answer(error)
    },
    dropReserved: true,
    allowConnect: options.allowConnect ?? false,
    splice: async (_exchange, client, head, response) => {
      const { socket, head: upstreamHead } = response.tunnel!
      await relay(client, socket, { clock, idleTimeoutMs: 60_000, heads: { a: head, b: upstreamHead } })
    },
  })
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    server.accept(socket, {
      direction: 'outbound',
      remoteAddress: socket.remoteAddress ?? '',
      remotePort: socket.remotePort ?? 0,
      proxy: undefined,
      localAddress: socket.localAddress ?? '',
      localPort: socket.localPort ?? 0,
      identity: undefined,
      tls: false,
      captured: false,
    }),
  )
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    port: (listener.address() as net.AddressInfo).port,
    server,
    pools,
    exchanges,
    refusals,
    async [Symbol.asyncDispose]() {
      server.close()
      pools.close()
      listener.close()
    },
  }
}

function answer(error: MeshError): Response {
  return new Response(
    error.status,
    error.code,
    ['content-type', 'text/plain'],
    textBody(`${error.code}: ${error.message}\n`),
  )
}

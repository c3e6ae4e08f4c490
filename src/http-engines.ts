/** Both HTTP engines of one direction behind one door: which of them a connection gets, its first bytes say. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Protocol } from './api/gen/outrigger_pb.ts'
import type { Clock } from './base/clock.ts'
import type { MeshError } from './base/errors.ts'
import type { Downstream, Exchange, RequestHead, Response } from './base/exchange.ts'
import type { Service } from './base/stack.ts'
import { http1Limits } from './http1/limits.ts'
import { type RequestRules, requestRules } from './http1/request-head.ts'
import { Http1Server } from './http1/server.ts'
import { http2Limits } from './http2/limits.ts'
import { Http2Server } from './http2/server.ts'

export interface HttpEnginesOptions {
  readonly clock: Clock
  readonly serve: Service
  /** Makes (and records) the answer to what a parser refused; no byte of it went anywhere. */
  readonly refuse: (error: MeshError, downstream: Downstream, startedAt: number) => Response
  /** Counts what was refused without an answer. */
  readonly dropped: (error: MeshError, downstream: Downstream) => void
  readonly dropReserved: boolean
  readonly allowConnect: boolean
  /** Who takes a connection that begins as TLS does; undefined: it is refused. */
  readonly passTls?: (downstream: Downstream) => ((socket: Socket) => void) | undefined
  /** Splices the two sides of a tunnel; resolves when both are closed. */
  readonly splice: (
    exchange: Exchange,
    client: Duplex,
    clientHead: Buffer | undefined,
    response: Response,
  ) => Promise<void>
}

export class HttpEngines {
  readonly rules: RequestRules
  readonly #http1: Http1Server
  readonly #http2: Http2Server

  constructor(options: HttpEnginesOptions) {
    const { clock, serve, refuse, dropped, dropReserved, allowConnect, passTls, splice } = options
    this.rules = requestRules(http1Limits, { dropReserved, allowConnect })
    this.#http2 = new Http2Server({
      clock,
      limits: http2Limits,
      serve,
      refuse,
      dropped,
      rules: this.rules,
      splice: (exchange, client, response) => splice(exchange, client, undefined, response),
    })
    this.#http1 = new Http1Server({
      clock,
      limits: http1Limits,
      serve,
      refuse,
      dropReserved,
      allowConnect,
      ...(passTls === undefined ? {} : { passTls }),
      passHttp2: (socket, downstream, rules) => this.#http2.accept(socket, downstream, rules),
      splice,
    })
  }

  /**
   * Takes over a socket on which HTTP/1.1 comes, or HTTP/2 with prior knowledge (RFC 9113 section 3.3). `declared`: what
   * what is neither is refused as.
   */
  accept(socket: Socket, downstream: Downstream, rules: RequestRules, declared: Protocol): void {
    this.#http1.accept(socket, downstream, rules, declared === Protocol.HTTP2)
  }

  /** The handshake has said that it is HTTP/2. */
  acceptHttp2(socket: Socket, downstream: Downstream, rules: RequestRules): void {
    this.#http2.accept(socket, downstream, rules)
  }

  /** Memory is short: clients are told to come again on other connections. */
  set crowded(crowded: boolean) {
    this.#http1.crowded = crowded
    this.#http2.crowded = crowded
  }

  get connections(): number {
    return this.#http1.connections + this.#http2.connections
  }

  retire(): void {
    this.#http1.retire()
    this.#http2.retire()
  }

  drain(): void {
    this.#http1.drain()
    this.#http2.drain()
  }

  close(): void {
    this.#http1.close()
    this.#http2.close()
  }
}

/** A port on which HTTP comes, in either version: either is understood, and translated where the other is declared. */
export function isHttp(protocol: Protocol): boolean {
  return protocol === Protocol.HTTP1 || protocol === Protocol.HTTP2
}

/** Whether a request goes on by HTTP/2: where a version is declared by that one, else by the one it came in. */
export function goesByHttp2({ version, upgrade }: RequestHead, declared: Protocol): boolean {
  if (version === '2') return declared !== Protocol.HTTP1
  return declared === Protocol.HTTP2 && upgrade === undefined
}

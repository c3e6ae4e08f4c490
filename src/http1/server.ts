/** What all connections of one listener share: options, the sweep that enforces time limits, and drain. */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../base/clock.ts'
import type { MeshError } from '../base/errors.ts'
import type { Downstream, Exchange, RequestHead, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import type { Http1Limits } from './limits.ts'
import { type RequestRules, requestRules } from './request-head.ts'
import { ServerConnection } from './server-connection.ts'

export interface Http1ServerOptions {
  readonly clock: Clock
  readonly limits: Http1Limits
  /** Answers an exchange; a rejection that is not a MeshError with `reset` becomes a bare 500. */
  readonly serve: Service
  /** Makes (and records) the answer to what the parser refused; no byte of it went anywhere. */
  readonly refuse: (error: MeshError, downstream: Downstream, startedAt: number) => Response
  readonly dropReserved: boolean
  readonly allowConnect: boolean
  /** Who takes a connection that begins as TLS does, paused and with every byte back in it; undefined: it is refused. */
  readonly passTls?: (downstream: Downstream) => ((socket: Socket) => void) | undefined
  /** Who takes a connection that begins as HTTP/2 does (RFC 9113 section 3.3), paused and with every byte back in it. */
  readonly passHttp2?: (socket: Socket, downstream: Downstream, rules: RequestRules) => void
  /** Splices the two sides of a tunnel after 101 or CONNECT; resolves when both are closed. */
  readonly splice: (exchange: Exchange, client: Socket, clientHead: Buffer, response: Response) => Promise<void>
}

/**
 * How long an idle connection may still bring a request once drain has begun: its answer then says `Connection: close`.
 * Ended at once, every request that is on its way in that moment would be lost (HTTP/1.1 has no GOAWAY).
 */
const drainGraceMs = 300

/** How often time limits are looked at; a limit may be exceeded by this much. */
const sweepMs = 500

export class Http1Server {
  readonly options: Http1ServerOptions
  readonly rules: RequestRules
  readonly #connections = new Set<ServerConnection>()
  readonly #sweep: Timer
  #grace: Timer | undefined
  draining = false
  /** Answers say `Connection: close`; everything else goes on. */
  retiring = false
  /** The same, as long as memory is short. */
  crowded = false

  constructor(options: Http1ServerOptions) {
    this.options = options
    this.rules = requestRules(options.limits, options)
    this.#sweep = options.clock.every(sweepMs, () => {
      const now = options.clock.now()
      for (const connection of this.#connections) connection.checkTime(now)
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Takes over a socket. `expectsHttp2`: what is no HTTP/1.1 is meant to be HTTP/2, and refused as such. */
  accept(socket: Socket, downstream: Downstream, rules: RequestRules = this.rules, expectsHttp2 = false): void {
    // It may have died while its destination was looked up; then no 'close' would follow.
    if (socket.destroyed) return
    const connection = new ServerConnection(this, socket, downstream, rules, expectsHttp2)
    this.#connections.add(connection)
    socket.once('close', () => this.#connections.delete(connection))
  }

  /** The connection is the other engine's. */
  forget(connection: ServerConnection): void {
    this.#connections.delete(connection)
  }

  /** Callers go elsewhere one by one: no connection is ended in which a request could be on its way. */
  retire(): void {
    this.retiring = true
  }

  /** Connections end after their next response, which says `Connection: close`; those that stay idle, in a moment. */
  drain(): void {
    if (this.draining) return
    this.draining = true
    this.#grace = this.options.clock.after(drainGraceMs, () => {
      for (const connection of this.#connections) connection.drain()
    })
  }

  close(): void {
    this.#sweep.cancel()
    this.#grace?.cancel()
    for (const connection of this.#connections) connection.destroy()
  }
}

export type { RequestHead }

/** What all HTTP/2 connections of one listener share: options, the sweep that enforces time limits, and drain. */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../base/clock.ts'
import type { MeshError } from '../base/errors.ts'
import type { Downstream, Exchange, Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import type { RequestRules } from '../http1/request-head.ts'
import type { Http2Limits } from './limits.ts'
import { ServerSession } from './server-session.ts'
import type { StreamTunnel } from './tunnel.ts'

export interface Http2ServerOptions {
  readonly clock: Clock
  readonly limits: Http2Limits
  /** Answers an exchange; a rejection that is not a MeshError with `reset` becomes a bare 500. */
  readonly serve: Service
  /** Makes (and records) the answer to what was read and refused; no byte of it went anywhere. */
  readonly refuse: (error: MeshError, downstream: Downstream, startedAt: number) => Response
  /** Counts what was refused without an answer: a stream that was reset, a connection that was ended. */
  readonly dropped: (error: MeshError, downstream: Downstream) => void
  /** What is let in where `accept` is not told otherwise. */
  readonly rules: RequestRules
  /** Splices the two sides of a tunnel after CONNECT; resolves when both are closed. */
  readonly splice: (exchange: Exchange, client: StreamTunnel, response: Response) => Promise<void>
}

/** How often time limits are looked at; a limit may be exceeded by this much. */
const sweepMs = 500

export class Http2Server {
  readonly options: Http2ServerOptions
  readonly #sessions = new Set<ServerSession>()
  readonly #sweep: Timer
  draining = false
  /** Clients are told to open their next connection elsewhere; everything else goes on. */
  retiring = false
  /** The same, as long as memory is short. */
  crowded = false

  constructor(options: Http2ServerOptions) {
    this.options = options
    this.#sweep = options.clock.every(sweepMs, () => {
      const now = options.clock.now()
      for (const session of this.#sessions) session.checkTime(now)
    })
  }

  get connections(): number {
    return this.#sessions.size
  }

  /** Takes over a socket on which HTTP/2 is expected, with nothing of it read. */
  accept(socket: Socket, downstream: Downstream, rules: RequestRules = this.options.rules): void {
    // It may have died while its destination was looked up; then no 'close' would follow.
    if (socket.destroyed) return
    const session = new ServerSession(this, socket, downstream, rules)
    this.#sessions.add(session)
    socket.once('close', () => this.#sessions.delete(session))
    if (this.draining) session.drain()
  }

  /** Callers go elsewhere one by one (GOAWAY with the highest stream, RFC 9113 section 6.8); no stream is refused. */
  retire(): void {
    this.retiring = true
    for (const session of this.#sessions) session.retire()
  }

  /** Streams that are under way end; connections end after their last one. */
  drain(): void {
    if (this.draining) return
    this.draining = true
    for (const session of this.#sessions) session.drain()
  }

  close(): void {
    this.#sweep.cancel()
    for (const session of this.#sessions) session.destroy()
  }
}

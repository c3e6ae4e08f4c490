/** Connections to one endpoint under one identity: last in, first out, so that the warm ones stay warm and the rest idles out. */
import type net from 'node:net'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { isIdempotent } from '../base/methods.ts'
import { ClientConnection, type ConnectionOwner } from '../http1/client-connection.ts'
import type { FieldRules } from '../http1/fields.ts'
import type { Http1Limits } from '../http1/limits.ts'
import { readBuffer, readView } from '../http1/writer.ts'
import { type Connector, type Destination, noAnswer } from './connect.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'
import type { PoolShare, PoolShares } from './pool-share.ts'
import { drained, overflow, type PoolCount, unsent } from './tries.ts'
import { WaitingLine } from './waiting-line.ts'

/** What a pool needs of a Connector. */
export type Dialer = Pick<Connector, 'dial'>

/**
 * A server ends a connection on which nothing was ever asked much sooner than one that it has answered on (a sidecar after
 * 10 s): one that was dialled for somebody who then got another is not kept for long.
 */
const unusedIdleMs = 5_000

/** A sidecar keeps an idle connection for 60 s (http1/limits.ts), whatever a policy of ours says. */
const sidecarIdleMs = 55_000

/**
 * Dials that may be under way at once: so many to begin with, two more for each that succeeds, one after one that got no
 * answer in time. A handshake costs both sides more CPU than many requests do. When a machine has none left, a dial for
 * each request that waits makes all of them run into their time, again and again, while connections that are there would
 * have served them.
 */
const dialsAtFirst = 8

/** One that was used so lately is used again at once, with no look at whether its peer is closing it. */
const warmMs = 100

export class Pool implements ConnectionOwner {
  limits: PoolLimits = defaultPoolLimits
  readonly #to: Destination
  readonly #connector: Dialer
  readonly #clock: Clock
  readonly #http1: Http1Limits
  readonly #rules: FieldRules
  readonly #localAddress: string | undefined
  readonly #idle: ClientConnection[] = []
  readonly #all = new Set<ClientConnection>()
  readonly #waiting: WaitingLine
  /** The part of other threads; undefined where there are none. */
  readonly #share: PoolShare | undefined
  #dialling = 0
  #dialsMax = dialsAtFirst
  /** Clock time at which a connection was last made, or last brought a whole answer. */
  #progressAt = Number.NEGATIVE_INFINITY
  #active = 0
  #closed = false
  /** Clock time of the last use, so that the registry can drop a pool that nobody needs. */
  usedAt: number

  constructor(
    to: Destination,
    connector: Dialer,
    options: {
      readonly clock: Clock
      readonly http1: Http1Limits
      readonly rules: FieldRules
      readonly localAddress?: string | undefined
      readonly shares?: PoolShares | undefined
    },
  ) {
    this.#to = to
    this.#connector = connector
    this.#clock = options.clock
    this.#http1 = options.http1
    this.#rules = options.rules
    this.#localAddress = options.localAddress
    this.usedAt = options.clock.now()
    const name = `${to.key} ${to.identity} ${options.localAddress ?? ''}`
    this.#share = options.shares?.open(name, () => this.#chance())
    this.#waiting = new WaitingLine(this.#share)
  }

  /** `active`: connections with a request under way; `open` has those, the idle ones and none that is dialled. */
  get size(): PoolCount {
    return { open: this.#all.size, idle: this.#idle.length, active: this.#active, waiting: this.#waiting.length }
  }

  /** Sends one try; see SendTry. */
  send(exchange: Exchange, lines: string): Promise<Response> {
    // Nothing may begin for a client that is gone, or past a deadline that will not fire again.
    if (exchange.cancelled !== undefined) return Promise.reject(unsent(exchange.cancelled))
    if ((this.#share?.requests ?? this.#active + this.#waiting.length) >= this.limits.requestsMax)
      return Promise.reject(overflow(this.#to.key, 'requestsMax', this.limits.requestsMax))
    const now = this.#clock.now()
    const idle = this.#takeIdle(now)
    if (idle !== undefined) {
      if (mayRepeat(exchange) || now < idle.idleSince + warmMs) return this.#sendOn(idle, exchange, lines)
      return this.#sendIfOpen(idle, exchange, lines)
    }
    this.usedAt = now
    if (this.#closed) return Promise.reject(drained(this.#to.key))
    if ((this.#share?.waiting ?? this.#waiting.length) >= this.limits.pendingRequestsMax) {
      return Promise.reject(overflow(this.#to.key, 'pendingRequestsMax', this.limits.pendingRequestsMax))
    }
    return this.#wait(exchange, lines)
  }

  /** One that has lived too long is not used in the time until it is swept: its upstream is about to close it. */
  #takeIdle(now: number): ClientConnection | undefined {
    for (;;) {
      const connection = this.#idle.pop()
      if (connection === undefined) return undefined
      // A socket that is being destroyed says that it is closed a turn of the event loop later.
      if (connection.closed || connection.socket.destroyed) continue
      if (now < connection.expiresAt) return connection
      connection.socket.destroy()
    }
  }

  /**
   * What may not be sent twice goes out on a kept connection only after one more turn of the event loop: an end that
   * the peer has sent already is seen then. What remains is the time that its end is on the way.
   */
  #sendIfOpen(connection: ClientConnection, exchange: Exchange, lines: string): Promise<Response> {
    this.#count(connection)
    return new Promise<Response>((resolve) => {
      setImmediate(() => {
        const open = !connection.closed && !connection.socket.destroyed
        if (open && !this.#closed && exchange.cancelled === undefined) {
          resolve(this.#sendOn(connection, exchange, lines))
          return
        }
        this.#uncount(connection)
        if (open && !this.#closed) this.#offer(connection)
        else connection.socket.destroy()
        resolve(this.send(exchange, lines))
      })
    })
  }

  #sendOn(connection: ClientConnection, exchange: Exchange, lines: string): Promise<Response> {
    this.#count(connection)
    return connection.send(exchange, lines, connection.requests > 0 || connection.idleSince >= 0)
  }

  #wait(exchange: Exchange, lines: string): Promise<Response> {
    const response = this.#waiting.join(exchange, lines)
    this.#dialForWaiting()
    return response
  }

  #dial(): void {
    this.#dialling++
    let connection: ClientConnection | undefined
    let early = false
    const onread: net.OnReadOpts = {
      buffer: readBuffer,
      callback: (bytes) => {
        if (connection !== undefined) return connection.read(readView(bytes))
        early = true
        return true
      },
    }
    this.#connector
      .dial(this.#to, {
        inside: 'outrigger/http1',
        timeoutMs: this.limits.connectTimeoutMs,
        onread,
        localAddress: this.#localAddress,
      })
      .then(
        (socket) => {
          this.#dialling--
          if (this.#closed || early) this.#share?.give()
          // Who speaks before a request came answers what nobody asked.
          if (this.#closed || early) {
            socket.on('error', () => {})
            socket.destroy()
            if (early)
              this.#dialFailed(new MeshError('UPSTREAM_PROTOCOL', `${this.#to.key} speaks first`, { unsent: true }))
            return
          }
          connection = new ClientConnection(socket, this, this.#clock, this.#http1, this.#rules)
          this.#all.add(connection)
          this.#progressAt = this.#clock.now()
          this.#dialsMax += 2
          this.#offer(connection)
          this.#dialForWaiting()
        },
        (error: unknown) => {
          this.#dialling--
          this.#share?.give()
          this.#dialFailed(MeshError.from(error, 'UPSTREAM_CONNECT'))
        },
      )
  }

  /**
   * One who waits pays for one dial that failed, unless the peer is merely busy. Where no connection is left and none is
   * on its way, all who wait do: nothing would ever serve them (Envoy purges its pending streams likewise).
   */
  #dialFailed(error: MeshError): void {
    if (error.cause === noAnswer) {
      this.#dialsMax = 1
      // It answers on the connections that it has: it is busy, and they will be free again.
      if (this.#all.size > 0 && this.#answeredSince(this.#clock.now() - this.limits.connectTimeoutMs)) {
        this.#dialForWaiting()
        return
      }
    }
    do {
      if (!this.#waiting.refuseNext(error)) return
    } while (this.#all.size === 0 && this.#dialling === 0)
    this.#dialForWaiting()
  }

  /** Whether anything came from the upstream since then: a connection, a whole answer, or a part of a body. */
  #answeredSince(since: number): boolean {
    if (this.#progressAt > since) return true
    // A connection that reads a body says when it would be too long without the next byte of it.
    const untilAtLeast = since + this.#http1.bodyTimeoutMs
    return this.#all.values().some((of) => of.busy && Number.isFinite(of.expiresAt) && of.expiresAt > untilAtLeast)
  }

  /** Gives a free connection to who waits longest, or keeps it. */
  #offer(connection: ClientConnection): void {
    const now = this.#clock.now()
    if (this.#share?.yields(this.#waiting.length > 0, now) === true) {
      this.#forget(connection)
      connection.socket.destroy()
      return
    }
    const waiter = this.#waiting.next()
    if (waiter !== undefined) {
      waiter.resolve(this.#sendOn(connection, waiter.exchange, waiter.lines))
      return
    }
    connection.idleSince = now
    connection.expiresAt = now + this.#idleMs(connection)
    this.#idle.push(connection)
  }

  #idleMs({ requests }: ClientConnection): number {
    const { idleTimeoutMs } = this.limits
    if (requests === 0) return Math.min(idleTimeoutMs, unusedIdleMs)
    return this.#to.identity === '' ? idleTimeoutMs : Math.min(idleTimeoutMs, sidecarIdleMs)
  }

  // ConnectionOwner.

  released(connection: ClientConnection, upstreamIdleMs: number): void {
    this.#uncount(connection)
    this.#progressAt = this.#clock.now()
    if (this.#closed || connection.requests >= this.limits.requestsPerConnectionMax) {
      this.#forget(connection)
      connection.socket.destroy()
      this.#dialForWaiting()
      return
    }
    this.#offer(connection)
    // An upstream that says it closes after N seconds is left before it does.
    if (upstreamIdleMs >= 0 && !connection.busy) {
      connection.expiresAt = Math.min(connection.expiresAt, this.#clock.now() + Math.max(0, upstreamIdleMs - 1_000))
    }
  }

  /**
   * The upstream may have closed the idle connection while the request was on its way. Nothing was answered, so a request
   * that may be repeated gets one fresh connection (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
   */
  again(exchange: Exchange, lines: string): Promise<Response> | undefined {
    return exchange.cancelled === undefined && mayRepeat(exchange) ? this.#wait(exchange, lines) : undefined
  }

  closed(connection: ClientConnection): void {
    if (connection.busy || connection.requests > 0) this.usedAt = this.#clock.now()
    if (!this.#forget(connection)) return
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#uncount(connection)
    this.#dialForWaiting()
  }

  #count(connection: ClientConnection): void {
    if (connection.counted) return
    connection.counted = true
    this.#active++
    this.#share?.begun()
  }

  #uncount(connection: ClientConnection): void {
    if (!connection.counted) return
    connection.counted = false
    this.#active--
    this.#share?.ended()
  }

  #forget(connection: ClientConnection): boolean {
    if (!this.#all.delete(connection)) return false
    this.#share?.give()
    return true
  }

  /** Of another thread: a connection is free, or one is wanted. */
  #chance(): void {
    if (this.#waiting.length === 0 && this.#share?.wanted === true) this.#idle.shift()?.socket.destroy()
    else this.#dialForWaiting()
  }

  #dialForWaiting(): void {
    const most = Math.min(this.#waiting.length, this.#dialsMax)
    while (!this.#closed && this.#dialling < most && this.#mayConnect()) this.#dial()
  }

  #mayConnect(): boolean {
    const { connectionsMax } = this.limits
    return this.#share?.take(connectionsMax) ?? this.#all.size + this.#dialling < connectionsMax
  }

  /** Called once a second. */
  checkTime(now: number): void {
    for (const connection of this.#all) connection.checkTime(now)
    // Nobody tells of a connection that another thread took with it when it died.
    if (this.#share !== undefined) this.#dialForWaiting()
  }

  /** No connection is left and none will be made. */
  release(): void {
    this.#share?.close()
  }

  /** Ends idle connections now and busy ones when they are done. */
  close(): void {
    this.#closed = true
    for (const connection of this.#idle.splice(0)) connection.socket.destroy()
    this.#waiting.refuseAll(drained(this.#to.key))
  }
}

/** Whether a request may reach an application twice, and can be sent once more. */
function mayRepeat({ request, body }: Exchange): boolean {
  return isIdempotent(request.method) && body.whole !== undefined
}

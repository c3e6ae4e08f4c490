/** HTTP/2 connections to one endpoint under one identity: one for all requests, more when the peer takes no more streams on it. */
import type net from 'node:net'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { isIdempotent } from '../base/methods.ts'
import type { FieldRules } from '../http1/fields.ts'
import { readBuffer, readView } from '../http1/writer.ts'
import { ClientSession, type SessionOwner } from '../http2/client-session.ts'
import type { Http2Limits } from '../http2/limits.ts'
import type { Destination } from './connect.ts'
import type { Dialer } from './pool.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'
import type { PoolShare, PoolShares } from './pool-share.ts'
import { drained, overflow, type PoolCount, unsent } from './tries.ts'
import { WaitingLine } from './waiting-line.ts'

/** Requests for which one more connection is dialled while another is on its way. */
const waitingPerDial = 100

/** After a dial that brought nothing, while there are connections whose streams can be waited for. */
const dialAgainMs = 1_000

export class Http2Pool implements SessionOwner {
  limits: PoolLimits = defaultPoolLimits
  readonly #to: Destination
  readonly #connector: Dialer
  readonly #clock: Clock
  readonly #http2: Http2Limits
  readonly #rules: FieldRules
  readonly #localAddress: string | undefined
  /** Those that take new streams; the one that was made first is filled first. */
  readonly #sessions: ClientSession[] = []
  readonly #all = new Set<ClientSession>()
  readonly #waiting: WaitingLine
  readonly #share: PoolShare | undefined
  #dialling = 0
  /** Clock time until which no dial follows one that brought nothing, unless it is all there is to wait for. */
  #dialNotBefore = 0
  #active = 0
  #closed = false
  /** Clock time of the last use, so that the registry can drop a pool that nobody needs. */
  usedAt: number

  constructor(
    to: Destination,
    connector: Dialer,
    options: {
      readonly clock: Clock
      readonly http2: Http2Limits
      readonly rules: FieldRules
      readonly localAddress?: string | undefined
      readonly shares?: PoolShares | undefined
    },
  ) {
    this.#to = to
    this.#connector = connector
    this.#clock = options.clock
    this.#http2 = options.http2
    this.#rules = options.rules
    this.#localAddress = options.localAddress
    this.usedAt = options.clock.now()
    const name = `h2 ${to.key} ${to.identity} ${options.localAddress ?? ''}`
    this.#share = options.shares?.open(name, () => this.#dialForWaiting())
    this.#waiting = new WaitingLine(this.#share)
  }

  /** `active`: streams under way; `idle`: connections without any. */
  get size(): PoolCount {
    let idle = 0
    for (const session of this.#all) if (session.idle) idle++
    return { open: this.#all.size, idle, active: this.#active, waiting: this.#waiting.length }
  }

  /** Sends one try; see SendTry. */
  send(exchange: Exchange, lines: string): Promise<Response> {
    // Nothing may begin for a client that is gone, or past a deadline that will not fire again.
    if (exchange.cancelled !== undefined) return Promise.reject(unsent(exchange.cancelled))
    if ((this.#share?.requests ?? this.#active + this.#waiting.length) >= this.limits.requestsMax)
      return Promise.reject(overflow(this.#to.key, 'requestsMax', this.limits.requestsMax))
    const session = this.#find(exchange, false)
    if (session !== undefined) return this.#sendOn(session, exchange, lines, true)
    this.usedAt = this.#clock.now()
    if (this.#closed) return Promise.reject(drained(this.#to.key))
    if ((this.#share?.waiting ?? this.#waiting.length) >= this.limits.pendingRequestsMax)
      return Promise.reject(overflow(this.#to.key, 'pendingRequestsMax', this.limits.pendingRequestsMax))
    return this.#wait(exchange, lines, false)
  }

  #find(exchange: Exchange, again: boolean): ClientSession | undefined {
    for (const session of this.#sessions) if (mayTake(session, exchange, again)) return session
    return undefined
  }

  #sendOn(session: ClientSession, exchange: Exchange, lines: string, repeatable: boolean): Promise<Response> {
    const { upgrade } = exchange.request
    if (upgrade !== undefined && !session.peerConnectProtocol) {
      const what = `${this.#to.key} takes no ${upgrade} over HTTP/2 (RFC 8441); declare its port as HTTP/1.1`
      return Promise.reject(new MeshError('UPSTREAM_PROTOCOL', what, { unsent: true }))
    }
    this.#active++
    this.#share?.begun()
    const response = session.send(exchange, lines, repeatable)
    if (session.requests >= this.limits.requestsPerConnectionMax) session.leave()
    return response
  }

  #wait(exchange: Exchange, lines: string, again: boolean): Promise<Response> {
    const response = this.#waiting.join(exchange, lines, again)
    this.#dialForWaiting()
    return response
  }

  #dial(): void {
    this.#dialling++
    let session: ClientSession | undefined
    let early: Buffer | undefined
    const onread: net.OnReadOpts = {
      buffer: readBuffer,
      callback: (bytes) => {
        if (session !== undefined) session.read(readView(bytes))
        // A server may send its SETTINGS before it has heard from us.
        else early = Buffer.concat(early === undefined ? [readView(bytes)] : [early, readView(bytes)])
        return true
      },
    }
    this.#connector
      .dial(this.#to, {
        inside: 'outrigger/h2',
        timeoutMs: this.limits.connectTimeoutMs,
        onread,
        localAddress: this.#localAddress,
      })
      .then(
        (socket) => {
          this.#dialling--
          if (this.#closed) {
            this.#share?.give()
            socket.on('error', () => {})
            socket.destroy()
            return
          }
          session = new ClientSession(socket, this, this.#clock, this.#http2, this.#rules, this.#to.key)
          this.#all.add(session)
          this.#sessions.push(session)
          // How many streams it takes stands there.
          if (early !== undefined) session.read(early)
          this.#serve(session)
          this.#dialForWaiting()
        },
        (error: unknown) => {
          this.#dialling--
          this.#share?.give()
          this.#dialFailed(MeshError.from(error, 'UPSTREAM_CONNECT'))
        },
      )
  }

  /** All who wait go on it, as many as it takes. */
  #serve(session: ClientSession): void {
    for (;;) {
      const { first } = this.#waiting
      if (first === undefined || !mayTake(session, first.exchange, first.again)) return
      this.#waiting.next()
      first.resolve(this.#sendOn(session, first.exchange, first.lines, !first.again))
    }
  }

  /** Who waits pays for a dial that brought nothing, unless a connection is there or on its way. */
  #dialFailed(error: MeshError): void {
    this.#dialNotBefore = this.#clock.now() + dialAgainMs
    if (this.#sessions.length > 0 || this.#dialling > 0) return
    this.#waiting.refuseAll(error)
  }

  // SessionOwner.

  streamEnded(): void {
    this.#active--
    this.#share?.ended()
  }

  room(session: ClientSession): void {
    if (session.idle) {
      this.usedAt = this.#clock.now()
      session.expireAt(this.usedAt + this.limits.idleTimeoutMs)
      // A peer that takes no streams at all is as good as gone (CVE-2021-32780).
      if (session.peerStreamsMax === 0 && this.#drop(session))
        this.#dialFailed(new MeshError('UPSTREAM_CONNECT', `${this.#to.key} takes no streams`, { unsent: true }))
      if (
        this.#closed ||
        session.peerStreamsMax === 0 ||
        this.#share?.yields(this.#waiting.length > 0, this.usedAt) === true
      ) {
        session.leave()
        return
      }
    }
    if (this.#waiting.length === 0) return
    this.#serve(session)
    this.#dialForWaiting()
  }

  leaving(session: ClientSession): void {
    this.#drop(session)
    this.#dialForWaiting()
  }

  lost(session: ClientSession, failure: MeshError): void {
    // Without SETTINGS it has not come about: who dials again at once does so for ever.
    if (this.#drop(session) && !session.settled) this.#dialFailed(unsent(failure))
    this.#dialForWaiting()
  }

  closed(session: ClientSession): void {
    if (!this.#all.delete(session)) return
    this.#share?.give()
    this.#dialForWaiting()
  }

  /** It takes no new streams; false: it did not before. */
  #drop(session: ClientSession): boolean {
    const at = this.#sessions.indexOf(session)
    if (at !== -1) this.#sessions.splice(at, 1)
    return at !== -1
  }

  /**
   * What the peer has done nothing for is sent once more, whatever its method (RFC 9113 section 8.7); what it may have done
   * something for, only if that may be done twice (RFC 9110 section 9.2.2). Once: a peer that refuses again is busy.
   */
  again(exchange: Exchange, lines: string, untouched: boolean): Promise<Response> | undefined {
    if (this.#closed || exchange.cancelled !== undefined || exchange.body.whole === undefined) return undefined
    if (!untouched && !isIdempotent(exchange.request.method)) return undefined
    const session = this.#find(exchange, true)
    if (session !== undefined) return this.#sendOn(session, exchange, lines, false)
    return this.#wait(exchange, lines, true)
  }

  #dialForWaiting(): void {
    if (this.#sessions.length > 0 && this.#clock.now() < this.#dialNotBefore) return
    if (this.#closed || this.#waiting.length === 0) return
    let wanted = Math.ceil(this.#waiting.length / waitingPerDial)
    // One that has not said yet what it takes may take them.
    for (const session of this.#sessions) if (!session.settled) wanted--
    while (this.#dialling < wanted && this.#mayConnect()) this.#dial()
  }

  #mayConnect(): boolean {
    const { connectionsMax } = this.limits
    return this.#share?.take(connectionsMax) ?? this.#all.size + this.#dialling < connectionsMax
  }

  /** Called once a second. */
  checkTime(now: number): void {
    for (const session of this.#all) session.checkTime(now)
    // A dial that failed is due again; nobody tells of a connection that another thread took with it when it died.
    this.#dialForWaiting()
  }

  /** No connection is left and none will be made. */
  release(): void {
    this.#share?.close()
  }

  /** Ends idle connections now and busy ones when they are done. */
  close(): void {
    this.#closed = true
    for (const session of this.#sessions.slice()) session.leave()
    this.#waiting.refuseAll(drained(this.#to.key))
  }
}

/**
 * Whether a peer takes CONNECT for other protocols it says in its SETTINGS, and how many streams: what it refused once is
 * not sent again before it has said so.
 */
function mayTake(session: ClientSession, { request }: Exchange, again: boolean): boolean {
  return session.hasRoom && (session.settled || (request.upgrade === undefined && !again))
}

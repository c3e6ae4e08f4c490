/** One upstream connection: requests go out on it as streams, as many at once as the peer allows. */
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Headers, Response } from '../base/exchange.ts'
import type { FieldRules } from '../http1/fields.ts'
import { ClientStream } from './client-stream.ts'
import { ConnectionError, errorCode, errorName, preface, setting, streamIdMax } from './frames.ts'
import type { Http2Limits } from './limits.ts'
import { type SectionProblem, Session } from './session.ts'
import type { Stream } from './stream.ts'

/** Streams at once as long as the peer has not said how many (RFC 9113 section 6.5.2 advises it to allow 100). */
const streamsAtFirst = 100

/** What a connection tells its pool. */
export interface SessionOwner {
  streamEnded(session: ClientSession): void
  /** A stream has ended, or the peer has said how many it takes. */
  room(session: ClientSession): void
  /** No new stream may be begun on it; those that it has go on. */
  leaving(session: ClientSession): void
  /** It is broken: every stream that it has ends with it. */
  lost(session: ClientSession, failure: MeshError): void
  /** Its socket is closed. Until then it is one of the connections that there are. */
  closed(session: ClientSession): void
  /** A request was lost of which the peer has done nothing, or may have done nothing: another try, or undefined when there is none. */
  again(exchange: Exchange, lines: string, unsent: boolean): Promise<Response> | undefined
}

export class ClientSession extends Session {
  readonly owner: SessionOwner
  readonly rules: FieldRules
  /** Requests begun on this connection. */
  requests = 0
  readonly lostCode = 'UPSTREAM_RESET'
  #fresh: ClientStream[] = []
  #nextStream = 1
  /** The peer's name, for messages. */
  readonly #peer: string

  constructor(socket: Socket, owner: SessionOwner, clock: Clock, limits: Http2Limits, rules: FieldRules, peer: string) {
    super(socket, clock, limits)
    this.owner = owner
    this.rules = rules
    this.#peer = peer
    this.peerStreamsMax = streamsAtFirst
    socket.on('end', () => {
      // What it was asked it will not answer any more.
      this.socket.destroy()
    })
    this.output.write(preface)
    this.begin([[setting.ENABLE_PUSH, 0]])
  }

  /** Whether one more stream may be begun. */
  get hasRoom(): boolean {
    return (
      !this.leaving && !this.ending && !this.closed && !this.socket.destroyed && this.streams.size < this.peerStreamsMax
    )
  }

  get idle(): boolean {
    return this.streams.size === 0
  }

  /** Clock time at which it has lain idle for too long. */
  expireAt(time: number): void {
    if (this.settled && !this.ending) this.expiresAt = time
  }

  /**
   * Sends one request. `lines`: extra field lines of this try, each ended by CRLF. `repeatable`: it may be sent once more
   * if this connection loses it.
   */
  send(exchange: Exchange, lines: string, repeatable: boolean): Promise<Response> {
    const id = this.#nextStream
    this.#nextStream += 2
    this.lastStream = id
    this.requests++
    this.now = this.clock.now()
    if (this.settled) this.expiresAt = Number.POSITIVE_INFINITY
    // The next number would be none (RFC 9113 section 5.1.1).
    if (this.#nextStream > streamIdMax) this.leave()
    const stream = new ClientStream(this, id, exchange, lines, repeatable)
    this.streams.add(stream)
    return stream.begin()
  }

  /** The response of `stream` is handed on when all that is here has been read. */
  handOnLater(stream: ClientStream): void {
    this.#fresh.push(stream)
  }

  /** Nothing new is begun on it. */
  leave(): void {
    if (this.leaving) return
    this.leaving = true
    this.owner.leaving(this)
    if (this.streams.size === 0) this.#farewell()
  }

  #farewell(): void {
    if (this.ending || this.closed) return
    this.sayGoaway(0, errorCode.NO_ERROR, '')
    this.endSocket()
  }

  // ------------------------------------------------------------------ what the peer says

  protected onSection(
    id: number,
    endStream: boolean,
    fields: Headers,
    problem: SectionProblem | undefined,
    message: string,
  ): void {
    const stream = this.streams.get(id) as ClientStream | undefined
    if (stream === undefined) {
      if (this.isIdle(id)) throw new ConnectionError('PROTOCOL_ERROR', 'HEADERS on a stream that never began')
      return
    }
    if (!stream.receiving) {
      stream.reset(errorCode.STREAM_CLOSED, this.protocolError('HEADERS after the end of its stream'))
      return
    }
    if (problem !== undefined) stream.malformed(message)
    else stream.onFields(fields, endStream)
  }

  protected afterRead(): void {
    const fresh = this.#fresh
    if (fresh.length === 0) return
    this.#fresh = []
    for (const stream of fresh) stream.settle()
  }

  protected onStreamReset(stream: Stream, code: number): void {
    ;(stream as ClientStream).onPeerReset(code)
  }

  protected isIdle(stream: number): boolean {
    return stream > this.lastStream || (stream & 1) === 0
  }

  /** Frames of streams that we have reset may be on the way for longer than we remember them. */
  protected override onFrameOfClosed(): void {}

  protected override onPushSetting(value: number): void {
    if (value !== 0) throw new ConnectionError('PROTOCOL_ERROR', 'a server allows pushes (RFC 9113 section 6.5.2)')
  }

  protected onSettled(first: boolean): void {
    if (first) this.expiresAt = Number.POSITIVE_INFINITY
    this.owner.room(this)
  }

  protected onPeerGoaway(lastStream: number, code: number): void {
    // Above it nothing was done (RFC 9113 section 6.8): those may be sent again, whatever their method.
    const reason = code === errorCode.NO_ERROR ? '' : ` (${errorName(code)})`
    if (!this.leaving) {
      this.leaving = true
      this.owner.leaving(this)
    }
    this.streams.visitAll((stream) => {
      if (stream.id <= lastStream) return
      stream.close(new MeshError('UPSTREAM_RESET', `${this.#peer} goes away${reason}`, { unsent: true }))
    })
    if (this.streams.size === 0) this.endSocket()
  }

  protected lastPeerStream(): number {
    return 0
  }

  // ------------------------------------------------------------------ endings

  protected onQuiet(): void {
    if (this.closed || this.ending) return
    if (this.leaving) this.#farewell()
  }

  override remove(stream: Stream): boolean {
    if (!super.remove(stream)) return false
    this.owner.streamEnded(this)
    if (!this.closed && !this.ending) this.owner.room(this)
    return true
  }

  protected onExpired(): void {
    if (this.ending) {
      this.socket.destroy()
      return
    }
    if (!this.settled) {
      this.failure = new MeshError('UPSTREAM_PROTOCOL', `${this.#peer} does not speak HTTP/2: no SETTINGS came`)
      this.socket.destroy()
      return
    }
    this.leave()
  }

  protected onViolation(_error: ConnectionError): void {}

  protected onSocketError(error: NodeJS.ErrnoException): void {
    // Under TLS 1.3 a peer that refuses our certificate says so after our side of the handshake is done.
    const refused = error.code?.startsWith('ERR_SSL') === true
    this.failure = new MeshError(refused ? 'UPSTREAM_TLS' : 'UPSTREAM_RESET', `upstream connection: ${error.message}`, {
      cause: error,
    })
  }

  protected onLost(): void {
    const failure = this.failure ?? new MeshError('UPSTREAM_RESET', 'upstream closed the connection')
    // First, so that nothing is sent again on this one.
    this.owner.lost(this, failure)
    this.streams.visitAll((stream) => stream.close(failure))
    if (this.closed) this.owner.closed(this)
  }

  protocolError(message: string): MeshError {
    const what = this.settled ? `${this.#peer} breaks HTTP/2` : `${this.#peer} does not speak HTTP/2`
    return new MeshError('UPSTREAM_PROTOCOL', `${what}: ${message}`)
  }
}

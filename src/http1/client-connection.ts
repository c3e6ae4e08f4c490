/** One upstream connection: sends one request at a time, reads its answer, goes back to its pool. */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { type Body, type BodySink, noBody, WholeBody } from '../base/body.ts'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import { type Exchange, type Headers, Response } from '../base/exchange.ts'
import { latin1 } from '../base/latin1.ts'
import { bodyExpected } from '../base/methods.ts'
import { bulkBuffers } from '../tcp/bulk-buffers.ts'
import { BulkReads } from '../tcp/bulk-reads.ts'
import { writeText } from '../tcp/direct-writes.ts'
import { reset } from '../tcp/reset.ts'
import { StaticReads } from '../tcp/static-reads.ts'
import type { FieldRules } from './fields.ts'
import { BodyDecoder, type PayloadSink } from './framing.ts'
import { findHeadEnd, findHeadEndIn } from './head-end.ts'
import type { Http1Limits } from './limits.ts'
import { type ParsedResponse, parseResponseHead, untilClose } from './response-head.ts'
import { TunnelStream } from './tunnel.ts'
import { BodyWriter, fieldLines, readBuffer, readView, stringBytesMax } from './writer.ts'

/** What a connection tells its pool. */
export interface ConnectionOwner {
  /** Ready for the next request. `idleTimeoutMs`: what the upstream said it keeps an idle connection, or -1. */
  released(connection: ClientConnection, upstreamIdleMs: number): void
  closed(connection: ClientConnection): void
  /** A kept connection was lost before any byte of an answer came: another try, or undefined when there is none. */
  again(exchange: Exchange, lines: string): Promise<Response> | undefined
}

const nothing: Buffer = Buffer.alloc(0)

export class ClientConnection implements PayloadSink {
  readonly socket: Socket
  readonly #clock: Clock
  readonly #limits: Http1Limits
  readonly #rules: FieldRules
  readonly #owner: ConnectionOwner
  /** Requests begun on this connection. */
  requests = 0
  /** Clock time when an idle connection is too old, and when a stalled body is. */
  expiresAt = Number.POSITIVE_INFINITY
  /** Clock time since when it has lain idle, or last did; below 0: never. */
  idleSince = Number.NEGATIVE_INFINITY
  closed = false
  /** Its pool counts it among those under way. */
  counted = false

  #exchange: Exchange | undefined
  #resolve: ((response: Response | Promise<Response>) => void) | undefined
  #reject: ((error: MeshError) => void) | undefined
  #held: Buffer = nothing
  #scanned = 0
  /** Bytes of informational responses to this request. */
  #informationalBytes = 0
  #answered = false
  /** Extra field lines of the request that is under way; undefined on a connection that was made for it. */
  #lines: string | undefined
  #parsed: ParsedResponse | undefined
  #response: Response | undefined
  #decoder: BodyDecoder | undefined
  #sink: BodySink | undefined
  #trailers: Headers | undefined
  #responseDone = false
  #requestDone = true
  #writer: BodyWriter | undefined
  #requestBody: Body | undefined
  #reusable = true
  /** It was asked for a 100, and has sent none. */
  #continueAwaited = false
  /** Clock time until which the body waits for that 100. */
  #bodyWaitsUntil = Number.POSITIVE_INFINITY
  #paused = false
  #pausedBySink = false
  #failure: MeshError | undefined
  #tunnel: TunnelStream | undefined
  readonly #bulk: BulkReads | undefined
  /** The sink has not taken all of what it got: it says when it has by resuming. */
  #sinkFull = false

  constructor(socket: Socket, owner: ConnectionOwner, clock: Clock, limits: Http1Limits, rules: FieldRules) {
    this.socket = socket
    this.#owner = owner
    this.#clock = clock
    this.#limits = limits
    this.#rules = rules
    const reads = StaticReads.begin(socket, readBuffer, this.#take)
    if (reads !== undefined) this.#bulk = new BulkReads(reads, readBuffer)
    socket.on('drain', () => {
      if (this.#requestBody !== undefined && !this.#requestDone) this.#requestBody.resume()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Under TLS 1.3 a peer that refuses our certificate says so after our side of the handshake is done.
      const refused = error.code?.startsWith('ERR_SSL') === true
      this.#failure ??= new MeshError(
        refused ? 'UPSTREAM_TLS' : 'UPSTREAM_RESET',
        `upstream connection: ${error.message}`,
        {
          cause: error,
        },
      )
    })
    socket.on('end', () => this.#onEnd())
    socket.on('close', () => this.#onClose())
  }

  get busy(): boolean {
    return this.#exchange !== undefined
  }

  /**
   * Sends one request. `lines`: extra field lines of this try, each ended by CRLF. The promise resolves with the
   * response head; the body follows through `response.body`. `kept`: the connection was used or lay idle before, so that
   * its peer may be closing it.
   */
  send(exchange: Exchange, lines: string, kept: boolean): Promise<Response> {
    this.#exchange = exchange
    this.#lines = kept ? lines : undefined
    this.requests++
    this.expiresAt = Number.POSITIVE_INFINITY
    this.#answered = false
    this.#responseDone = false
    this.#response = undefined
    this.#decoder = undefined
    this.#sink = undefined
    this.#scanned = 0
    this.#informationalBytes = 0
    this.#continueAwaited = false
    this.#bodyWaitsUntil = Number.POSITIVE_INFINITY
    exchange.waiting = this.#abort
    this.#bulk?.begin()
    const promise = new Promise<Response>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    const { request, body } = exchange
    let head = `${request.method} ${request.target} HTTP/1.1\r\n`
    head += request.authority === '' ? 'host: \r\n' : `host: ${request.authority}\r\n`
    head += fieldLines(request.headers) + lines
    const whole = body.whole
    if (whole !== undefined) {
      if (whole.length > 0 || bodyExpected(request.method)) head += `content-length: ${whole.length}\r\n`
      if (request.upgrade !== undefined) head += `connection: upgrade\r\nupgrade: ${request.upgrade}\r\n`
      // HTTP/2 has no use for the key, and HTTP/1.1 none without it (RFC 8441 section 5).
      if (request.upgrade === 'websocket' && request.version === '2')
        head += `sec-websocket-key: ${randomBytes(16).toString('base64')}\r\n`
      this.#requestDone = true
      writeText(this.socket, whole === '' ? `${head}\r\n` : `${head}\r\n${whole}`)
    } else {
      const chunked = body.length === undefined
      head += chunked ? 'transfer-encoding: chunked\r\n' : `content-length: ${body.length}\r\n`
      this.#requestDone = false
      this.#requestBody = body
      if (request.expectContinue) {
        // The body waits for the 100: a part of it right behind the head has been sent on twice by a server that asked for it
        // (Traffic Server 9), and the second time it was a request.
        this.#continueAwaited = true
        this.#bodyWaitsUntil = this.#clock.now() + this.#limits.continueTimeoutMs
        this.socket.write(`${head}expect: 100-continue\r\n\r\n`, 'latin1')
      } else {
        this.#sendBody(`${head}\r\n`)
      }
    }
    return promise
  }

  /** `head`: what goes out before it; '' if it is out. */
  #sendBody(head: string): void {
    const body = this.#requestBody!
    this.#bodyWaitsUntil = Number.POSITIVE_INFINITY
    this.#writer = new BodyWriter(this.socket, head, body.length, body.length === undefined)
    body.pipe(new RequestSink(this, this.requests))
    this.#writer?.flush()
  }

  get #bodyWaits(): boolean {
    return this.#bodyWaitsUntil !== Number.POSITIVE_INFINITY && !this.#requestDone
  }

  // ------------------------------------------------------------------ request body, as RequestSink brings it

  requestData(chunk: Buffer): boolean {
    return this.#writer === undefined || this.#writer.data(chunk)
  }

  requestEnd(trailers: Headers | undefined): void {
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    this.#requestBody = undefined
    this.#requestDone = true
    writer.end(trailers)
    if (writer.short || writer.overrun) {
      this.#abort(new MeshError('BAD_REQUEST', 'request body does not match its Content-Length'))
      return
    }
    if (this.#responseDone) this.#release()
  }

  requestFail(error: MeshError): void {
    if (this.#writer === undefined) return
    this.#writer = undefined
    this.#requestBody = undefined
    this.#abort(error)
  }

  // ------------------------------------------------------------------ reading

  readonly #take = (bytes: number, buffer: Buffer): boolean => {
    const more = this.read(buffer === readBuffer ? readView(bytes) : buffer.subarray(0, bytes))
    this.#bulk!.after(
      bytes,
      this.#decoder !== undefined && this.#tunnel === undefined,
      !this.#sinkFull && this.#held.length === 0,
    )
    return more
  }

  /** Takes what the socket read; `chunk` may be a view of the shared read buffer. Returns false to stop reading. */
  read(chunk: Buffer): boolean {
    if (this.#tunnel !== undefined) return this.#tunnel.feed(chunk)
    if (this.#exchange === undefined) {
      // Bytes that nobody asked for: whose answer would they become? (response splitting, research row 14)
      this.#reusable = false
      this.socket.destroy()
      return false
    }
    try {
      if (this.#response !== undefined) this.#readBody(chunk, 0)
      else this.#readHead(chunk)
    } catch (error) {
      this.#abort(MeshError.from(error, 'UPSTREAM_PROTOCOL'))
    }
    return !this.#paused
  }

  #readHead(chunk: Buffer): void {
    this.#answered = true
    if (this.#held.length > 0) {
      chunk = Buffer.concat([this.#held, chunk])
      this.#held = nothing
    }
    let start = 0
    // Nearly every answer comes whole: one look at it as a text finds the end of its head and gives its body too.
    const text = this.#scanned === 0 && chunk.length <= stringBytesMax ? latin1(chunk, 0, chunk.length) : undefined
    for (;;) {
      let found = text === undefined ? -2 : findHeadEndIn(text, start, this.#limits.headBytesMax)
      if (found < 0) found = findHeadEnd(chunk, start, Math.max(start, this.#scanned - 3), this.#limits.headBytesMax)
      if (found === -1)
        throw new MeshError('UPSTREAM_PROTOCOL', 'upstream answered garbage: line ended by bare LF or CR')
      if (found === -2) {
        if (chunk.length - start > this.#limits.headBytesMax)
          throw new MeshError('UPSTREAM_PROTOCOL', 'upstream response head too large')
        if (start > 0) chunk = chunk.subarray(start)
        this.#scanned = chunk.length
        // Also cuts short what is not HTTP at all, instead of waiting for an empty line that never comes.
        if (!'HTTP/1.'.startsWith(latin1(chunk, 0, Math.min(7, chunk.length)))) {
          throw new MeshError('UPSTREAM_PROTOCOL', 'upstream answered garbage: not HTTP/1')
        }
        this.#held = Buffer.from(chunk)
        return
      }
      this.#scanned = 0
      const exchange = this.#exchange!
      const parsed = parseResponseHead(
        text === undefined ? latin1(chunk, start, found + 4) : text.slice(start),
        found - start,
        exchange.request.method,
        this.#rules,
      )
      const headStart = start
      start = found + 4
      if (parsed.status >= 200 || parsed.status === 101) {
        this.#head(exchange, parsed, chunk, start, text)
        return
      }
      // They are relayed at once, whether the client reads or not: so many may come as fit in one head.
      this.#informationalBytes += start - headStart
      if (this.#informationalBytes > this.#limits.headBytesMax)
        throw new MeshError('UPSTREAM_PROTOCOL', 'upstream sends informational responses without end')
      if (parsed.status === 100) {
        this.#continueAwaited = false
        if (this.#bodyWaits) this.#sendBody('')
      }
      exchange.informational?.(parsed.status, parsed.headers)
      if (start === chunk.length) return
    }
  }

  /** `text`: the chunk, where it was short enough to be looked at as one. */
  #head(exchange: Exchange, parsed: ParsedResponse, chunk: Buffer, start: number, text: string | undefined): void {
    this.#parsed = parsed
    const here = chunk.length - start
    if (parsed.status === 101) {
      this.#switchProtocols(exchange, parsed, Buffer.from(chunk.subarray(start)))
      return
    }
    // Without a 100 nobody can tell whether it reads the body as one, or as the next request (RFC 9110 section 10.1.1).
    if (!parsed.keepAlive || exchange.request.upgrade !== undefined || this.#continueAwaited) this.#reusable = false
    const length = parsed.bodyLength
    // Over TLS the end of the connection proves nothing: whoever is in between can make it. A sidecar always frames.
    if (length === untilClose && 'encrypted' in this.socket)
      throw new MeshError('UPSTREAM_PROTOCOL', 'upstream sends a body without length or chunks over TLS')
    if (length === 0) {
      this.#settle(new Response(parsed.status, parsed.reason, parsed.headers, noBody))
      this.#finish(here > 0)
      return
    }
    if (length > 0 && here >= length && length <= this.#limits.wholeBodyBytesMax) {
      const body = new WholeBody(
        text === undefined ? latin1(chunk, start, start + length) : text.slice(start, start + length),
      )
      this.#settle(new Response(parsed.status, parsed.reason, parsed.headers, body))
      this.#finish(here > length)
      return
    }
    this.#decoder = new BodyDecoder(length, this, this.#rules, this.#limits)
    const body = new ResponseBody(this, this.requests, length >= 0 ? length : undefined)
    this.#response = new Response(parsed.status, parsed.reason, parsed.headers, body)
    if (here > 0) this.#hold(chunk.subarray(start))
    this.#settle(this.#response)
  }

  #settle(response: Response): void {
    this.#response = response
    const resolve = this.#resolve!
    this.#resolve = undefined
    this.#reject = undefined
    resolve(response)
  }

  #hold(chunk: Buffer): void {
    // It lies where nothing is read as long as it lies there.
    if (this.#held.length === 0 && bulkBuffers.has(chunk)) {
      this.#held = chunk
      this.#pause()
      return
    }
    this.#held = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk])
    if (this.#held.length >= this.#limits.readAheadBytesMax) this.#pause()
  }

  #readBody(chunk: Buffer, start: number): void {
    if (this.#sink === undefined || this.#pausedBySink) {
      this.#hold(start === 0 ? chunk : chunk.subarray(start))
      return
    }
    this.expiresAt = this.#clock.now() + this.#limits.bodyTimeoutMs
    const used = this.#decoder!.push(chunk, start)
    if (this.#decoder?.done === true) this.#bodyEnded(used < chunk.length)
  }

  // PayloadSink.

  payload(chunk: Buffer): void {
    // One read may have several pieces, and a later one go out by another way.
    if (!this.#sink!.data(chunk)) {
      this.#sinkFull = true
      this.#pausedBySink = true
      this.#pause()
    }
  }

  ended(trailers: Headers | undefined): void {
    this.#trailers = trailers
  }

  #bodyEnded(surplus: boolean): void {
    const sink = this.#sink
    this.#sink = undefined
    this.#decoder = undefined
    const trailers = this.#trailers
    this.#trailers = undefined
    // Free the connection first: the next request of this client may want it.
    this.#finish(surplus)
    sink?.end(trailers)
  }

  /** The response is whole. */
  #finish(surplus: boolean): void {
    if (surplus) this.#reusable = false
    this.#responseDone = true
    this.expiresAt = Number.POSITIVE_INFINITY
    const response = this.#response
    if (!this.#requestDone) {
      // Answered early. The rest of the request is of no use to anyone, and its half-sent framing ends this connection.
      const body = this.#requestBody
      this.#reusable = false
      this.#writer = undefined
      this.#requestBody = undefined
      this.#requestDone = true
      body?.discard(new MeshError('UPSTREAM_RESET', 'upstream answered before it had read the request'))
    }
    this.#release()
    response?.finish(undefined)
  }

  #release(): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    if (exchange.waiting === this.#abort) exchange.waiting = undefined
    this.#exchange = undefined
    this.#response = undefined
    this.#pausedBySink = false
    if (this.#sinkFull) this.#bulk?.leave()
    this.#sinkFull = false
    if (!this.#reusable || this.closed) {
      this.socket.destroy()
      return
    }
    this.#resumeSocket()
    const seconds = this.#parsed?.keepAliveTimeout ?? -1
    this.#owner.released(this, seconds < 0 ? -1 : seconds * 1_000)
  }

  // ------------------------------------------------------------------ response body, as ResponseBody drives it

  bodyPipe(sink: BodySink): void {
    this.#sink = sink
    this.#pump()
  }

  bodyPause(): void {
    this.#pausedBySink = true
    this.#pause()
  }

  bodyResume(): void {
    if (!this.#pausedBySink) return
    this.#pausedBySink = false
    this.#sinkFull = false
    this.#pump()
  }

  bodyDiscard(reason: MeshError): void {
    this.#abort(reason)
  }

  #pump(): void {
    const held = this.#held
    if (held.length > 0) {
      this.#held = nothing
      try {
        this.#readBody(held, 0)
      } catch (error) {
        this.#abort(MeshError.from(error, 'UPSTREAM_PROTOCOL'))
        return
      }
    }
    if (!this.#pausedBySink && this.#exchange !== undefined) {
      this.expiresAt = this.#clock.now() + this.#limits.bodyTimeoutMs
      this.#resumeSocket()
      if (this.closed) this.#onClose()
    }
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.expiresAt = Number.POSITIVE_INFINITY
    this.socket.pause()
  }

  #resumeSocket(): void {
    if (!this.#paused) return
    this.#paused = false
    this.socket.resume()
  }

  // ------------------------------------------------------------------ endings

  #switchProtocols(exchange: Exchange, parsed: ParsedResponse, head: Buffer): void {
    const asked = exchange.request.upgrade
    if (asked === undefined || parsed.upgrade?.toLowerCase() !== asked.toLowerCase()) {
      throw new MeshError('UPSTREAM_PROTOCOL', 'upstream switched to a protocol that was not asked for')
    }
    const headers = parsed.headers
    headers.push('connection', 'upgrade', 'upgrade', parsed.upgrade!)
    const response = new Response(101, parsed.reason, headers, noBody)
    this.#tunnel = new TunnelStream(this.socket)
    this.#tunnel.once('close', () => response.finish(undefined))
    response.tunnel = { socket: this.#tunnel, head }
    this.#pause()
    this.#exchange = undefined
    if (exchange.waiting === this.#abort) exchange.waiting = undefined
    this.closed = true
    this.#owner.closed(this)
    this.#settle(response)
  }

  /** Ends the try: the connection is of no further use. */
  readonly #abort = (reason: MeshError): void => {
    const underWay = this.#exchange !== undefined
    this.#failure = reason
    this.#reusable = false
    this.#fail(reason)
    // An end would be that of a caller who still reads: a peer that works on it would not stop.
    if (underWay) reset(this.socket)
    else this.socket.destroy()
  }

  #fail(error: MeshError): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    this.#exchange = undefined
    if (exchange.waiting === this.#abort) exchange.waiting = undefined
    this.expiresAt = Number.POSITIVE_INFINITY
    this.#held = nothing
    this.#writer = undefined
    this.#requestBody = undefined
    this.#requestDone = true
    const reject = this.#reject
    const resolve = this.#resolve
    const lines = this.#lines
    const response = this.#response
    const sink = this.#sink
    this.#resolve = undefined
    this.#reject = undefined
    this.#response = undefined
    this.#sink = undefined
    this.#decoder = undefined
    if (reject !== undefined) {
      const lost = lines !== undefined && !this.#answered && error.code === 'UPSTREAM_RESET'
      const again = lost ? this.#owner.again(exchange, lines) : undefined
      if (again === undefined) reject(error)
      else resolve!(again)
    }
    response?.finish(error)
    sink?.fail(error)
  }

  #onEnd(): void {
    if (this.#tunnel !== undefined) return
    if (this.#exchange === undefined || this.#response === undefined) {
      this.socket.destroy()
      return
    }
    // What is held must reach its sink before the end does.
    if (this.#held.length > 0 || this.#sink === undefined) {
      this.#ended = true
      return
    }
    this.#endOfStream()
  }

  #ended = false

  #endOfStream(): void {
    const decoder = this.#decoder
    this.#reusable = false
    if (decoder?.close() === true) this.#bodyEnded(false)
    else this.#abort(new MeshError('UPSTREAM_RESET', 'upstream closed in the middle of its response'))
  }

  #onClose(): void {
    if (!this.closed) {
      this.closed = true
      this.#owner.closed(this)
    }
    if (this.#exchange === undefined) return
    if (this.#response !== undefined && (this.#held.length > 0 || (this.#ended && this.#sink === undefined))) return
    if (this.#ended && this.#failure === undefined) {
      this.#endOfStream()
      return
    }
    const failure =
      this.#failure ??
      new MeshError(
        'UPSTREAM_RESET',
        this.#answered ? 'upstream closed in the middle of its response' : 'upstream closed without an answer',
      )
    this.#failure = failure
    this.#fail(failure)
  }

  checkTime(now: number): void {
    if (now >= this.#bodyWaitsUntil && this.#bodyWaits) this.#sendBody('')
    if (!this.busy) this.#bulk?.leave()
    if (now < this.expiresAt) return
    if (this.busy)
      this.#abort(
        new MeshError('UPSTREAM_RESET', `upstream sent no byte of its body for ${this.#limits.bodyTimeoutMs} ms`),
      )
    else this.socket.destroy()
  }
}

class RequestSink implements BodySink {
  readonly #connection: ClientConnection
  readonly #serial: number

  constructor(connection: ClientConnection, serial: number) {
    this.#connection = connection
    this.#serial = serial
  }

  data(chunk: Buffer): boolean {
    return this.#connection.requests !== this.#serial || this.#connection.requestData(chunk)
  }

  end(trailers: Headers | undefined): void {
    if (this.#connection.requests === this.#serial) this.#connection.requestEnd(trailers)
  }

  fail(error: MeshError): void {
    if (this.#connection.requests === this.#serial) this.#connection.requestFail(error)
  }
}

class ResponseBody implements Body {
  readonly length: number | undefined
  readonly whole = undefined
  readonly #connection: ClientConnection
  readonly #serial: number

  constructor(connection: ClientConnection, serial: number, length: number | undefined) {
    this.#connection = connection
    this.#serial = serial
    this.length = length
  }

  get #mine(): boolean {
    return this.#connection.requests === this.#serial && this.#connection.busy
  }

  pipe(sink: BodySink): void {
    if (this.#mine) this.#connection.bodyPipe(sink)
    else sink.fail(new MeshError('UPSTREAM_RESET', 'the upstream connection was lost before its body was read'))
  }

  pause(): void {
    if (this.#mine) this.#connection.bodyPause()
  }

  resume(): void {
    if (this.#mine) this.#connection.bodyResume()
  }

  discard(reason: MeshError): void {
    if (this.#mine) this.#connection.bodyDiscard(reason)
  }
}

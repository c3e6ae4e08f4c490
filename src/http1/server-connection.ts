/** One client connection: reads requests one after the other, hands each on, writes the answers in order. */
import type { Socket } from 'node:net'
import { type Body, type BodySink, noBody, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Downstream, Exchange, type Headers, type Response } from '../base/exchange.ts'
import { latin1 } from '../base/latin1.ts'
import { BulkReads } from '../tcp/bulk-reads.ts'
import { writeText } from '../tcp/direct-writes.ts'
import { reset } from '../tcp/reset.ts'
import { StaticReads } from '../tcp/static-reads.ts'
import { BodyDecoder, checkChunks, nullSink, type PayloadSink } from './framing.ts'
import { findHeadEnd, findHeadEndIn, mayBecomeRequest } from './head-end.ts'
import { type ParsedRequest, parseRequestHead, type RequestRules } from './request-head.ts'
import type { Http1Server } from './server.ts'
import { BodyWriter, fieldLines, keepable, readBuffer, readView, stringBytesMax } from './writer.ts'

/**
 * head: a request is awaited or arriving. body: its body is arriving. busy: it is all here, the answer is not out.
 * discard: the answer is out, the rest of the body is dropped. closing: our last byte is written. tunnel: not ours.
 */
type State = 'head' | 'body' | 'busy' | 'discard' | 'closing' | 'tunnel'

const nothing: Buffer = Buffer.alloc(0)
/** First byte of a TLS record that begins a handshake (RFC 8446 section 5.1). */
const handshakeRecord = 0x16
/** How HTTP/2 begins: what looks like a head, and is none (RFC 9113 section 3.4). */
const http2Preface = 'PRI * HTTP/2.0\r\n\r\n'
const CR = 0x0d
const LF = 0x0a

export class ServerConnection implements PayloadSink {
  readonly #server: Http1Server
  readonly #socket: Socket
  readonly #downstream: Downstream
  readonly #rules: RequestRules
  readonly #expectsHttp2: boolean
  readonly #reads: StaticReads | undefined
  readonly #bulk: BulkReads | undefined
  /** The sink of the body has not taken all of what it got: it says when it has by resuming. */
  #sinkFull = false
  #state: State = 'head'
  /** Bytes read and not yet used. */
  #held: Buffer = nothing
  #headScanned = 0
  #emptyLine = false
  #requests = 0
  /** Clock time at which the current state has lasted too long. */
  #expiresAt: number
  /** Clock time at which the reader of our response has taken too long to read on. */
  #stalledAt = Number.POSITIVE_INFINITY
  /** What was not yet written when time was last looked at, while closing. */
  #unwritten = -1
  #ended = false
  /** Clock time at which a client that has ended its side, and was told nothing since, has left. */
  #leftAt = Number.POSITIVE_INFINITY
  #socketPaused = false

  #exchange: Exchange | undefined
  #request: ParsedRequest | undefined
  #decoder: BodyDecoder | undefined
  #bodySink: BodySink | undefined
  #bodyPiped = false
  #bodyPaused = false
  #bodyDone = true
  #bytesIn = 0
  #discarded = 0
  /** A 100 went out for this request: the client sends its body. */
  #continued = false

  #response: Response | undefined
  #writer: BodyWriter | undefined
  #keepAlive = true
  #completed = true
  /** The last write of a whole answer: the socket wants no more for now. */
  #full = false
  /** The next request waits until the client has read what was written. */
  #awaitsReader = false

  constructor(server: Http1Server, socket: Socket, downstream: Downstream, rules: RequestRules, expectsHttp2: boolean) {
    this.#expectsHttp2 = expectsHttp2
    this.#server = server
    this.#socket = socket
    this.#downstream = downstream
    this.#rules = rules
    this.#expiresAt = server.options.clock.now() + server.options.limits.firstByteTimeoutMs
    // Listeners live as long as the connection: none is added or removed per request.
    this.#reads = StaticReads.begin(socket, readBuffer, this.#onRead)
    if (this.#reads !== undefined) this.#bulk = new BulkReads(this.#reads, readBuffer)
    socket.on('data', this.#onData)
    socket.on('end', () => this.#onEnd())
    socket.on('drain', () => this.#onDrain())
    socket.on('error', () => {})
    socket.on('close', () => this.#onClose())
    // Listeners hand sockets over paused.
    socket.resume()
  }

  // ------------------------------------------------------------------ reading

  readonly #onRead = (bytes: number, buffer: Buffer): boolean => {
    this.#onData(buffer === readBuffer ? readView(bytes) : buffer.subarray(0, bytes))
    this.#bulk!.after(bytes, this.#state === 'body', !this.#sinkFull)
    return !this.#socketPaused
  }

  /** `chunk` may be a view of the shared read buffer: what is held of it is copied. */
  readonly #onData = (chunk: Buffer): void => {
    switch (this.#state) {
      case 'head':
        if (this.#held.length > 0) {
          chunk = Buffer.concat([this.#held, chunk])
          this.#held = nothing
        } else if (chunk[0] === handshakeRecord && this.#requests === 0 && this.#leaveTls(chunk)) return
        this.#readHead(chunk)
        return
      case 'body':
      case 'discard':
        if (!this.#bodyPiped) this.#hold(chunk)
        else this.#readBody(chunk, 0)
        return
      case 'busy':
        this.#hold(chunk)
        return
      default:
        return
    }
  }

  /** No request begins like this: whoever has a use for TLS gets the connection, if anybody does. */
  #leaveTls(chunk: Buffer): boolean {
    const take = this.#server.options.passTls?.(this.#downstream)
    if (take === undefined) return false
    this.#leave()
    this.#socket.unshift(keepable(chunk))
    take(this.#socket)
    return true
  }

  /** As a head of HTTP/1.1 it would be refused. */
  #leaveHttp2(chunk: Buffer): boolean {
    const { passHttp2 } = this.#server.options
    if (passHttp2 === undefined) return false
    this.#leave()
    this.#server.forget(this)
    this.#socket.unshift(keepable(chunk))
    passHttp2(this.#socket, this.#downstream, this.#rules)
    return true
  }

  #hold(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? keepable(chunk) : Buffer.concat([this.#held, chunk])
    if (this.#held.length >= this.#server.options.limits.readAheadBytesMax) this.#pauseSocket()
  }

  #readHead(chunk: Buffer): void {
    const { clock, limits } = this.#server.options
    let start = 0
    // One empty line before a request line is let pass (RFC 9112 section 2.2), no more.
    if (!this.#emptyLine && this.#headScanned === 0 && chunk[0] === CR) {
      if (chunk.length < 2) {
        this.#held = keepable(chunk)
        if (this.#ended) this.#socket.end()
        return
      }
      if (chunk[1] === LF) {
        this.#emptyLine = true
        if (chunk.length === 2) {
          if (this.#ended) this.#socket.end()
          return
        }
        start = 2
      }
    }
    // Nearly every head comes whole: one look at it as a text is cheaper than one at its bytes.
    let text: string | undefined
    let found = -2
    if (this.#headScanned === 0 && chunk.length <= stringBytesMax) {
      text = latin1(chunk, start, chunk.length)
      found = findHeadEndIn(text, 0, limits.headBytesMax)
      if (found >= 0) found += start
      else text = undefined
    }
    if (found < 0) found = findHeadEnd(chunk, start, Math.max(start, this.#headScanned - 3), limits.headBytesMax)
    if (found < 0) {
      if (found === -1) {
        this.#refuse(new MeshError('BAD_REQUEST', 'line ended by bare LF or CR (RFC 9112 section 2.2)'))
      } else if (chunk.length - start > limits.headBytesMax) {
        this.#refuse(new MeshError('HEAD_TOO_LARGE', `request head longer than ${limits.headBytesMax} bytes`))
      } else if (!mayBecomeRequest(chunk, start)) {
        this.#refuse(new MeshError('BAD_REQUEST', 'malformed request line: no version (RFC 9112 section 3)'))
      } else {
        this.#armHead()
        this.#headScanned = chunk.length
        this.#held = keepable(chunk)
        if (this.#ended) this.#socket.end()
      }
      return
    }
    this.#headScanned = 0
    this.#emptyLine = false
    let request: ParsedRequest
    try {
      text ??= latin1(chunk, start, found + 4)
      if (this.#requests === 0 && start === 0 && text.startsWith(http2Preface) && this.#leaveHttp2(chunk)) return
      request = parseRequestHead(text, found - start, this.#rules)
      // What is here of a chunked body is read ahead: if it is malformed, no byte of the request goes upstream.
      if (request.bodyLength === -1) checkChunks(chunk, found + 4, this.#rules, limits)
      // Who sends a body with the head does not wait for a 100.
      if (request.head.expectContinue && chunk.length > found + 4)
        request = { ...request, head: { ...request.head, expectContinue: false } }
    } catch (error) {
      // Where HTTP/2 is meant, its engine says what is wrong with it.
      if (this.#expectsHttp2 && this.#requests === 0 && this.#leaveHttp2(chunk)) return
      this.#refuse(MeshError.from(error, 'BAD_REQUEST'))
      return
    }
    this.#begin(request, chunk, found + 4, clock.now())
  }

  #armHead(): void {
    const { clock, limits } = this.#server.options
    if (this.#headScanned === 0) this.#expiresAt = clock.now() + limits.headTimeoutMs
  }

  #begin(request: ParsedRequest, chunk: Buffer, bodyStart: number, now: number): void {
    const { limits, serve } = this.#server.options
    this.#requests++
    this.#request = request
    this.#keepAlive = request.keepAlive
    this.#continued = false
    this.#completed = false
    this.#bytesIn = 0
    this.#response = undefined
    this.#writer = undefined
    let body: Body = noBody
    const length = request.bodyLength
    const here = chunk.length - bodyStart
    if (length === 0) {
      this.#bodyDone = true
      this.#state = 'busy'
      this.#expiresAt = Number.POSITIVE_INFINITY
      if (here > 0) this.#hold(chunk.subarray(bodyStart))
    } else if (length > 0 && here >= length && length <= limits.wholeBodyBytesMax) {
      body = new WholeBody(latin1(chunk, bodyStart, bodyStart + length))
      this.#bytesIn = length
      this.#bodyDone = true
      this.#state = 'busy'
      this.#expiresAt = Number.POSITIVE_INFINITY
      if (here > length) this.#hold(chunk.subarray(bodyStart + length))
    } else {
      body = new RequestBody(this, this.#requests, length === -1 ? undefined : length)
      this.#bodyDone = false
      this.#bodyPiped = false
      this.#bodyPaused = false
      this.#bodySink = undefined
      this.#decoder = new BodyDecoder(length, this, this.#rules, limits)
      this.#state = 'body'
      this.#expiresAt = Number.POSITIVE_INFINITY
      if (here > 0) this.#hold(chunk.subarray(bodyStart))
    }
    const exchange = new Exchange({ request: request.head, body, downstream: this.#downstream, startedAt: now })
    exchange.informational = this.#informational
    this.#exchange = exchange
    serve(exchange).then(
      (response) => this.#respond(exchange, response),
      (error: unknown) => this.#failed(exchange, error),
    )
  }

  #readBody(chunk: Buffer, start: number): void {
    const decoder = this.#decoder!
    this.#expiresAt = this.#server.options.clock.now() + this.#server.options.limits.bodyTimeoutMs
    let used: number
    try {
      used = decoder.push(chunk, start)
    } catch (error) {
      this.#bodyBroken(MeshError.from(error, 'BAD_REQUEST'))
      return
    }
    if (this.#state === 'closing') return
    if (used < chunk.length && !this.#socket.destroyed) this.#hold(used === 0 ? chunk : chunk.subarray(used))
  }

  // PayloadSink: what the decoder found.

  payload(chunk: Buffer): void {
    if (this.#state === 'body') {
      this.#bytesIn += chunk.length
      // One read may have several pieces, and a later one go out by another way.
      if (!this.#bodySink!.data(chunk)) {
        this.#sinkFull = true
        this.pause()
      }
      return
    }
    this.#discarded += chunk.length
    // Not cut off: a client that reads only when it has sent all would never see the answer.
    if (this.#state === 'discard' && this.#discarded > this.#server.options.limits.discardBytesMax) this.#close()
  }

  ended(trailers: Headers | undefined): void {
    if (this.#sinkFull) this.#bulk?.leave()
    this.#sinkFull = false
    this.#bodyDone = true
    this.#expiresAt = Number.POSITIVE_INFINITY
    const sink = this.#bodySink
    this.#bodySink = undefined
    if (this.#state === 'closing') return
    if (this.#state === 'discard') {
      // The rest of the body is gone; a next request may follow on what is held after this call stack.
      queueMicrotask(() => this.#next())
      return
    }
    this.#state = 'busy'
    sink?.end(trailers)
  }

  #bodyBroken(error: MeshError): void {
    const sink = this.#bodySink
    this.#bodySink = undefined
    this.#bodyDone = true
    this.#keepAlive = false
    this.#decoder = undefined
    if (this.#state === 'closing') return
    if (this.#state === 'discard') {
      this.#close()
      return
    }
    this.#state = 'busy'
    // The try that sends this body ends; its error becomes the answer, if none has begun.
    sink?.fail(error)
    this.#exchange?.cancel(error)
  }

  // The request body as `RequestBody` drives it.

  /** Counts requests; a handle of an earlier request has no say over a later one. */
  get serial(): number {
    return this.#requests
  }

  pipe(sink: BodySink): void {
    if (this.#bodyPiped) {
      sink.fail(new MeshError('UNEXPECTED', 'a streamed request body can be sent once only'))
      return
    }
    this.#bodyPiped = true
    this.#bodySink = sink
    this.#pump()
  }

  pause(): void {
    this.#bodyPaused = true
    // Nobody reads from a paused socket, so nobody sees its client leave: an upload that moves no more must end by itself.
    const { clock, limits } = this.#server.options
    this.#expiresAt = clock.now() + limits.writeTimeoutMs
    this.#pauseSocket()
  }

  resume(): void {
    if (!this.#bodyPaused) return
    this.#bodyPaused = false
    this.#sinkFull = false
    this.#pump()
  }

  discard(_reason: MeshError): void {
    if (this.#bodyDone || this.#state !== 'body') return
    this.#bodySink = nullSink
    this.#bodyPaused = false
    this.#bodyPiped = true
    // Until the answer is out what comes is not counted: it may be out in a moment.
    if (this.#completed) {
      this.#discarded = 0
      this.#state = 'discard'
    }
    this.#pump()
  }

  /** Feeds what is held, then lets the socket flow. */
  #pump(): void {
    if (this.#bodyDone || !this.#bodyPiped) return
    const held = this.#held
    if (held.length > 0) {
      this.#held = nothing
      this.#readBody(held, 0)
      if (this.#bodyDone || this.#bodyPaused || this.#state === 'closing') return
    }
    this.#expiresAt = this.#server.options.clock.now() + this.#server.options.limits.bodyTimeoutMs
    this.#resumeSocket()
    if (this.#ended) this.#bodyBroken(new MeshError('DOWNSTREAM_RESET', 'client closed in the middle of its body'))
  }

  // ------------------------------------------------------------------ writing

  readonly #informational = (status: number, headers: Headers): void => {
    if (this.#response !== undefined || this.#request!.head.version === '1.0' || this.#socket.destroyed) return
    if (status === 100) this.#continued = true
    this.#socket.write(
      `HTTP/1.1 ${status} ${informationalReasons[status] ?? ''}\r\n${fieldLines(headers)}\r\n`,
      'latin1',
    )
  }

  #respond(exchange: Exchange, response: Response): void {
    if (exchange !== this.#exchange || this.#socket.destroyed) {
      response.body.discard(new MeshError('DOWNSTREAM_RESET', 'client is gone'))
      response.tunnel?.socket.destroy()
      return
    }
    this.#response = response
    exchange.response = response
    if (response.tunnel !== undefined) {
      this.#tunnel(exchange, response)
      return
    }
    const { version, method } = this.#request!.head
    const { status, body } = response
    const bodyless = method === 'HEAD' || status === 204 || status === 304
    const chunked = !bodyless && body.length === undefined && version === '1.1'
    if (!bodyless && body.length === undefined && !chunked) this.#keepAlive = false
    // What the client has pipelined already is still answered.
    const leaving = this.#server.retiring || this.#server.draining || this.#server.crowded || this.#ended
    if (leaving && (this.#held.length === 0 || !this.#bodyDone)) this.#keepAlive = false
    // A client that waits for 100 may or may not send its body after a final answer: nobody can tell where the next
    // request would begin (RFC 9110 section 10.1.1).
    if (!this.#bodyDone && !this.#continued && this.#request!.head.expectContinue) this.#keepAlive = false
    // What follows an Upgrade or CONNECT may be of the other protocol: refused, it must not be read as a request.
    if (this.#request!.head.upgrade !== undefined || method === 'CONNECT') this.#keepAlive = false
    let head = `HTTP/1.1 ${status} ${response.reason}\r\n${fieldLines(response.headers)}`
    if (chunked) head += 'transfer-encoding: chunked\r\n'
    else if (!bodyless && body.length !== undefined) head += `content-length: ${body.length}\r\n`
    else if (method === 'HEAD' && body.whole !== undefined && body.whole !== '')
      head += `content-length: ${body.length}\r\n`
    if (!this.#keepAlive) head += 'connection: close\r\n'
    else if (version === '1.0') head += 'connection: keep-alive\r\n'
    head += '\r\n'
    if (bodyless || body.length === 0) {
      this.#full = !writeText(this.#socket, head)
      if (body.whole === undefined) body.discard(new MeshError('UNEXPECTED', 'response has no body'))
      this.#finishResponse(0, undefined)
      return
    }
    if (body.whole !== undefined) {
      this.#full = !writeText(this.#socket, head + body.whole)
      this.#finishResponse(body.whole.length, undefined)
      return
    }
    this.#writer = new BodyWriter(this.#socket, head, body.length, chunked)
    body.pipe(new ResponseSink(this, this.#requests))
    this.#writer?.flush()
  }

  // The response body as `ResponseSink` brings it.

  data(chunk: Buffer): boolean {
    const writer = this.#writer
    if (writer === undefined) return true
    const more = writer.data(chunk)
    if (!more) this.#stalledAt = this.#server.options.clock.now() + this.#server.options.limits.writeTimeoutMs
    return more
  }

  end(trailers: Headers | undefined): void {
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    writer.end(trailers)
    if (writer.short || writer.overrun) {
      this.#abortResponse(
        writer.bytes,
        new MeshError('UPSTREAM_PROTOCOL', 'response body does not match its Content-Length'),
      )
      return
    }
    this.#finishResponse(writer.bytes, undefined)
  }

  fail(error: MeshError): void {
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    this.#abortResponse(writer.bytes, error)
  }

  /**
   * A response that cannot become whole must not look whole: the connection is cut (RFC 9112 section 8). Where the
   * framing shows what is missing, the client may still read what there is; where the end of the connection is the
   * end of the body, only a reset tells.
   */
  #abortResponse(bytesOut: number, error: MeshError): void {
    this.#complete(bytesOut, error)
    if (this.#request!.head.version === '1.0' && this.#response?.body.length === undefined) reset(this.#socket)
    else this.#socket.destroy()
  }

  #finishResponse(bytesOut: number, error: MeshError | undefined): void {
    this.#complete(bytesOut, error)
    if (this.#socket.destroyed) return
    if (!this.#keepAlive) {
      this.#close()
      return
    }
    if (!this.#bodyDone) {
      this.discard(new MeshError('UNEXPECTED', 'answered before the body was read'))
      return
    }
    this.#next()
  }

  #complete(bytesOut: number, error: MeshError | undefined): void {
    if (this.#completed) return
    this.#completed = true
    const exchange = this.#exchange!
    exchange.onComplete?.({ bytesIn: this.#bytesIn, bytesOut, status: this.#response?.status ?? 0, error })
  }

  /** The exchange is over: on to what is held, or to waiting. */
  #next(): void {
    if (this.#socket.destroyed || this.#state === 'closing') return
    // Who asks on and reads no answer is answered no more: what they cost is memory of ours, without end.
    if (this.#full || this.#socket.writableNeedDrain) {
      this.#awaitsReader = true
      this.#stalledAt = this.#server.options.clock.now() + this.#server.options.limits.writeTimeoutMs
      this.#state = 'busy'
      this.#expiresAt = Number.POSITIVE_INFINITY
      this.#pauseSocket()
      return
    }
    this.#exchange = undefined
    this.#decoder = undefined
    this.#bodySink = undefined
    this.#state = 'head'
    this.#headScanned = 0
    this.#stalledAt = Number.POSITIVE_INFINITY
    const { clock, limits } = this.#server.options
    this.#expiresAt = clock.now() + limits.idleTimeoutMs
    if (this.#held.length > 0) {
      // Not by recursion: a client may pipeline thousands of requests.
      queueMicrotask(this.#readHeld)
      return
    }
    if (this.#ended || this.#server.draining) this.#close()
    else this.#resumeSocket()
  }

  /** What is held stays where it is until it is read, so that nothing that comes in between can overtake it. */
  readonly #readHeld = (): void => {
    if (this.#state !== 'head' || this.#socket.destroyed) return
    const held = this.#held
    this.#held = nothing
    if (held.length > 0) this.#readHead(held)
    // A paused socket may have buffers of its own: it flows again when little is held.
    if (this.#held.length < this.#server.options.limits.readAheadBytesMax && this.#bodyDone) this.#resumeSocket()
  }

  #failed(exchange: Exchange, error: unknown): void {
    if (exchange !== this.#exchange) return
    const failure = MeshError.from(error)
    if (failure.reset || this.#socket.destroyed) {
      this.#abortByReset(failure)
      return
    }
    this.#keepAlive = false
    this.#socket.write('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n', 'latin1')
    this.#finishResponse(0, failure)
  }

  #abortByReset(error: MeshError): void {
    this.#complete(0, error)
    this.#state = 'closing'
    reset(this.#socket)
  }

  #refuse(error: MeshError): void {
    const { refuse, clock } = this.#server.options
    this.#held = nothing
    const response = refuse(error, this.#downstream, clock.now())
    const body = response.body.whole ?? ''
    this.#socket.write(
      `HTTP/1.1 ${response.status} ${response.reason}\r\n${fieldLines(response.headers)}content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      'latin1',
    )
    this.#close()
  }

  /** Ends our side, reads on for a moment so that a reset does not overtake the answer (RFC 9112 section 9.6). */
  #close(): void {
    this.#state = 'closing'
    this.#held = nothing
    const { clock, limits } = this.#server.options
    this.#expiresAt = clock.now() + limits.lingerMs
    this.#stalledAt = Number.POSITIVE_INFINITY
    this.#socket.end()
    this.#resumeSocket()
  }

  /** The moment begins when the last byte has left: until then the reader has the time that any reader has. */
  #checkClosing(now: number): void {
    const { limits } = this.#server.options
    if (this.#socket.writableFinished) {
      if (this.#unwritten !== -1) {
        this.#unwritten = -1
        this.#expiresAt = now + limits.lingerMs
      } else if (now >= this.#expiresAt) this.#socket.destroy()
      return
    }
    const unwritten = this.#socket.writableLength
    if (unwritten !== this.#unwritten) {
      this.#unwritten = unwritten
      this.#expiresAt = now + limits.writeTimeoutMs
    } else if (now >= this.#expiresAt) this.#socket.destroy()
  }

  #tunnel(exchange: Exchange, response: Response): void {
    const held = this.#held
    const socket = this.#socket
    const head =
      response.status === 101
        ? `HTTP/1.1 101 Switching Protocols\r\n${fieldLines(response.headers)}\r\n`
        : `HTTP/1.1 200 Connection established\r\n\r\n`
    socket.write(head, 'latin1')
    this.#leave()
    this.#server.options.splice(exchange, socket, held, response).then(
      () => this.#complete(0, undefined),
      (error: unknown) => this.#complete(0, MeshError.from(error, 'UPSTREAM_RESET')),
    )
  }

  /** The connection becomes an ordinary socket, paused, for a new owner. */
  #leave(): void {
    const socket = this.#socket
    this.#held = nothing
    this.#state = 'tunnel'
    this.#expiresAt = Number.POSITIVE_INFINITY
    this.#stalledAt = Number.POSITIVE_INFINITY
    socket.pause()
    this.#reads?.release()
    socket.removeAllListeners('data')
    socket.removeAllListeners('end')
    socket.removeAllListeners('drain')
  }

  // ------------------------------------------------------------------ the socket's own events

  #onDrain(): void {
    this.#full = false
    if (this.#awaitsReader) {
      this.#awaitsReader = false
      this.#next()
      return
    }
    if (this.#writer === undefined) return
    this.#stalledAt = Number.POSITIVE_INFINITY
    this.#response?.body.resume()
  }

  #onEnd(): void {
    this.#ended = true
    const { clock, limits } = this.#server.options
    this.#leftAt = clock.now() + limits.halfClosedTimeoutMs
    switch (this.#state) {
      case 'head':
        // A half-closed client may still wait for answers; one that asks nothing is done.
        // Nothing more comes of a part of a head, nor of the first byte of an empty line.
        if (this.#held.length === 0 || this.#headScanned > 0 || isLoneCr(this.#held)) this.#socket.end()
        return
      case 'body':
      case 'discard':
        if (this.#bodyPiped && !this.#bodyPaused) {
          this.#bodyBroken(new MeshError('DOWNSTREAM_RESET', 'client closed in the middle of its body'))
        }
        return
      default:
        return
    }
  }

  #onClose(): void {
    if (this.#state === 'tunnel') return
    const error = new MeshError('DOWNSTREAM_RESET', 'client closed the connection')
    const exchange = this.#exchange
    const sink = this.#bodySink
    this.#bodySink = undefined
    if (!this.#bodyDone) {
      this.#bodyDone = true
      sink?.fail(error)
    }
    if (exchange !== undefined && !this.#completed) {
      const bytesOut = this.#writer?.bytes ?? 0
      this.#writer = undefined
      exchange.cancel(error)
      this.#response?.body.discard(error)
      this.#complete(bytesOut, error)
    }
    this.#state = 'closing'
    this.#held = nothing
  }

  #pauseSocket(): void {
    if (this.#socketPaused) return
    this.#socketPaused = true
    this.#socket.pause()
  }

  #resumeSocket(): void {
    if (!this.#socketPaused) return
    this.#socketPaused = false
    this.#socket.resume()
  }

  /** Called by the server's sweep. */
  checkTime(now: number): void {
    if (this.#state === 'closing') {
      this.#checkClosing(now)
      return
    }
    const { limits } = this.#server.options
    if (this.#state === 'head' && this.#held.length === 0) this.#bulk?.leave()
    if (now >= this.#stalledAt) {
      const error = new MeshError('DOWNSTREAM_RESET', `client read nothing for ${limits.writeTimeoutMs} ms`)
      this.#exchange?.cancel(error)
      this.#socket.destroy()
      return
    }
    if (now >= this.#leftAt && this.#state === 'busy' && this.#response === undefined) {
      this.#exchange?.cancel(
        new MeshError('DOWNSTREAM_RESET', 'client has ended its side, and no answer has come since'),
      )
      this.#socket.destroy()
      return
    }
    if (now < this.#expiresAt) return
    switch (this.#state) {
      case 'head':
        if (this.#held.length > 0)
          this.#refuse(new MeshError('REQUEST_TIMEOUT', `request head took longer than ${limits.headTimeoutMs} ms`))
        else this.#socket.destroy()
        return
      case 'body':
        this.#bodyBroken(
          this.#bodyPaused
            ? new MeshError('UPSTREAM_RESET', `nothing of the request body was taken for ${limits.writeTimeoutMs} ms`)
            : new MeshError('REQUEST_TIMEOUT', `no byte of the request body for ${limits.bodyTimeoutMs} ms`),
        )
        return
      case 'busy':
        return
      default:
        this.#socket.destroy()
    }
  }

  /** Ends the connection if nothing is under way. */
  drain(): void {
    if (this.#state === 'head' && this.#held.length === 0) this.#close()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

function isLoneCr(held: Buffer): boolean {
  return held.length === 1 && held[0] === CR
}

/** The streamed request body of one exchange. */
class RequestBody implements Body {
  readonly length: number | undefined
  readonly whole = undefined
  readonly #connection: ServerConnection
  readonly #serial: number

  constructor(connection: ServerConnection, serial: number, length: number | undefined) {
    this.#connection = connection
    this.#serial = serial
    this.length = length
  }

  pipe(sink: BodySink): void {
    if (this.#connection.serial === this.#serial) this.#connection.pipe(sink)
    else sink.fail(new MeshError('DOWNSTREAM_RESET', 'the request is over'))
  }

  pause(): void {
    if (this.#connection.serial === this.#serial) this.#connection.pause()
  }

  resume(): void {
    if (this.#connection.serial === this.#serial) this.#connection.resume()
  }

  discard(reason: MeshError): void {
    if (this.#connection.serial === this.#serial) this.#connection.discard(reason)
  }
}

/** Where the streamed response body of one exchange goes. */
class ResponseSink implements BodySink {
  readonly #connection: ServerConnection
  readonly #serial: number

  constructor(connection: ServerConnection, serial: number) {
    this.#connection = connection
    this.#serial = serial
  }

  data(chunk: Buffer): boolean {
    return this.#connection.serial !== this.#serial || this.#connection.data(chunk)
  }

  end(trailers: Headers | undefined): void {
    if (this.#connection.serial === this.#serial) this.#connection.end(trailers)
  }

  fail(error: MeshError): void {
    if (this.#connection.serial === this.#serial) this.#connection.fail(error)
  }
}

const informationalReasons: Record<number, string> = { 100: 'Continue', 102: 'Processing', 103: 'Early Hints' }

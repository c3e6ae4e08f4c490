/** One request to an upstream, and its answer. */
import { noBody, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { type Exchange, type Headers, Response } from '../base/exchange.ts'
import { grpcOfReset } from '../base/grpc.ts'
import { bodyExpected } from '../base/methods.ts'
import { reasonPhrase } from '../base/reason-phrase.ts'
import { isReserved } from '../http1/fields.ts'
import type { ClientSession } from './client-session.ts'
import { errorCode, errorName } from './frames.ts'
import { isConnectionField, MalformedMessage, parseContentLength } from './request-head.ts'
import { Stream } from './stream.ts'
import { parseTrailerFields } from './trailers.ts'
import { StreamTunnel } from './tunnel.ts'

export class ClientStream extends Stream {
  declare readonly session: ClientSession
  override headless = true
  readonly #exchange: Exchange
  readonly #lines: string
  readonly #repeatable: boolean
  #resolve: ((response: Response | Promise<Response>) => void) | undefined
  #reject: ((error: MeshError) => void) | undefined
  /** Bytes of informational responses. */
  #informationalBytes = 0
  #status = 0
  #headers: Headers = []
  #neverIndexed: ReadonlySet<string> | undefined = undefined
  #response: Response | undefined
  #tunnel: StreamTunnel | undefined

  constructor(session: ClientSession, id: number, exchange: Exchange, lines: string, repeatable: boolean) {
    super(session, id, session.now)
    this.#exchange = exchange
    this.#lines = lines
    this.#repeatable = repeatable
  }

  /** Sends the request. The promise resolves with the head of the answer. */
  begin(): Promise<Response> {
    const { request, body } = this.#exchange
    this.#exchange.waiting = this.#abort
    const promise = new Promise<Response>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    const { session } = this
    const connect = request.method === 'CONNECT'
    const extended = request.upgrade !== undefined
    let block = session.beginBlock(request, extended || connect, extended ? request.upgrade : undefined)
    const { headers, neverIndexed } = request
    for (let at = 0; at < headers.length; at += 2) block += session.field(headers[at]!, headers[at + 1]!, neverIndexed)
    if (this.#lines !== '') block += this.#blockOfLines()
    if (request.expectContinue) block += session.field('expect', '100-continue')
    const whole = body.whole
    const none = whole === '' && body.trailers === undefined
    if (body.length !== undefined && body.announced !== false && (!none || bodyExpected(request.method)))
      block += session.field('content-length', String(body.length))
    // Whoever asked, trailers are always passed on.
    block += session.field('te', 'trailers')
    if (extended || connect) {
      this.sendHead(block, false)
      return promise
    }
    if (none) {
      this.sendHead(block, true)
      return promise
    }
    this.sendHead(block, false)
    if (whole === undefined) {
      this.source = body
      body.pipe(this)
    } else this.sendWhole(whole, body.trailers)
    return promise
  }

  #blockOfLines(): string {
    const { session } = this
    let block = ''
    const lines = this.#lines
    for (let at = 0; at < lines.length; ) {
      const end = lines.indexOf('\r\n', at)
      const colon = lines.indexOf(': ', at)
      block += session.field(lines.slice(at, colon), lines.slice(colon + 2, end))
      at = end + 2
    }
    return block
  }

  // ------------------------------------------------------------------ the answer

  /** A head, an informational one, or trailers. */
  onFields(fields: Headers, endStream: boolean): void {
    try {
      if (this.#status !== 0) {
        if (!endStream) throw new MalformedMessage('trailers that do not end their stream (RFC 9113 section 8.1)')
        this.finish(parseTrailerFields(fields))
        return
      }
      this.#takeHead(fields, endStream)
    } catch (error) {
      this.malformed(error instanceof Error ? error.message : String(error))
    }
  }

  #takeHead(fields: Headers, endStream: boolean): void {
    if (fields[0] !== ':status') throw new MalformedMessage('no :status')
    const text = fields[1]!
    if (!/^[1-9]\d\d$/.test(text)) throw new MalformedMessage('malformed :status')
    const status = Number(text)
    const headers: Headers = []
    let announced = -1
    const { rules } = this.session
    for (let at = 2; at < fields.length; at += 2) {
      const name = fields[at]!
      const value = fields[at + 1]!
      if (name.charCodeAt(0) === 0x3a) throw new MalformedMessage('more pseudo-header fields than :status')
      if (isConnectionField(name)) throw new MalformedMessage('a field of connections (RFC 9113 section 8.2.2)')
      if (name === 'content-length') {
        if (announced !== -1) throw new MalformedMessage('Content-Length twice')
        announced = parseContentLength(value)
      } else if (!(name.length > 12 && isReserved(name, rules))) headers.push(name, value)
    }
    if (status < 200) {
      if (endStream || status === 101) throw new MalformedMessage(`status ${status} ends the stream, or has no meaning`)
      for (const part of fields) this.#informationalBytes += part.length
      // They are relayed at once, whether the client reads or not: so many may come as fit in one head.
      if (this.#informationalBytes > this.session.limits.headerListBytesMax)
        throw new MalformedMessage('informational responses without end')
      this.#exchange.informational?.(status, headers)
      return
    }
    const { method } = this.#exchange.request
    if (method === 'HEAD' || status === 304) {
      // The length tells what a GET would have had.
      if (announced !== -1) headers.push('content-length', String(announced))
      announced = 0
    } else if (status === 204 && announced > 0) throw new MalformedMessage('status 204 with a body')
    this.headless = false
    this.#status = status
    this.#headers = headers
    this.#neverIndexed = this.session.neverIndexed
    this.announcedBytes = announced
    if (announced >= 0) this.length = announced
    if (endStream && this.announcedBytes < 0) this.announcedBytes = 0
    this.session.handOnLater(this)
    if (endStream) this.finish(undefined)
  }

  /** All that is here has been read: the answer is handed on. */
  settle(): void {
    const resolve = this.#resolve
    if (resolve === undefined) return
    this.#resolve = undefined
    this.#reject = undefined
    const { request } = this.#exchange
    const status = this.#status
    const reason = request.version === '2' ? '' : reasonPhrase(status)
    if (this.#isTunnel && status < 300) {
      resolve(this.#switchProtocols(reason))
      return
    }
    const whole = this.handOn()
    if (whole === undefined) {
      this.#response = new Response(status, reason, this.#headers, this)
      this.#response.neverIndexed = this.#neverIndexed
      // Too long to be handed on as text, and yet its end came in the same breath.
      if (this.ended) this.onReceived()
      resolve(this.#response)
      return
    }
    const { trailers } = this
    const body =
      whole === '' && trailers === undefined && this.length === undefined
        ? noBody
        : new WholeBody(whole, trailers, this.length !== undefined)
    const response = new Response(status, reason, this.#headers, body)
    response.trailers = trailers
    response.neverIndexed = this.#neverIndexed
    this.#response = response
    this.#unwait()
    response.finish(undefined)
    resolve(response)
  }

  get #isTunnel(): boolean {
    const { request } = this.#exchange
    return request.upgrade !== undefined || request.method === 'CONNECT'
  }

  #switchProtocols(reason: string): Response {
    const { request } = this.#exchange
    this.unfold()
    const connect = request.method === 'CONNECT'
    const response = new Response(connect ? 200 : 101, reason, this.#headers, noBody)
    this.#unwait()
    this.#tunnel = new StreamTunnel(this)
    this.#tunnel.once('close', () => response.finish(undefined))
    response.tunnel = { socket: this.#tunnel, head: Buffer.alloc(0) }
    this.#response = response
    return response
  }

  protected override onReceived(): void {
    const response = this.#response
    if (response === undefined || this.#tunnel !== undefined) return
    this.#unwait()
    response.trailers = this.trailers
    response.finish(undefined)
  }

  #unwait(): void {
    if (this.#exchange.waiting === this.#abort) this.#exchange.waiting = undefined
  }

  protected override closeIfDone(): void {
    if (this.ended && this.sending && !(this.#isTunnel && this.#status < 300)) {
      // Answered early: the rest of the request is of no use to anyone.
      const { source } = this
      this.reset(errorCode.CANCEL, undefined)
      source?.discard(new MeshError('UPSTREAM_RESET', 'upstream answered before it had read the request'))
      return
    }
    super.closeIfDone()
  }

  // ------------------------------------------------------------------ endings

  /** The request body does not become whole. */
  fail(error: MeshError): void {
    this.reset(errorCode.CANCEL, error)
  }

  readonly #abort = (reason: MeshError): void => {
    this.reset(errorCode.CANCEL, reason)
  }

  onPeerReset(code: number): void {
    const answered = this.#status !== 0
    const unsent = code === errorCode.REFUSED_STREAM && !answered
    // In the middle of its answer a server that resets a call has said how the call ends.
    const grpc = answered ? grpcOfReset(code) : undefined
    this.close(new MeshError('UPSTREAM_RESET', `upstream reset the stream (${errorName(code)})`, { unsent, grpc }))
  }

  malformed(message: string): void {
    const error = this.session.protocolError(message)
    this.reset(errorCode.PROTOCOL_ERROR, error)
  }

  protected onDiscarded(reason: MeshError): void {
    if (!this.ended) this.reset(errorCode.CANCEL, reason)
  }

  protected onClosed(failure: MeshError | undefined): void {
    this.#unwait()
    if (failure === undefined) return
    const reject = this.#reject
    const resolve = this.#resolve
    this.#resolve = undefined
    this.#reject = undefined
    if (reject !== undefined) {
      const lost = this.#repeatable && this.#status === 0 && failure.code === 'UPSTREAM_RESET'
      const again = lost ? this.session.owner.again(this.#exchange, this.#lines, failure.unsent) : undefined
      if (again === undefined) reject(failure)
      else resolve!(again)
      return
    }
    if (this.#response !== undefined && !this.#response.finished && !this.ended) this.#response.finish(failure)
    this.#tunnel?.lost(failure)
  }
}

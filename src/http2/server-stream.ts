/** One request of a client, and its answer. */
import { noBody, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { Exchange, type Headers, type Response } from '../base/exchange.ts'
import { grpcFieldsOf } from '../base/grpc.ts'
import { errorCode } from './frames.ts'
import type { ParsedRequest } from './request-head.ts'
import type { ServerSession } from './server-session.ts'
import { Stream } from './stream.ts'
import { StreamTunnel } from './tunnel.ts'

const cancelled = new MeshError('DOWNSTREAM_RESET', 'client cancelled the request')

export class ServerStream extends Stream {
  declare readonly session: ServerSession
  readonly #request: ParsedRequest | undefined
  #exchange: Exchange | undefined
  #response: Response | undefined
  #completed = false
  #tunnel: StreamTunnel | undefined

  constructor(session: ServerSession, id: number, now: number, request: ParsedRequest | undefined) {
    super(session, id, now)
    this.#request = request
    if (request === undefined) {
      // Refused: nobody will read it.
      this.discard(cancelled)
      return
    }
    this.announcedBytes = request.contentLength
    if (request.contentLength >= 0) this.length = request.contentLength
  }

  /** The request is handed on. */
  serve(): void {
    if (this.session.streams.get(this.id) !== this) return
    let { head } = this.#request!
    const { session } = this
    const tunnel = head.upgrade !== undefined || head.method === 'CONNECT'
    const whole = tunnel ? undefined : this.handOn()
    let body = noBody
    if (whole === undefined) body = tunnel ? noBody : this
    else if (whole !== '' || this.trailers !== undefined)
      body = new WholeBody(whole, this.trailers, this.announcedBytes >= 0)
    // Who sends a body with the head does not wait for a 100.
    if (head.expectContinue && (whole !== undefined || this.received > 0)) head = { ...head, expectContinue: false }
    const exchange = new Exchange({
      request: head,
      body,
      downstream: session.downstream,
      startedAt: this.activeAt,
    })
    exchange.informational = this.#informational
    this.#exchange = exchange
    session.server.options.serve(exchange).then(
      (response) => this.#respond(exchange, response),
      (error: unknown) => this.#failed(error),
    )
  }

  // ------------------------------------------------------------------ the answer

  readonly #informational = (status: number, headers: Headers): void => {
    if (this.#response !== undefined || !this.sending) return
    const { session } = this
    session.sendFields(this.id, statusFields(status, headers), false)
  }

  #respond(exchange: Exchange, response: Response): void {
    this.#response = response
    exchange.response = response
    if (!this.sending) {
      response.body.discard(new MeshError('DOWNSTREAM_RESET', 'client is gone'))
      response.tunnel?.socket.destroy()
      return
    }
    if (response.tunnel !== undefined) {
      this.#openTunnel(exchange, response)
      return
    }
    this.answer(response)
  }

  /** Sends an answer; its body follows as it comes. */
  answer(response: Response): void {
    const { session } = this
    const { status, body } = response
    this.#response = response
    const method = this.#request?.head.method
    const bodyless = method === 'HEAD' || status === 204 || status === 304
    const fields = statusFields(status, response.headers)
    if (body.length !== undefined && body.announced !== false && (!bodyless || (method === 'HEAD' && body.length > 0)))
      fields.push('content-length', String(body.length))
    if (session.server.retiring || session.server.crowded) session.retire()
    const whole = body.whole
    if (bodyless || (whole === '' && body.trailers === undefined)) {
      session.sendFields(this.id, fields, true, response.neverIndexed)
      if (whole === undefined) body.discard(new MeshError('UNEXPECTED', 'response has no body'))
      this.sentAll()
      return
    }
    session.sendFields(this.id, fields, false, response.neverIndexed)
    if (whole !== undefined) {
      this.sendWhole(whole, body.trailers)
      return
    }
    this.source = body
    body.pipe(this)
  }

  #openTunnel(exchange: Exchange, response: Response): void {
    const { session } = this
    // An answer of HTTP/1.1 to Upgrade names what it switches to; here that went without saying (RFC 8441 section 5).
    session.sendFields(this.id, statusFields(200, response.status === 101 ? tunnelFields(response.headers) : []), false)
    this.unfold()
    const tunnel = new StreamTunnel(this)
    this.#tunnel = tunnel
    session.server.options.splice(exchange, tunnel, response).then(
      () => this.#complete(undefined),
      (error: unknown) => this.#complete(MeshError.from(error, 'UPSTREAM_RESET')),
    )
  }

  /** The body of the answer does not become whole, and must not look whole. */
  fail(error: MeshError): void {
    if (!this.sending) return
    if (this.#exchange?.isGrpc === true) {
      // A call ends with a status, whatever ended it. What has been queued still goes first.
      this.#complete(error)
      this.end(grpcFieldsOf(error))
      return
    }
    this.reset(error.code === 'DEADLINE' ? errorCode.CANCEL : errorCode.INTERNAL_ERROR, error)
  }

  #failed(error: unknown): void {
    if (!this.sending) return
    const failure = MeshError.from(error)
    if (failure.reset) {
      this.reset(errorCode.INTERNAL_ERROR, failure)
      return
    }
    this.session.sendFields(this.id, [':status', '500', 'content-length', '0'], true)
    this.sentAll()
  }

  protected override sentAll(): void {
    this.#complete(undefined)
    super.sentAll()
    // Answered before all of the request was here: the rest is of no use (RFC 9113 section 8.1).
    if (this.receiving && this.#tunnel === undefined) this.reset(errorCode.NO_ERROR, cancelled)
  }

  #complete(error: MeshError | undefined): void {
    if (this.#completed) return
    this.#completed = true
    this.#exchange?.onComplete?.({
      bytesIn: this.received,
      bytesOut: this.sent,
      status: this.#response?.status ?? 0,
      error,
    })
  }

  // ------------------------------------------------------------------ endings

  /** The client wants no answer, or has no more to say. */
  onPeerReset(): void {
    this.close(cancelled)
  }

  /** A body of which nothing comes. Calls and tunnels may be silent as long as their connection lives. */
  override checkTime(now: number): void {
    const { bodyTimeoutMs } = this.session.limits
    if (!this.receiving || now < this.activeAt + bodyTimeoutMs || this.#tunnel !== undefined) return
    if (this.#exchange?.isGrpc === true || this.#response !== undefined) return
    const error = new MeshError('REQUEST_TIMEOUT', `no byte of the request body for ${bodyTimeoutMs} ms`)
    this.session.server.options.dropped(error, this.session.downstream)
    this.reset(errorCode.CANCEL, error)
  }

  malformed(message: string): void {
    const error = this.session.protocolError(message)
    this.session.server.options.dropped(error, this.session.downstream)
    this.reset(errorCode.PROTOCOL_ERROR, error)
  }

  protected onDiscarded(_reason: MeshError): void {}

  protected onClosed(failure: MeshError | undefined): void {
    if (failure === undefined) {
      // Answered; whoever asked said all of it, and it may lie here still.
      if (this.#tunnel === undefined) this.giveUp(cancelled)
      return
    }
    const exchange = this.#exchange
    if (exchange !== undefined && !this.#completed) {
      exchange.cancel(failure)
      this.#response?.body.discard(failure)
    }
    this.#complete(failure)
    this.#tunnel?.lost(failure)
  }
}

function statusFields(status: number, headers: Headers): Headers {
  const fields = [':status', String(status)]
  for (let at = 0; at < headers.length; at++) fields.push(headers[at]!)
  return fields
}

function tunnelFields(headers: Headers): Headers {
  const kept: Headers = []
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!.toLowerCase()
    if (name !== 'connection' && name !== 'upgrade' && name !== 'sec-websocket-accept')
      kept.push(name, headers[at + 1]!)
  }
  return kept
}

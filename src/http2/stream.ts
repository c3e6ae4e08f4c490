/**
 * One stream, both ways (RFC 9113 section 5). What the peer sends is a Body; what is sent to the peer is a BodySink.
 * Bytes are acknowledged when they have been passed on, and whoever sends faster than the peer takes is told to wait:
 * so a slow reader at one end holds the writer at the other, whatever is in between.
 */
import type { Body, BodySink } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import type { Headers } from '../base/exchange.ts'
import { latin1 } from '../base/latin1.ts'
import { dataFrames, flag, frameHead, frameType, headersFrames, rstStream, windowUpdate } from './frames.ts'
import type { Session } from './session.ts'

export abstract class Stream implements Body, BodySink {
  readonly id: number
  readonly session: Session

  // Receiving.
  /** The peer may send still. */
  receiving = true
  /** The head of what the peer sends has not come yet: no DATA may (RFC 9113 section 8.1). */
  headless = false
  /** Bytes announced by Content-Length; -1 = none. */
  announcedBytes = -1
  length: number | undefined = undefined
  readonly whole = undefined
  /** What the peer may send before it has to wait. */
  receiveWindow: number
  /** Clock time of the last frame of its body, either way. */
  activeAt: number
  #received = 0
  /** The body so far, as long as the message has not been handed on. */
  #text: string | undefined = ''
  #held: Buffer[] = []
  #heldBytes = 0
  #sink: BodySink | undefined
  #piped = false
  #paused = false
  #unwanted = false
  #credit = 0
  #ended = false
  #trailers: Headers | undefined
  #failure: MeshError | undefined

  // Sending.
  /** We may send still. */
  sending = true
  /** What we may send before we have to wait; below 0 after a change of SETTINGS (RFC 9113 section 6.9.2). */
  sendWindow: number
  /** Where that comes from. */
  source: Body | undefined
  sent = 0
  #queue: Buffer[] = []
  #queuedBytes = 0
  #endsAfter = false
  #trailersAfter: Headers | undefined
  /** Clock time since when the peer has taken nothing of what is queued; infinite: nothing is. */
  stalledSince = Number.POSITIVE_INFINITY

  constructor(session: Session, id: number, now: number) {
    this.session = session
    this.id = id
    this.receiveWindow = session.limits.streamWindowBytes
    this.sendWindow = session.peerStreamWindow
    this.activeAt = now
  }

  get received(): number {
    return this.#received
  }

  /** The peer has sent all of it. */
  get ended(): boolean {
    return this.#ended
  }

  get trailers(): Headers | undefined {
    return this.#trailers
  }

  /** The stream is over, whether well or not. Once. */
  protected abstract onClosed(failure: MeshError | undefined): void
  /** The message breaks a rule of HTTP (RFC 9113 section 8.1.1). */
  abstract malformed(message: string): void
  /** Called now and then while the stream is open. */
  checkTime(_now: number): void {}

  /** The body of the peer is whole. */
  protected onReceived(): void {}

  // ------------------------------------------------------------------ receiving

  /** A part of the body has come. */
  take(chunk: Buffer, start: number, end: number): void {
    const length = end - start
    this.#received += length
    if (this.announcedBytes >= 0 && this.#received > this.announcedBytes) {
      this.malformed('more DATA than Content-Length announces')
      return
    }
    if (this.#unwanted) {
      this.acknowledge(length)
      return
    }
    if (this.#text !== undefined) {
      if (this.#received <= this.session.limits.wholeBodyBytesMax) {
        this.#text += latin1(chunk, start, end)
        this.#credit += length
        return
      }
      this.unfold()
    }
    if (this.#sink === undefined || this.#paused) {
      this.#held.push(Buffer.from(chunk.subarray(start, end)))
      this.#hold(length)
      return
    }
    const sink = this.#sink
    if (!(sink.part?.(chunk, start, end) ?? sink.data(chunk.subarray(start, end)))) this.#paused = true
    this.acknowledge(length)
  }

  /** Its frame used the windows, whatever becomes of it. */
  count(bytes: number): boolean {
    this.receiveWindow -= bytes
    return this.receiveWindow >= 0
  }

  /** The peer's last frame. */
  finish(trailers: Headers | undefined): void {
    this.#ended = true
    this.receiving = false
    this.#trailers = trailers
    if (this.announcedBytes >= 0 && this.#received !== this.announcedBytes) {
      this.malformed('less DATA than Content-Length announces')
      return
    }
    this.onReceived()
    if (this.#text === undefined && !this.#unwanted) this.#deliverEnd()
    this.closeIfDone()
  }

  /** The body as text, if all of it is here; then nothing is left to pipe. The message is handed on now. */
  handOn(): string | undefined {
    const text = this.#text
    if (text === undefined) return undefined
    if (this.#ended) {
      this.#text = undefined
      this.#credit = 0
      this.#unwanted = true
      return text
    }
    this.unfold()
    return undefined
  }

  /** Its body is piped, even if it is here whole. */
  unfold(): void {
    const text = this.#text
    this.#text = undefined
    if (text === undefined || text === '') return
    this.#held.push(Buffer.from(text, 'latin1'))
    this.#credit -= text.length
    this.#hold(text.length)
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.session.holds(bytes)
  }

  #release(): void {
    this.session.holds(-this.#heldBytes)
    this.#heldBytes = 0
    this.#held = []
  }

  /** They have been passed on, or are padding. */
  acknowledge(bytes: number): void {
    this.#credit += bytes
    if (!this.#paused) this.#giveCredit()
  }

  #giveCredit(): void {
    const credit = this.#credit
    if (!this.receiving || credit < this.session.limits.streamWindowBytes >>> 1) return
    this.#credit = 0
    this.receiveWindow += credit
    this.session.output.write(windowUpdate(this.id, credit))
  }

  pipe(sink: BodySink): void {
    const failure = this.#piped ? new MeshError('UNEXPECTED', 'a streamed body can be sent once only') : this.#failure
    this.#piped = true
    if (failure !== undefined) {
      sink.fail(failure)
      return
    }
    this.#sink = sink
    this.#pump()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#pump()
  }

  /** Nobody wants the rest. */
  discard(reason: MeshError): void {
    if (this.#unwanted) return
    this.#unwanted = true
    this.#sink = undefined
    // What is here as text has been counted already.
    const bytes = this.#heldBytes
    this.#release()
    this.#text = undefined
    this.#paused = false
    this.acknowledge(bytes)
    this.onDiscarded(reason)
  }

  /** The body will not be read. */
  protected abstract onDiscarded(reason: MeshError): void

  #pump(): void {
    while (this.#held.length > 0 && !this.#paused && this.#sink !== undefined) {
      const bytes = this.#held.shift()!
      this.#heldBytes -= bytes.length
      this.session.holds(-bytes.length)
      if (!this.#sink.data(bytes)) this.#paused = true
      this.acknowledge(bytes.length)
    }
    if (this.#paused) return
    this.#giveCredit()
    this.#deliverEnd()
  }

  #deliverEnd(): void {
    if (!this.#ended || this.#held.length > 0 || this.#paused) return
    const sink = this.#sink
    this.#sink = undefined
    sink?.end(this.#trailers)
  }

  // ------------------------------------------------------------------ sending

  data(chunk: Buffer): boolean {
    return this.part(chunk, 0, chunk.length)
  }

  part(chunk: Buffer, start: number, end: number): boolean {
    if (!this.sending) return true
    const { session } = this
    this.activeAt = session.now
    this.sent += end - start
    let at = start
    if (this.#queue.length === 0) {
      const { output, peerFrameMax } = session
      while (at < end) {
        const bytes = Math.min(end - at, this.sendWindow, session.sendWindow, peerFrameMax)
        if (bytes <= 0) break
        output.copyData(this.id, chunk, at, at + bytes)
        this.#spend(bytes)
        at += bytes
      }
    }
    if (at < end) {
      if (this.#queue.length === 0) this.stalledSince = session.now
      this.#queue.push(Buffer.from(chunk.subarray(at, end)))
      this.#queuedBytes += end - at
    }
    if (this.#queue.length === 0 && !session.output.full) return true
    session.waits(this)
    return this.#queuedBytes < session.limits.queuedBytesMax && !session.output.full
  }

  /** A frame of DATA goes out. */
  #spend(bytes: number): void {
    this.sendWindow -= bytes
    this.session.sendWindow -= bytes
    this.session.sentData()
  }

  end(trailers: Headers | undefined): void {
    if (!this.sending) return
    if (this.#queue.length > 0) {
      this.#endsAfter = true
      this.#trailersAfter = trailers
      return
    }
    this.#sendEnd(trailers)
  }

  /** What waited for a window goes on; returns true when nothing waits any more. */
  proceed(): boolean {
    const { session } = this
    const { output, peerFrameMax } = session
    while (this.#queue.length > 0) {
      const chunk = this.#queue[0]!
      const bytes = Math.min(chunk.length, this.sendWindow, session.sendWindow, peerFrameMax)
      if (bytes <= 0 || output.full) return false
      output.writeBytes(frameHead(bytes, frameType.DATA, 0, this.id), chunk.subarray(0, bytes))
      this.#spend(bytes)
      this.#queuedBytes -= bytes
      this.stalledSince = session.now
      if (bytes === chunk.length) this.#queue.shift()
      else this.#queue[0] = chunk.subarray(bytes)
    }
    this.stalledSince = Number.POSITIVE_INFINITY
    if (this.#endsAfter) this.#sendEnd(this.#trailersAfter)
    else if (output.full) return false
    else this.source?.resume()
    return true
  }

  /** The head of a request. */
  sendHead(block: string, endStream: boolean): void {
    this.session.output.write(headersFrames(this.id, block, endStream, this.session.peerFrameMax))
    if (endStream) this.sentAll()
  }

  /** A body that is here whole, to its end. */
  sendWhole(text: string, trailers: Headers | undefined): void {
    const { session } = this
    if (text.length > Math.min(this.sendWindow, session.sendWindow)) {
      this.data(Buffer.from(text, 'latin1'))
      this.end(trailers)
      return
    }
    this.sent += text.length
    this.#spend(text.length)
    if (text !== '' || trailers === undefined)
      session.output.write(dataFrames(this.id, text, trailers === undefined, session.peerFrameMax))
    if (trailers === undefined) this.sentAll()
    else this.#sendEnd(trailers)
  }

  #sendEnd(trailers: Headers | undefined): void {
    const { session } = this
    if (trailers === undefined) session.output.write(frameHead(0, frameType.DATA, flag.END_STREAM, this.id))
    else session.output.write(headersFrames(this.id, session.block(trailers), true, session.peerFrameMax))
    this.sentAll()
  }

  /** Our last frame is out. */
  protected sentAll(): void {
    this.sending = false
    this.source = undefined
    this.closeIfDone()
  }

  abstract fail(error: MeshError): void

  // ------------------------------------------------------------------ endings

  protected closeIfDone(): void {
    if (!this.receiving && !this.sending) this.close(undefined)
  }

  /** Ends it by RST_STREAM, if the peer has not ended it. */
  reset(code: number, failure: MeshError | undefined): void {
    if (this.session.streams.get(this.id) !== this) return
    this.session.output.write(rstStream(this.id, code))
    this.session.wasReset(this.id)
    this.close(failure)
  }

  /** What is here and has not been passed on, nobody will ask for any more. */
  protected giveUp(reason: MeshError): void {
    this.#drop(reason)?.fail(reason)
  }

  #drop(reason: MeshError): BodySink | undefined {
    this.#failure ??= reason
    const sink = this.#sink
    this.#sink = undefined
    this.#release()
    this.#text = undefined
    return sink
  }

  /** Nothing more is sent or taken. */
  close(failure: MeshError | undefined): void {
    if (!this.session.remove(this)) return
    this.receiving = false
    this.sending = false
    this.source = undefined
    this.#queue = []
    this.#queuedBytes = 0
    this.stalledSince = Number.POSITIVE_INFINITY
    const sink = failure === undefined ? undefined : this.#drop(failure)
    this.onClosed(failure)
    if (failure !== undefined) sink?.fail(failure)
  }
}

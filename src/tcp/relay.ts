import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../base/clock.ts'
import { bulkBuffers, smallRead } from './bulk-buffers.ts'
import { writeBytes } from './direct-writes.ts'
import { reset } from './reset.ts'
import { StaticReads } from './static-reads.ts'

export type RelayDirection = 'a-to-b' | 'b-to-a'

export interface RelayOptions {
  readonly clock: Clock
  /** Both ways silent for this long: both sides are reset. */
  readonly idleTimeoutMs: number
  /** Bytes that came from a side before the relay and are not in its stream (a tunnel's head, a peek's `head`). */
  readonly heads?: { readonly a?: Buffer | undefined; readonly b?: Buffer | undefined }
  /** Called for every chunk that is passed on. */
  readonly onBytes?: ((direction: RelayDirection, bytes: number) => void) | undefined
}

/** `closed`: both sides ended as they should. `a` or `b`: that side broke off and the other was reset. */
export type RelayEnd = 'closed' | 'idle' | 'a' | 'b'

export interface RelayResult {
  readonly end: RelayEnd
  readonly bytesAToB: number
  readonly bytesBToA: number
  /** Why a side broke off, when it said so. */
  readonly error: Error | undefined
}

/**
 * Copies bytes both ways between two sockets until both have ended, keeping half-close and back-pressure: what one
 * side does to its connection, the other sees (end as end, reset as reset). Takes over both sockets, paused or not,
 * makes them `allowHalfOpen`, and leaves both destroyed. Never rejects.
 */
export function relay(a: Duplex, b: Duplex, options: RelayOptions): Promise<RelayResult> {
  return new Promise((resolve) => new Relay(a, b, options, resolve).start())
}

class Relay {
  readonly options: RelayOptions
  readonly #resolve: (result: RelayResult) => void
  readonly #aToB: Flow
  readonly #bToA: Flow
  activeAt: number
  #timer: Timer | undefined = undefined
  #end: RelayEnd | undefined = undefined
  #error: Error | undefined = undefined

  constructor(a: Duplex, b: Duplex, options: RelayOptions, resolve: (result: RelayResult) => void) {
    this.options = options
    this.#resolve = resolve
    this.activeAt = options.clock.now()
    this.#aToB = new Flow(this, 'a-to-b', a, b)
    this.#bToA = new Flow(this, 'b-to-a', b, a)
  }

  start(): void {
    this.#watchIdle(this.options.idleTimeoutMs)
    this.#aToB.listen()
    this.#bToA.listen()
    this.#aToB.start(this.options.heads?.a)
    this.#bToA.start(this.options.heads?.b)
  }

  /** A flow has passed on its end. */
  flowFinished(): void {
    if (!this.#aToB.finished || !this.#bToA.finished) {
      // The other way has failed already and only waited for this one to be delivered.
      if (this.#end !== undefined && (this.#aToB.finished || this.#bToA.finished)) this.#finish()
      return
    }
    this.#end ??= 'closed'
    this.#finish()
  }

  /** A side broke off: `flow` is the one that reads from it. */
  sideFailed(flow: Flow, error: Error | undefined): void {
    if (this.#end !== undefined) return
    this.#end = flow === this.#aToB ? 'a' : 'b'
    this.#error = error
    // It had said all it had to say: the other side must still get that whole, then the reset.
    if (flow.ended && !flow.finished && !flow.to.destroyed) return
    this.#finish()
  }

  #watchIdle(ms: number): void {
    this.#timer = this.options.clock.after(ms, () => {
      const left = this.activeAt + this.options.idleTimeoutMs - this.options.clock.now()
      if (left > 0) {
        this.#watchIdle(left)
        return
      }
      this.#end ??= 'idle'
      this.#finish()
    })
  }

  #finish(): void {
    this.#timer?.cancel()
    this.#aToB.unlisten()
    this.#bToA.unlisten()
    const { from: a, to: b } = this.#aToB
    if (this.#end === 'closed') {
      a.destroy()
      b.destroy()
    } else {
      reset(a)
      reset(b)
    }
    this.#resolve({
      end: this.#end ?? 'closed',
      bytesAToB: this.#aToB.bytes,
      bytesBToA: this.#bToA.bytes,
      error: this.#error,
    })
  }
}

/** One way: reads `from`, writes `to`. */
class Flow {
  readonly #relay: Relay
  readonly #direction: RelayDirection
  readonly from: Duplex
  readonly to: Duplex
  readonly #onBytes: RelayOptions['onBytes']
  bytes = 0
  #reads: StaticReads | undefined
  /** The buffer that is read into, where it is of this flow alone. */
  #own: Buffer | undefined
  /** `from` has sent its last byte. */
  ended = false
  /** `to` has taken all of it, and the end. */
  finished = false

  constructor(relay: Relay, direction: RelayDirection, from: Duplex, to: Duplex) {
    this.#relay = relay
    this.#direction = direction
    this.from = from
    this.to = to
    this.#onBytes = relay.options.onBytes
  }

  listen(): void {
    // Or Node would end our side by itself when the peer ends its own.
    this.from.allowHalfOpen = true
    if (isPlain(this.from) && isPlain(this.to))
      this.#reads = StaticReads.begin(this.from, bulkBuffers.shared, this.#take)
    this.from.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose)
    this.to.on('drain', this.#onDrain).on('finish', this.#onFinish)
  }

  unlisten(): void {
    // 'error' stays: a reset may still answer with one, and nobody else listens any more.
    this.from.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.to.off('drain', this.#onDrain).off('finish', this.#onFinish)
  }

  start(head: Buffer | undefined): void {
    if (this.from.destroyed) {
      this.#relay.sideFailed(this, this.from.errored ?? undefined)
      return
    }
    let full = false
    if (head !== undefined && head.length > 0) full = !this.#pass(head)
    if (this.from.readableEnded) this.#onEnd()
    else if (full) this.from.pause()
    else this.from.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!this.#pass(chunk)) this.from.pause()
  }

  /**
   * Between plain sockets: the kernel reads into a buffer and writes out of it, no chunk is made. Small reads go into a buffer
   * that all flows share, and are copied; a flow that fills much of it gets one of its own for as long as it does.
   */
  readonly #take = (bytes: number, buffer: Buffer): boolean => {
    const chunk = buffer.subarray(0, bytes)
    const own = this.#own
    let more: boolean
    if (own === buffer) {
      this.#note(bytes)
      more = writeBytes(this.to as Socket, chunk)
    } else more = this.#pass(Buffer.from(chunk))
    if (own === undefined) {
      if (bytes > smallRead) this.#reads!.use((this.#own = bulkBuffers.take()))
    } else if (bytes <= smallRead && more) {
      this.#own = undefined
      this.#reads!.use(bulkBuffers.shared)
      bulkBuffers.leave(own)
    }
    if (!more) this.from.pause()
    return more
  }

  #pass(chunk: Buffer): boolean {
    this.#note(chunk.length)
    return this.to.write(chunk)
  }

  #note(bytes: number): void {
    this.bytes += bytes
    this.#relay.activeAt = this.#relay.options.clock.now()
    if (this.#onBytes !== undefined) this.#onBytes(this.#direction, bytes)
  }

  readonly #onDrain = (): void => {
    // A slow reader that takes bytes is not idle.
    this.#relay.activeAt = this.#relay.options.clock.now()
    if (!this.ended) this.from.resume()
  }

  readonly #onEnd = (): void => {
    this.ended = true
    this.#relay.activeAt = this.#relay.options.clock.now()
    this.to.end()
  }

  readonly #onFinish = (): void => {
    this.finished = true
    this.#relay.flowFinished()
  }

  readonly #onError = (error: Error): void => this.#relay.sideFailed(this, error)

  readonly #onClose = (): void => {
    // Closed after both its ends is no breaking off: the other side may still be reading what it sent.
    if (this.ended && this.from.writableFinished && this.from.errored == null) return
    this.#relay.sideFailed(this, undefined)
  }
}

function isPlain(side: Duplex): side is Socket {
  return side instanceof Socket && !(side instanceof TLSSocket)
}

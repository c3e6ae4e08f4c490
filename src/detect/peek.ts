import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'
import { detect, detectLate, type Protocol } from './detect.ts'

export interface PeekOptions {
  readonly clock: Clock
  /** How long a connection may stay silent or undecided: what a server-first protocol waits at most. */
  readonly timeoutMs: number
}

/**
 * Why it was decided. `bytes`: they told. `timeout`: nobody spoke in time (opaque: a server-first protocol), or too
 * little (see `detectLate`). `end`: the peer half-closed before it had said enough; opaque.
 */
export type PeekCause = 'bytes' | 'timeout' | 'end'

export type Peek =
  | {
      readonly is: 'detected'
      readonly protocol: Protocol
      readonly cause: PeekCause
      /** What came so far, to look at (`serverName`). It is back in the socket already; do not write it on. */
      readonly bytes: Buffer
      /** What came and could not be put back, because the peer half-closed: `heads` of a relay. Empty otherwise. */
      readonly head: Buffer
    }
  | { readonly is: 'gone'; readonly error: Error | undefined }

const nothing: Buffer = Buffer.alloc(0)

/**
 * Reads the first bytes of a connection until they tell its protocol (at most `detectBytesMax` and one chunk), then
 * leaves the socket paused with every byte back in it, ready for an engine or a relay (`resume()`) or for
 * `tlsServer.emit('connection', socket)`. Never rejects: a connection that dies first is `gone`. The socket must be
 * `allowHalfOpen`, or Node answers an early half-close itself.
 */
export function peek(socket: Duplex, options: PeekOptions): Promise<Peek> {
  return new Promise((resolve) => new Peeking(socket, resolve).start(options))
}

class Peeking {
  readonly #socket: Duplex
  readonly #resolve: (peek: Peek) => void
  #held: Buffer = nothing
  #timer: Timer | undefined = undefined

  constructor(socket: Duplex, resolve: (peek: Peek) => void) {
    this.#socket = socket
    this.#resolve = resolve
  }

  start(options: PeekOptions): void {
    const socket = this.#socket
    // Stays for good: between our answer and the next owner's first listener an error must not end the process.
    if (!socket.listeners('error').includes(ignoreError)) socket.on('error', ignoreError)
    if (socket.destroyed) {
      this.#resolve({ is: 'gone', error: socket.errored ?? undefined })
      return
    }
    if (socket.readableEnded) {
      this.#onEnd()
      return
    }
    this.#timer = options.clock.after(options.timeoutMs, this.#onTimeout)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
    socket.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    // Held here, not pushed back and read again: unshift of a part makes the stream readable at once, for ever.
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const detection = detect(this.#held)
    if (detection !== 'need-more') this.#handOver(detection, 'bytes')
  }

  readonly #onTimeout = (): void => this.#handOver(detectLate(this.#held), 'timeout')

  readonly #onEnd = (): void => {
    this.#letGo()
    // After 'end' a stream takes nothing back (ERR_STREAM_UNSHIFT_AFTER_END_EVENT).
    this.#resolve({ is: 'detected', protocol: 'opaque', cause: 'end', bytes: this.#held, head: this.#held })
  }

  readonly #onClose = (): void => {
    this.#letGo()
    this.#resolve({ is: 'gone', error: this.#socket.errored ?? undefined })
  }

  #handOver(protocol: Protocol, cause: PeekCause): void {
    this.#letGo()
    this.#socket.pause()
    if (this.#held.length > 0) this.#socket.unshift(this.#held)
    this.#resolve({ is: 'detected', protocol, cause, bytes: this.#held, head: nothing })
  }

  #letGo(): void {
    this.#timer?.cancel()
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
  }
}

/** The next owner sees it in `socket.errored` and in the `close` event. */
function ignoreError(): void {}

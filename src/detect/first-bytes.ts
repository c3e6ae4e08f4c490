import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'

export interface FirstBytesOptions<T> {
  readonly clock: Clock
  /** How long to wait for a verdict. */
  readonly timeoutMs: number
  /** Looks at all bytes so far, at least one; undefined: more are needed. It must come to a verdict some time. */
  readonly judge: (bytes: Buffer) => T | undefined
  /** How many of the bytes are the judge's own and must not be read again; none by default. */
  readonly used?: (verdict: T) => number
}

/**
 * `judged`: they told. `late`: time is over. `ended`: the peer half-closed before it had said enough, and what came
 * (`bytes`) could not be put back. `gone`: the connection died.
 */
export type FirstBytes<T> =
  | { readonly is: 'judged'; readonly verdict: T; readonly bytes: Buffer }
  | { readonly is: 'late'; readonly bytes: Buffer }
  | { readonly is: 'ended'; readonly bytes: Buffer }
  | { readonly is: 'gone'; readonly error: Error | undefined }

const nothing: Buffer = Buffer.alloc(0)

/**
 * Reads the first bytes of a connection until `judge` comes to a verdict, then leaves the socket paused with every byte
 * back in it but those that were used up, ready for an engine or a relay (`resume()`) or for
 * `tlsServer.emit('connection', socket)`. Never rejects. The socket must be `allowHalfOpen`, or Node answers an early
 * half-close itself.
 */
export function firstBytes<T>(socket: Duplex, options: FirstBytesOptions<T>): Promise<FirstBytes<T>> {
  return new Promise((resolve) => new Reading(socket, options, resolve).start())
}

class Reading<T> {
  readonly #socket: Duplex
  readonly #options: FirstBytesOptions<T>
  readonly #resolve: (found: FirstBytes<T>) => void
  #held: Buffer = nothing
  #timer: Timer | undefined = undefined

  constructor(socket: Duplex, options: FirstBytesOptions<T>, resolve: (found: FirstBytes<T>) => void) {
    this.#socket = socket
    this.#options = options
    this.#resolve = resolve
  }

  start(): void {
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
    this.#timer = this.#options.clock.after(this.#options.timeoutMs, this.#onTimeout)
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose)
    socket.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    // Held here, not pushed back and read again: unshift of a part makes the stream readable at once, for ever.
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const verdict = this.#options.judge(this.#held)
    if (verdict === undefined) return
    this.#putBack(this.#options.used?.(verdict) ?? 0)
    this.#resolve({ is: 'judged', verdict, bytes: this.#held })
  }

  readonly #onTimeout = (): void => {
    this.#putBack(0)
    this.#resolve({ is: 'late', bytes: this.#held })
  }

  readonly #onEnd = (): void => {
    this.#letGo()
    // After 'end' a stream takes nothing back (ERR_STREAM_UNSHIFT_AFTER_END_EVENT).
    this.#resolve({ is: 'ended', bytes: this.#held })
  }

  readonly #onClose = (): void => {
    this.#letGo()
    this.#resolve({ is: 'gone', error: this.#socket.errored ?? undefined })
  }

  #putBack(used: number): void {
    this.#letGo()
    this.#socket.pause()
    if (this.#held.length > used) this.#socket.unshift(this.#held.subarray(used))
  }

  #letGo(): void {
    this.#timer?.cancel()
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
  }
}

/** The next owner sees it in `socket.errored` and in the `close` event. */
function ignoreError(): void {}

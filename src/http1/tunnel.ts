/** A connection after `101 Switching Protocols`: an ordinary stream again, fed by the connection's static-buffer reads. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

export class TunnelStream extends Duplex {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
    socket.on('drain', () => this.#drained?.())
  }

  /** Takes what was read; `chunk` is copied. Returns false to stop reading. */
  feed(chunk: Buffer): boolean {
    return this.push(Buffer.from(chunk))
  }

  #drained: (() => void) | undefined

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.#socket.write(chunk)) {
      done()
      return
    }
    this.#drained = () => {
      this.#drained = undefined
      done()
    }
  }

  override _final(done: () => void): void {
    this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (error !== null && typeof this.#socket.resetAndDestroy === 'function' && !('encrypted' in this.#socket)) {
      this.#socket.resetAndDestroy()
    } else {
      this.#socket.destroy()
    }
    done(error)
  }
}

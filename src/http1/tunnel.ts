/** A connection after `101 Switching Protocols`: an ordinary stream again, fed by the connection's static-buffer reads. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { reset } from '../tcp/reset.ts'

export class TunnelStream extends Duplex {
  readonly #socket: Socket
  #written: ((error?: Error) => void) | undefined

  constructor(socket: Socket) {
    // Whoever splices it ends it: closed by itself, it would look to them like a side that broke off.
    super({ allowHalfOpen: true, autoDestroy: false })
    this.#socket = socket
    // HTTP has no half-close; what comes after it may.
    socket.allowHalfOpen = true
    let ended = false
    socket.on('end', () => {
      ended = true
      this.push(null)
    })
    socket.on('error', (error) => this.destroy(error))
    // After its end what was read may still wait for a slow reader; the stream closes when that is read.
    socket.on('close', () => {
      if (!ended || !this.writableFinished) this.destroy(new Error('the upstream connection was lost'))
    })
    socket.on('drain', () => this.#done())
  }

  /** Takes what was read; `chunk` is copied. Returns false to stop reading. */
  feed(chunk: Buffer): boolean {
    return this.push(Buffer.from(chunk))
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#written = done
    if (this.#socket.write(chunk)) this.#done()
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Whoever broke off in the middle broke off: the upstream must not take it for an end.
    if (this.readableEnded && this.writableFinished) this.#socket.destroy()
    else reset(this.#socket)
    done(error)
  }

  #done(): void {
    const done = this.#written
    this.#written = undefined
    done?.()
  }
}

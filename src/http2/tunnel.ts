/** A stream after CONNECT: an ordinary Duplex for whoever splices it (RFC 9113 section 8.5, RFC 8441 section 5). */
import { Duplex } from 'node:stream'
import { MeshError } from '../base/errors.ts'
import { errorCode } from './frames.ts'
import type { Stream } from './stream.ts'

export class StreamTunnel extends Duplex {
  readonly #stream: Stream
  #written: ((error?: Error) => void) | undefined

  constructor(stream: Stream) {
    // Whoever splices it ends it: closed by itself, it would look to them like a side that broke off.
    super({ allowHalfOpen: true, autoDestroy: false })
    this.#stream = stream
    // It may break off before anybody has begun to splice it, who then finds it destroyed.
    this.on('error', () => {})
    // What the peer sends waits until somebody reads.
    stream.pause()
    stream.source = {
      length: undefined,
      whole: undefined,
      pipe: () => {},
      pause: () => {},
      resume: () => this.#done(),
      discard: () => {},
    }
    stream.pipe({
      data: (chunk) => this.push(Buffer.from(chunk)),
      end: () => this.push(null),
      fail: (error) => this.destroy(error),
    })
  }

  override _read(): void {
    this.#stream.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#written = done
    if (this.#stream.data(chunk)) this.#done()
  }

  override _final(done: () => void): void {
    this.#stream.end(undefined)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Whoever broke off in the middle broke off: the peer must not take it for an end.
    if (!(this.readableEnded && this.writableFinished))
      this.#stream.reset(errorCode.CANCEL, MeshError.from(error ?? new Error('tunnel closed'), 'UPSTREAM_RESET'))
    done(error)
  }

  /** The connection below is gone. */
  lost(error: MeshError): void {
    this.destroy(error)
  }

  #done(): void {
    const done = this.#written
    this.#written = undefined
    done?.()
  }
}

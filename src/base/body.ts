/**
 * Bodies flow from a source to a sink by plain calls: no stream objects, no promise, no closure per chunk.
 * The source pushes; a full sink says so by its return value and asks for more with `resume`.
 */

import { MeshError } from './errors.ts'
import type { Headers } from './exchange.ts'

export interface BodySink {
  /** `chunk` is valid during the call only: copy what you keep. Returns false when full. */
  data(chunk: Buffer): boolean
  /** The same of a part of `chunk`, where the sink needs no view of it. */
  part?(chunk: Buffer, start: number, end: number): boolean
  /** The body is whole. */
  end(trailers: Headers | undefined): void
  /** The body will not become whole. Called instead of `end`, once. */
  fail(error: MeshError): void
}

export interface Body {
  /** Bytes in all; undefined when only its end tells. */
  readonly length: number | undefined
  /** The whole body, one latin1 character per byte, when it is here already; '' for none. */
  readonly whole: string | undefined
  /** Trailer fields of a body that is here whole. */
  readonly trailers?: Headers | undefined
  /** False: whoever sent it did not say how long it is, and nobody else should. */
  readonly announced?: boolean
  /** Starts the flow. Once per body, unless `replayable`. */
  pipe(sink: BodySink): void
  pause(): void
  resume(): void
  /** Nobody wants the rest. */
  discard(reason: MeshError): void
}

/** A body that is here already; may be piped any number of times. */
export class WholeBody implements Body {
  readonly whole: string
  readonly length: number
  readonly trailers: Headers | undefined
  readonly announced: boolean

  constructor(bytes: string, trailers?: Headers, announced = true) {
    this.whole = bytes
    this.length = bytes.length
    this.trailers = trailers
    this.announced = announced
  }

  pipe(sink: BodySink): void {
    if (this.length > 0) sink.data(Buffer.from(this.whole, 'latin1'))
    sink.end(this.trailers)
  }

  pause(): void {}
  resume(): void {}
  discard(_reason: MeshError): void {}
}

/** No body at all. */
export const noBody: Body = new WholeBody('')

/** From text that the mesh itself writes. */
export function textBody(text: string): Body {
  return new WholeBody(Buffer.from(text, 'utf8').toString('latin1'))
}

type Tail =
  | { readonly is: 'end'; readonly trailers: Headers | undefined }
  | { readonly is: 'failed'; readonly error: MeshError }

/**
 * Keeps what it has relayed so that a second try can send it again. Past `bytesMax` it lets go of the copy:
 * the running try goes on, `replayable` turns false.
 */
export class ReplayBody implements Body {
  readonly length: number | undefined
  readonly whole: string | undefined = undefined
  replayable = true
  readonly #source: Body
  readonly #bytesMax: number
  #kept: Buffer[] = []
  #keptBytes = 0
  #started = false
  #sink: BodySink | undefined
  #tail: Tail | undefined

  constructor(source: Body, bytesMax: number) {
    this.#source = source
    this.#bytesMax = bytesMax
    this.length = source.length
    if (source.length !== undefined && source.length > bytesMax) this.replayable = false
  }

  /** The body as one that is here already, once all of it has passed and was kept. */
  get kept(): WholeBody | undefined {
    if (!this.replayable || this.#tail?.is !== 'end') return undefined
    return new WholeBody(Buffer.concat(this.#kept).toString('latin1'), this.#tail.trailers, this.length !== undefined)
  }

  pipe(sink: BodySink): void {
    const first = !this.#started
    if (!first && !this.replayable) {
      sink.fail(new MeshError('UNEXPECTED', 'request body is past its replay limit'))
      return
    }
    this.#sink = sink
    if (first) {
      this.#started = true
      this.#source.pipe({
        data: (chunk) => this.#data(chunk),
        end: (trailers) => this.#finish({ is: 'end', trailers }),
        fail: (error) => this.#finish({ is: 'failed', error }),
      })
      return
    }
    let more = true
    for (const chunk of this.#kept) more = sink.data(chunk) && more
    if (this.#tail !== undefined) this.#deliverTail(sink, this.#tail)
    else if (more) this.#source.resume()
  }

  pause(): void {
    if (this.#tail === undefined) this.#source.pause()
  }

  resume(): void {
    if (this.#tail === undefined) this.#source.resume()
  }

  /** The try is over; the source waits for the next one. */
  detach(): void {
    this.#sink = undefined
    if (this.#started && this.#tail === undefined) this.#source.pause()
  }

  discard(reason: MeshError): void {
    this.#sink = undefined
    this.#kept = []
    this.replayable = false
    this.#source.discard(reason)
  }

  #data(chunk: Buffer): boolean {
    if (this.replayable) {
      this.#keptBytes += chunk.length
      if (this.#keptBytes > this.#bytesMax) {
        this.replayable = false
        this.#kept = []
      } else {
        this.#kept.push(Buffer.from(chunk))
      }
    }
    if (this.#sink === undefined) return false
    return this.#sink.data(chunk)
  }

  #finish(tail: Tail): void {
    this.#tail = tail
    if (this.#sink !== undefined) this.#deliverTail(this.#sink, tail)
  }

  #deliverTail(sink: BodySink, tail: Tail): void {
    if (tail.is === 'end') sink.end(tail.trailers)
    else sink.fail(tail.error)
  }
}

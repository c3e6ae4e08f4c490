/**
 * Takes a body off the wire: counted, chunked (RFC 9112 section 7.1) or until the connection closes. Pushes payload
 * to a sink as views of what was read: nothing is copied here.
 */
import type { BodySink } from '../base/body.ts'
import { MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Headers } from '../base/exchange.ts'
import { latin1 } from '../base/latin1.ts'
import { type FieldRules, parseTrailers } from './fields.ts'
import type { Http1Limits } from './limits.ts'

/** Where the payload of a decoder goes. */
export interface PayloadSink {
  payload(chunk: Buffer): void
  ended(trailers: Headers | undefined): void
}

const CR = 0x0d
const LF = 0x0a

const inSize = 0
const inExtension = 1
const afterSizeCr = 2
const inData = 3
const afterData = 4
const afterDataCr = 5
const inTrailers = 6
const finished = 7

/**
 * Extensions as RFC 9112 7.1.1 writes them, from the first semicolon on: `;name`, `;name=token`, `;name="quoted"`. What else
 * has been found there was read two ways by two parsers: a line end within quotes, a bare CR or LF, no name at all.
 */
const extensions =
  /^(?:;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[^"\\]|\\.)*"))?[ \t]*)+$/

export class BodyDecoder {
  /** Bytes of payload seen. */
  bytes = 0
  done = false
  #left: number
  #state: number
  #digits = 0
  #extension = ''
  #trailerText = ''
  readonly #sink: PayloadSink
  readonly #rules: FieldRules
  readonly #limits: Http1Limits

  /** `length`: bytes, -1 = chunked, -2 = until close. */
  constructor(length: number, sink: PayloadSink, rules: FieldRules, limits: Http1Limits) {
    this.#sink = sink
    this.#rules = rules
    this.#limits = limits
    this.#left = length >= 0 ? length : 0
    this.#state = length === -1 ? inSize : length === -2 ? -2 : -1
    if (length === 0) this.done = true
  }

  /** Consumes `chunk[start..]`; returns where it stopped: short of the end only when the body is done. Throws MeshError. */
  push(chunk: Buffer, start: number): number {
    if (this.done) return start
    if (this.#state === -1) return this.#counted(chunk, start)
    if (this.#state === -2) {
      this.bytes += chunk.length - start
      this.#sink.payload(start === 0 ? chunk : chunk.subarray(start))
      return chunk.length
    }
    return this.#chunked(chunk, start)
  }

  /** The connection has ended. True if that ends the body as it should. */
  close(): boolean {
    if (this.done) return true
    if (this.#state !== -2) return false
    this.done = true
    this.#sink.ended(undefined)
    return true
  }

  #counted(chunk: Buffer, start: number): number {
    const take = Math.min(this.#left, chunk.length - start)
    if (take === 0) return start
    this.#left -= take
    this.bytes += take
    if (this.#left === 0) this.done = true
    this.#sink.payload(start === 0 && take === chunk.length ? chunk : chunk.subarray(start, start + take))
    if (this.#left === 0) this.#sink.ended(undefined)
    return start + take
  }

  #chunked(chunk: Buffer, start: number): number {
    const length = chunk.length
    let pos = start
    while (pos < length && this.#state !== finished) {
      switch (this.#state) {
        case inSize: {
          const c = chunk[pos++]!
          const digit = hexValue(c)
          if (digit >= 0) {
            // 13 digits stay below 2^53; more is not a size but an overflow attempt.
            if (++this.#digits > 13) throw this.#malformed('chunk size too long')
            this.#left = this.#left * 16 + digit
          } else if (this.#digits === 0) {
            throw this.#malformed('chunk size missing')
          } else if (c === CR) {
            this.#state = afterSizeCr
          } else if (c === 0x3b) {
            this.#state = inExtension
            this.#extension = ';'
          } else {
            throw this.#malformed('malformed chunk size')
          }
          break
        }
        case inExtension: {
          // Extensions are dropped, and bounded: unbounded ones keep a connection busy for nothing (CVE-2024-22019).
          const c = chunk[pos++]!
          if (c === CR) {
            if (!extensions.test(this.#extension)) throw this.#malformed('malformed chunk extension')
            this.#state = afterSizeCr
          } else if (c === LF || (c < 0x20 && c !== 0x09) || c === 0x7f) {
            throw this.#malformed('malformed chunk extension')
          } else {
            this.#extension += String.fromCharCode(c)
            if (this.#digits + this.#extension.length > this.#limits.chunkLineBytesMax)
              throw this.#tooLarge('chunk extension too long')
          }
          break
        }
        case afterSizeCr:
          if (chunk[pos++] !== LF) throw this.#malformed('bare CR in chunk size line')
          this.#state = this.#left === 0 ? inTrailers : inData
          this.#digits = 0
          break
        case inData: {
          const take = Math.min(this.#left, length - pos)
          this.#left -= take
          this.bytes += take
          if (this.#left === 0) this.#state = afterData
          this.#sink.payload(chunk.subarray(pos, pos + take))
          pos += take
          break
        }
        case afterData:
          if (chunk[pos++] !== CR) throw this.#malformed('chunk data longer than its size')
          this.#state = afterDataCr
          break
        case afterDataCr:
          if (chunk[pos++] !== LF) throw this.#malformed('chunk data longer than its size')
          this.#state = inSize
          break
        default:
          pos = this.#trailers(chunk, pos)
      }
    }
    return pos
  }

  #trailers(chunk: Buffer, pos: number): number {
    const before = this.#trailerText.length
    const take = Math.min(chunk.length - pos, this.#limits.trailerBytesMax + 4 - before)
    this.#trailerText += latin1(chunk, pos, pos + take)
    const text = this.#trailerText
    if (text.startsWith('\r\n')) return this.#end(pos + 2 - before, undefined)
    const end = text.indexOf('\r\n\r\n', Math.max(0, before - 3))
    if (end !== -1) return this.#end(pos + end + 4 - before, parseTrailers(text, end + 2, this.#rules))
    if (/(^|[^\r])\n/.test(text)) throw this.#malformed('bare LF in trailers')
    if (text.length > this.#limits.trailerBytesMax)
      throw this.#tooLarge(`trailers longer than ${this.#limits.trailerBytesMax} bytes`)
    return pos + take
  }

  #end(pos: number, trailers: Headers | undefined): number {
    this.#state = finished
    this.done = true
    this.#sink.ended(trailers)
    return pos
  }

  #malformed(message: string): MeshError {
    return new MeshError(this.#rules.malformed, `${message} (RFC 9112 section 7.1)`)
  }

  #tooLarge(message: string): MeshError {
    const code: MeshErrorCode = this.#rules.malformed === 'BAD_REQUEST' ? 'BODY_TOO_LARGE' : 'UPSTREAM_PROTOCOL'
    return new MeshError(code, message)
  }
}

function hexValue(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30
  if (c >= 0x61 && c <= 0x66) return c - 0x57
  if (c >= 0x41 && c <= 0x46) return c - 0x37
  return -1
}

const unheard: PayloadSink = { payload: () => {}, ended: () => {} }

/** Throws what a decoder would throw on the part of a chunked body that is here. */
export function checkChunks(chunk: Buffer, start: number, rules: FieldRules, limits: Http1Limits): void {
  new BodyDecoder(-1, unheard, rules, limits).push(chunk, start)
}

/** Drops payload; for a body that nobody wants. */
export const nullSink: BodySink = {
  data: () => true,
  end: () => {},
  fail: () => {},
}

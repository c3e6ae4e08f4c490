/**
 * Puts a body on the wire. Small pieces travel as latin1 strings so that head, chunk framing and payload go out in
 * one write and one system call; large ones as buffers.
 */
import type { Socket } from 'node:net'
import type { Headers } from '../base/exchange.ts'
import { latin1 } from '../base/latin1.ts'
import { bulkBuffers } from '../tcp/bulk-buffers.ts'
import { writeBytes, writeText } from '../tcp/direct-writes.ts'

/**
 * One buffer for all reads of the engine, on either side: libuv reads into it, the callback uses it up before it returns. What is kept
 * longer must be copied; `keepable` does so for views of this buffer, and of those that much goes through.
 */
export const readBuffer: Buffer = Buffer.allocUnsafeSlow(64 * 1024)

const views: (Buffer | undefined)[] = Array.from({ length: 4_096 })

/**
 * The first `bytes` bytes of `readBuffer`. A short view of one length is made once: nobody may keep it longer than the
 * callback of the read, and the next read would change what it shows in any case.
 */
export function readView(bytes: number): Buffer {
  if (bytes >= views.length) return readBuffer.subarray(0, bytes)
  return (views[bytes] ??= readBuffer.subarray(0, bytes))
}

/** Up to here a piece is cheaper as a string: one write, no Buffer object, no writev. */
export const stringBytesMax: number = 16 * 1024

export function keepable(chunk: Buffer): Buffer {
  return chunk.buffer === readBuffer.buffer || bulkBuffers.has(chunk) ? Buffer.from(chunk) : chunk
}

export class BodyWriter {
  /** Payload bytes written. */
  bytes = 0
  /** The source gave more than it had announced; the surplus was not written. */
  overrun = false
  readonly #socket: Socket
  readonly #chunked: boolean
  /** Bytes still owed under Content-Length; -1 = not counted. */
  #left: number
  /** Head that waits for the first piece of the body. */
  #head: string

  /** `length`: bytes announced, undefined = chunked, or until close if `chunked` is false. */
  constructor(socket: Socket, head: string, length: number | undefined, chunked: boolean) {
    this.#socket = socket
    this.#head = head
    this.#chunked = chunked
    this.#left = length ?? -1
  }

  /** Sends the head if it still waits. */
  flush(): void {
    if (this.#head === '') return
    const head = this.#head
    this.#head = ''
    this.#socket.write(head, 'latin1')
  }

  /** Returns false when the socket wants a rest. More than was announced is not written: see `overrun`. */
  data(chunk: Buffer): boolean {
    const length = chunk.length
    if (length === 0) return !this.#socket.writableNeedDrain
    if (this.#left >= 0) {
      if (length > this.#left) {
        this.overrun = true
        return true
      }
      this.#left -= length
    }
    this.bytes += length
    const head = this.#head
    this.#head = ''
    const socket = this.#socket
    if (length <= stringBytesMax) {
      const text = latin1(chunk, 0, length)
      return socket.write(this.#chunked ? `${head}${length.toString(16)}\r\n${text}\r\n` : head + text, 'latin1')
    }
    // A buffer that is not shared is not read into again before its bytes are taken: nothing is copied.
    if (chunk.buffer !== readBuffer.buffer) {
      const line = this.#chunked ? `${head}${length.toString(16)}\r\n` : head
      if (line !== '') writeText(socket, line)
      const more = writeBytes(socket, chunk)
      return this.#chunked ? writeText(socket, '\r\n') && more : more
    }
    if (!this.#chunked && head === '') return socket.write(Buffer.from(chunk))
    socket.cork()
    socket.write(this.#chunked ? `${head}${length.toString(16)}\r\n` : head, 'latin1')
    let more = socket.write(Buffer.from(chunk))
    if (this.#chunked) more = socket.write('\r\n', 'latin1')
    socket.uncork()
    return more
  }

  /** Fewer bytes came than were announced. */
  get short(): boolean {
    return this.#left > 0
  }

  end(trailers: Headers | undefined): void {
    if (!this.#chunked) {
      this.flush()
      return
    }
    const head = this.#head
    this.#head = ''
    this.#socket.write(
      trailers === undefined ? `${head}0\r\n\r\n` : `${head}0\r\n${fieldLines(trailers)}\r\n`,
      'latin1',
    )
  }
}

/** Fields as they go on the wire. */
export function fieldLines(headers: Headers): string {
  let lines = ''
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`
  return lines
}

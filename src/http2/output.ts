/**
 * What goes out on one connection: frames are gathered until the event loop has read everything that was there to read,
 * and leave in one write. With ten streams under way that is what a request costs less than on HTTP/1.1.
 *
 * Frames are text as long as all of them are made here. With the first payload that is somebody else's bytes they go to a page, a
 * buffer that is used again once the kernel has it: a stream of small messages makes no garbage.
 */
import type { Socket } from 'node:net'
import { unsentBytes, writeBytes, writeText } from '../tcp/direct-writes.ts'
import { frameHeadBytes, frameType } from './frames.ts'

/** Connections with frames that wait for the end of this turn. */
let waiting: Output[] = []

function flushAll(): void {
  const now = waiting
  waiting = []
  for (const output of now) output.flush()
}

/** More than this does not wait for the end of the turn. */
const gatheredMax = 64 * 1024

/** Pages that nobody uses: so many are kept for the next turn. */
const freeMax = 16
const free: Buffer[] = []

export class Output {
  /** The socket wants no more for now; 'drain' follows. */
  full = false
  readonly #socket: Socket
  #text = ''
  /** What stands before `#text`. */
  #parts: (string | Buffer)[] | undefined
  /** Holds all that is gathered, `#bytes` of it, where there is one. */
  #page: Buffer | undefined
  #bytes = 0
  #waits = false

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Bytes that nobody has taken from us yet. */
  get unread(): number {
    return this.#bytes + unsentBytes(this.#socket)
  }

  /** Frames as latin1 text. */
  write(text: string): void {
    const bytes = text.length
    if (this.#page !== undefined && !this.#fits(bytes)) this.flush()
    if (this.#page === undefined) this.#text += text
    else this.#page.latin1Write(text, this.#bytes, bytes)
    this.#bytes += bytes
    this.#wait()
  }

  /** A frame of DATA, not the last of its stream, with a copy of `chunk` from `start` to `end`. */
  copyData(stream: number, chunk: Buffer, start: number, end: number): void {
    const length = end - start
    if (!this.#fits(frameHeadBytes + length)) this.flush()
    const page = this.#page ?? this.#beginPage()
    let at = this.#bytes
    page[at] = length >>> 16
    page[at + 1] = length >>> 8
    page[at + 2] = length
    page[at + 3] = frameType.DATA
    page[at + 4] = 0
    page[at + 5] = stream >>> 24
    page[at + 6] = stream >>> 16
    page[at + 7] = stream >>> 8
    page[at + 8] = stream
    at += frameHeadBytes
    chunk.copy(page, at, start, end)
    this.#bytes = at + length
    this.#wait()
  }

  #fits(bytes: number): boolean {
    return this.#parts === undefined && this.#bytes + bytes <= gatheredMax
  }

  /** What was gathered as text moves into it. */
  #beginPage(): Buffer {
    const page = free.pop() ?? Buffer.allocUnsafeSlow(gatheredMax)
    if (this.#text !== '') page.latin1Write(this.#text, 0, this.#bytes)
    this.#text = ''
    this.#page = page
    return page
  }

  /** A head as text and its payload, which is ours from now on. */
  writeBytes(head: string, payload: Buffer): void {
    if (this.#page !== undefined) this.flush()
    this.#parts ??= []
    this.#parts.push(this.#text + head, payload)
    this.#text = ''
    this.#bytes += head.length + payload.length
    if (this.#bytes >= gatheredMax) this.flush()
    else this.#wait()
  }

  #wait(): void {
    if (this.#waits) return
    this.#waits = true
    if (waiting.push(this) === 1) setImmediate(flushAll)
  }

  /** Puts it on the wire. */
  flush(): void {
    this.#waits = false
    const bytes = this.#bytes
    if (bytes === 0) return
    const parts = this.#parts
    const text = this.#text
    const page = this.#page
    this.#text = ''
    this.#parts = undefined
    this.#page = undefined
    this.#bytes = 0
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return
    if (page !== undefined) {
      // A page that the kernel has not all of is not used again.
      if (!writeBytes(socket, page.subarray(0, bytes))) this.full = true
      else if (free.length < freeMax) free.push(page)
      return
    }
    if (parts === undefined) {
      if (!writeText(socket, text)) this.full = true
      return
    }
    socket.cork()
    let more = true
    for (const part of parts) more = typeof part === 'string' ? socket.write(part, 'latin1') : socket.write(part)
    if (text !== '') more = socket.write(text, 'latin1')
    socket.uncork()
    if (!more) this.full = true
  }
}

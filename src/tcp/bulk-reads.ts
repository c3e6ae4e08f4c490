/** Reads that go into a buffer all connections share, and into one of their own while much moves. */
import { bulkBuffers, smallRead } from './bulk-buffers.ts'
import { writesDirectly } from './direct-writes.ts'
import type { StaticReads } from './static-reads.ts'

/**
 * Of one connection that carries messages. From a buffer of its own a body is written without a copy: it is not read into
 * again before its bytes are taken, since a sink that is full stops the reading.
 */
export class BulkReads {
  readonly #reads: StaticReads
  readonly #shared: Buffer
  #own: Buffer | undefined
  /** The last message had a large read. */
  #large = false
  /** Nothing of this message has been read yet. */
  #fresh = false

  constructor(reads: StaticReads, shared: Buffer) {
    this.#reads = reads
    this.#shared = shared
  }

  /** A message is to come: after a large one it is read into a buffer of its own from its first byte on. */
  begin(): void {
    this.#fresh = true
    if (this.#large && this.#own === undefined) this.#reads.switchTo((this.#own = bulkBuffers.take()))
    this.#large = false
  }

  /**
   * Called at the end of each read. `inBody`: what comes next goes on to somebody. `taken`: nothing of what was read is
   * held, or waits to be written.
   */
  after(bytes: number, inBody: boolean, taken: boolean): void {
    // A head may come alone.
    const first = this.#fresh
    this.#fresh = false
    if (inBody && bytes > smallRead && writesDirectly) {
      this.#large = true
      if (this.#own === undefined) this.#reads.switchTo((this.#own = bulkBuffers.take()))
    } else if (this.#own !== undefined && bytes <= smallRead && taken && !first) this.leave()
  }

  /** Little moves, or nothing. Bytes that still wait to be written keep the buffer as long: the next message gets another. */
  leave(): void {
    const own = this.#own
    if (own === undefined) return
    this.#own = undefined
    this.#reads.switchTo(this.#shared)
    bulkBuffers.leave(own)
  }
}

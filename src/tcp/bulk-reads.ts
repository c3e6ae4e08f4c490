/** Reads that go into a buffer all connections share, and into one of their own while much moves. */
import { bulkBuffers, smallRead } from './bulk-buffers.ts'
import { writesDirectly } from './direct-writes.ts'
import type { StaticReads } from './static-reads.ts'

/** Of one connection that carries messages. */
export class BulkReads {
  readonly #reads: StaticReads
  readonly #shared: Buffer
  #own: Buffer | undefined

  constructor(reads: StaticReads, shared: Buffer) {
    this.#reads = reads
    this.#shared = shared
  }

  /**
   * Called at the end of each read. `inBody`: what comes next goes on to somebody. `taken`: nothing of what was read waits to be
   * written. From a buffer of its own a body is written without a copy: it is not read into again before its bytes are taken,
   * since a sink that is full stops the reading.
   */
  after(bytes: number, inBody: boolean, taken: boolean): void {
    const own = this.#own
    if (own === undefined) {
      if (inBody && bytes > smallRead && writesDirectly) this.#reads.use((this.#own = bulkBuffers.take()))
    } else if (!inBody || (bytes <= smallRead && taken)) {
      this.#own = undefined
      this.#reads.use(this.#shared)
      // Else it belongs to the write that is under way.
      if (taken) bulkBuffers.giveBack(own)
    }
  }
}

/** Buffers for flows that move much: as many as there are such flows, kept for the next ones. */

/** A read of at most this is no bulk: its copy costs less than a buffer of its own. */
export const smallRead: number = 16 * 1024

/** Larger ones are not all taken by a socket of ordinary buffers, and then wait for it. */
const bulkBytes = 128 * 1024
const keptMax = 16

class BulkBuffers {
  /** For everybody's small reads: used up before the callback of the read returns. */
  readonly shared: Buffer = Buffer.allocUnsafeSlow(64 * 1024)
  readonly #free: Buffer[] = []
  readonly #memory = new WeakSet<ArrayBufferLike>()

  take(): Buffer {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const buffer = Buffer.allocUnsafeSlow(bulkBytes)
    this.#memory.add(buffer.buffer)
    return buffer
  }

  /** Whether the bytes are those of a buffer from here, which is read into again. */
  has(bytes: Buffer): boolean {
    return this.#memory.has(bytes.buffer)
  }

  /** Nobody reads from it or writes to it any more. */
  giveBack(buffer: Buffer): void {
    if (this.#free.length < keptMax) this.#free.push(buffer)
  }
}

export const bulkBuffers: BulkBuffers = new BulkBuffers()

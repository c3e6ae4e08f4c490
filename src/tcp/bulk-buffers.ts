/** Buffers for flows that move much: as many as there are such flows, kept for the next ones. */

/** A read of at most this is no bulk: its copy costs less than a buffer of its own. */
export const smallRead: number = 16 * 1024

/** Larger ones are not all taken by a socket of ordinary buffers, and then wait for it. */
const bulkBytes = 128 * 1024
const keptMax = 16

interface Use {
  readonly buffer: Buffer
  /** Writes from it that the kernel has not all of. */
  writes: number
  /** Nobody reads into it any more. */
  left: boolean
}

class BulkBuffers {
  /** For everybody's small reads: used up before the callback of the read returns. */
  readonly shared: Buffer = Buffer.allocUnsafeSlow(64 * 1024)
  readonly #free: Buffer[] = []
  readonly #uses = new WeakMap<ArrayBufferLike, Use>()

  take(): Buffer {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const buffer = Buffer.allocUnsafeSlow(bulkBytes)
    this.#uses.set(buffer.buffer, { buffer, writes: 0, left: false })
    return buffer
  }

  /** Whether the bytes are those of a buffer from here, which is read into again. */
  has(bytes: Buffer): boolean {
    return this.#uses.has(bytes.buffer)
  }

  /** A write of these bytes waits for the kernel. */
  waits(bytes: Buffer): void {
    const use = this.#uses.get(bytes.buffer)
    if (use !== undefined) use.writes++
  }

  /** It waits no more, however it ended. */
  written(bytes: Buffer): void {
    const use = this.#uses.get(bytes.buffer)
    if (use === undefined) return
    use.writes--
    if (use.left) this.leave(use.buffer)
  }

  /** Nobody reads into it any more: it is for the next flow when nothing is written from it. */
  leave(buffer: Buffer): void {
    const use = this.#uses.get(buffer.buffer)!
    use.left = use.writes > 0
    if (!use.left && this.#free.length < keptMax) this.#free.push(buffer)
  }
}

export const bulkBuffers: BulkBuffers = new BulkBuffers()

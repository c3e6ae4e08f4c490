import { randomFillSync } from 'node:crypto'

/** W3C trace-context level 1, section 3.2.2.3: an id of zeros is no id. */
export const noTraceId = '0'.repeat(32)
export const noSpanId = '0'.repeat(16)

const poolBytes = 4096

/**
 * Random trace and span ids at the price of a substring: random bytes are drawn and made hexadecimal 4 KiB at a
 * time. Ids must differ between processes that start in the same instant, so they come from the system's
 * generator and not from `Clock.random`.
 */
export class IdPool {
  readonly #fill: (bytes: Buffer) => void
  readonly #bytes = Buffer.allocUnsafe(poolBytes)
  #hex = ''
  #next = 0

  constructor(fill: (bytes: Buffer) => void = (bytes) => void randomFillSync(bytes)) {
    this.#fill = fill
  }

  /** 32 hex digits, not all zero. */
  traceId(): string {
    for (;;) {
      const id = this.#take(32)
      if (id !== noTraceId) return id
    }
  }

  /** 16 hex digits, not all zero. */
  spanId(): string {
    for (;;) {
      const id = this.#take(16)
      if (id !== noSpanId) return id
    }
  }

  #take(digits: number): string {
    if (this.#next + digits > this.#hex.length) {
      this.#fill(this.#bytes)
      this.#hex = this.#bytes.toString('hex')
      this.#next = 0
    }
    const start = this.#next
    this.#next = start + digits
    return this.#hex.substring(start, this.#next)
  }
}

/** The ids of this process. */
export const ids = new IdPool()

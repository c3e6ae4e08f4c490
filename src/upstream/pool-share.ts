/** A pool's limits over all threads of a sidecar, and how a thread that may dial no more gets a connection from another. */
import type { Timer } from '../base/clock.ts'
import { type Cell, SharedCount, type SharedTable } from '../base/shared-table.ts'

/** How long a thread goes on using a connection that another one waits for: each change costs a handshake. */
const turnMs = 20

/** A thread that gave its turn away asks again after this, should nobody have taken it. */
const againMs = 5

/** Says something about the pool of that name to the other threads; `PoolShares` hears it there. */
export type Tell = (pool: string) => void

/** The shares of one thread. */
export class PoolShares {
  readonly table: SharedTable
  readonly tell: Tell
  readonly #shares = new Map<string, PoolShare>()

  constructor(table: SharedTable, tell: Tell) {
    this.table = table
    this.tell = tell
  }

  /** `onChance`: a connection may be free by now, or is wanted elsewhere. */
  open(name: string, onChance: () => void): PoolShare {
    const share = new PoolShare(this, name, onChance, () => this.#shares.delete(name))
    this.#shares.set(name, share)
    return share
  }

  /** Another thread wants a connection of that pool, or has given one back. */
  hear(name: string): void {
    this.#shares.get(name)?.onChance()
  }
}

export class PoolShare {
  readonly onChance: () => void
  readonly #shares: PoolShares
  readonly #name: string
  readonly #onClose: () => void
  readonly #cell: Cell
  readonly #connections: SharedCount
  readonly #waiting: SharedCount
  readonly #active: SharedCount
  /** Threads that have requests and may not dial. */
  readonly #starving: SharedCount
  #again: Timer | undefined
  #wantedSince = 0

  constructor(shares: PoolShares, name: string, onChance: () => void, onClose: () => void) {
    const { table } = shares
    this.onChance = onChance
    this.#shares = shares
    this.#name = name
    this.#onClose = onClose
    this.#cell = table.claim('counts', `pool ${name}`)
    this.#connections = new SharedCount(table, this.#cell, 0)
    this.#waiting = new SharedCount(table, this.#cell, 1)
    this.#active = new SharedCount(table, this.#cell, 2)
    this.#starving = new SharedCount(table, this.#cell, 3)
  }

  /** Requests that wait, of all threads. */
  get waiting(): number {
    return this.#waiting.total
  }

  /** Requests under way, waiting ones included, of all threads. */
  get requests(): number {
    return this.#active.total + this.#waiting.total
  }

  /** Some other thread wants a connection and this one has none to wait for. */
  get wanted(): boolean {
    return this.#starving.total > this.#starving.own
  }

  begun(): void {
    this.#active.add()
  }

  ended(): void {
    this.#active.subtract()
  }

  waits(): void {
    this.#waiting.add()
  }

  waited(): void {
    this.#waiting.subtract()
  }

  /** Before a dial: one of `max` connections. If there is none left the others hear that one is wanted. */
  take(max: number): boolean {
    if (this.#again !== undefined) return false
    if (this.#connections.tryAdd(max)) {
      this.sated()
      return true
    }
    if (this.#starving.own === 0) {
      this.#starving.add()
      this.#shares.tell(this.#name)
      // It may have become free before the others could know that it is wanted.
      if (this.#connections.tryAdd(max)) {
        this.sated()
        return true
      }
    }
    return false
  }

  /** A connection of this thread is no more. */
  give(): void {
    this.#connections.subtract()
    if (this.wanted) this.#shares.tell(this.#name)
  }

  /** This thread wants none any more. */
  sated(): void {
    if (this.#starving.own > 0) this.#starving.subtract()
  }

  /** A connection is free here. True: it is another thread's turn; it must be ended, and `give` follows. */
  yields(hasWaiting: boolean, now: number): boolean {
    if (!this.wanted) {
      this.#wantedSince = 0
      return false
    }
    if (hasWaiting) {
      if (this.#wantedSince === 0) this.#wantedSince = now
      if (now - this.#wantedSince < turnMs) return false
      // Not at once again: the one that waits has to hear of it first.
      this.#again ??= this.#shares.table.clock.after(againMs, () => {
        this.#again = undefined
        this.onChance()
      })
    }
    this.#wantedSince = 0
    return true
  }

  close(): void {
    this.#again?.cancel()
    this.sated()
    this.#onClose()
    this.#shares.table.release(this.#cell)
  }
}

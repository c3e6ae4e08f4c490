import type { Cell } from './shared-table.ts'

/**
 * Two counts over a sliding time, in memory that threads share: a ring of slots, each with the number of its time. Whoever
 * first counts in a new time empties the slot. An addition of another thread in that very moment may be lost: one in
 * a slot's whole time, at most. `now` must be one time for all threads (`threadClock`).
 */
export class SharedWindow {
  readonly #cell: Cell
  readonly #at: number
  readonly #slots: number

  /** Takes `3 * slots` words of the cell from `at` on. */
  constructor(cell: Cell, at: number, slots: number) {
    this.#cell = cell
    this.#at = at
    this.#slots = slots
  }

  add(which: 0 | 1, now: number, slotMs: number): void {
    const { words } = this.#cell
    const time = timeOf(now, slotMs)
    const at = this.#at + 3 * (time % this.#slots)
    const before = Atomics.load(words, at)
    if (before !== time && Atomics.compareExchange(words, at, before, time) === before) {
      Atomics.store(words, at + 1, 0)
      Atomics.store(words, at + 2, 0)
    }
    Atomics.add(words, at + 1 + which, 1)
  }

  sum(which: 0 | 1, now: number, slotMs: number): number {
    const { words } = this.#cell
    const time = timeOf(now, slotMs)
    let sum = 0
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = this.#at + 3 * slot
      const age = time - Atomics.load(words, at)
      if (age >= 0 && age < this.#slots) sum += Atomics.load(words, at + 1 + which)
    }
    return sum
  }

  clear(): void {
    const { words } = this.#cell
    for (let i = 0; i < 3 * this.#slots; i++) Atomics.store(words, this.#at + i, 0)
  }
}

/** From 1 on, so that an empty slot is of no time; fits 31 bits for 24 days of milliseconds and more, then begins anew. */
function timeOf(now: number, slotMs: number): number {
  return (Math.floor(now / slotMs) % 0x7fff_ffff) + 1
}

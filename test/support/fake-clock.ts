import type { Clock, Timer } from '../../src/base/clock.ts'

interface Entry {
  at: number
  readonly everyMs: number | undefined
  readonly callback: () => void
  readonly id: number
}

/** A clock that moves only when the test says so, with seeded chance. */
export class FakeClock implements Clock {
  #now = 1_000
  #id = 0
  #entries: Entry[] = []
  #seed: number
  readonly wallStart = Date.UTC(2026, 0, 1)

  constructor(seed = 1) {
    this.#seed = seed
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.wallStart + this.#now
  }

  after(ms: number, callback: () => void): Timer {
    return this.#add(ms, undefined, callback)
  }

  every(ms: number, callback: () => void): Timer {
    return this.#add(ms, ms, callback)
  }

  /** Deterministic: a mulberry32 sequence of the seed. */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  get pendingTimers(): number {
    return this.#entries.length
  }

  /** The event loop stands still for so long: what came due meanwhile fires afterwards, all of it late. */
  async stall(ms: number): Promise<void> {
    this.#now += ms
    await this.advance(0)
  }

  /** Moves time, fires what is due in order, and lets promises settle between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (;;) {
      const due = this.#entries.filter((e) => e.at <= end).sort((a, b) => a.at - b.at || a.id - b.id)[0]
      if (due === undefined) break
      this.#now = Math.max(this.#now, due.at)
      if (due.everyMs === undefined) this.#entries = this.#entries.filter((e) => e !== due)
      else due.at = this.#now + due.everyMs
      due.callback()
      await settle()
    }
    this.#now = end
    await settle()
  }

  #add(ms: number, everyMs: number | undefined, callback: () => void): Timer {
    const entry: Entry = { at: this.#now + ms, everyMs, callback, id: this.#id++ }
    this.#entries.push(entry)
    return {
      cancel: () => {
        this.#entries = this.#entries.filter((e) => e !== entry)
      },
    }
  }
}

/** Lets everything that is ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

import type { InFlight } from './in-flight.ts'

/** Below this many requests in flight nothing is shed: what then fills memory is something else. */
const shedNeverBelow = 16

/** As many requests as another limit allows, and fewer while memory is short. */
export class MemoryBound implements InFlight {
  readonly #limit: InFlight
  /** Under way in this thread: its memory is its own. */
  count = 0
  max: number
  /** Asked each time that `many` more were let in: they may all have come in one turn of the event loop. */
  onMany: (() => void) | undefined = undefined
  many = 64
  #since = 0

  constructor(limit: InFlight) {
    this.#limit = limit
    this.max = limit.max
  }

  get short(): boolean {
    return this.max < this.#limit.max
  }

  enter(): boolean {
    if (this.count >= this.max || !this.#limit.enter()) return false
    this.count++
    if (++this.#since >= this.many) {
      this.#since = 0
      this.onMany?.()
    }
    return true
  }

  leave(): void {
    this.count--
    this.#limit.leave()
  }

  /** Fewer may be under way than are now. */
  shrink(): void {
    this.max = Math.max(shedNeverBelow, Math.floor(Math.min(this.max, this.count) * 0.9))
  }

  /** More may be under way again, up to the other limit. */
  grow(): void {
    const most = this.#limit.max
    if (this.max < most) this.max = Math.min(most, this.max + Math.max(16, this.max >> 3))
  }
}

import type { Stream } from './stream.ts'

const slotsMin = 16

/**
 * The open streams of a connection by their number: open addressing, in one array that stays.
 *
 * Not a Map: where entries come and go V8 makes its table anew again and again, and once one of these lies in the old generation, all
 * that follow are made there. What a table held when it was left lives until a full collection, and everything that it leads to: half of
 * a request's CPU went there. (A Map that is changed with every request does so after the first quiet moment; one that is
 * changed with every connection costs nothing that could be measured.)
 */
export class StreamTable {
  #slots: (Stream | undefined)[] = empty(slotsMin)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(id: number): Stream | undefined {
    const slots = this.#slots
    const mask = slots.length - 1
    for (let at = (id >>> 1) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at]
      if (stream === undefined || stream.id === id) return stream
    }
  }

  /** The stream's number is not in it yet. */
  add(stream: Stream): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    put(this.#slots, stream)
    this.#size++
  }

  /** Says whether it was there. */
  delete(stream: Stream): boolean {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = (stream.id >>> 1) & mask
    while (slots[hole] !== stream) {
      if (slots[hole] === undefined) return false
      hole = (hole + 1) & mask
    }
    // Whoever was put behind it and would be looked for from before it moves up.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = slots[at]
      if (next === undefined) break
      const from = (next.id >>> 1) & mask
      if (((at - from) & mask) < ((at - hole) & mask)) continue
      slots[hole] = next
      hole = at
    }
    slots[hole] = undefined
    this.#size--
    return true
  }

  /** Those that are there now, but for those that `visit` ends before their turn, in order of their numbers. */
  visitAll(visit: (stream: Stream) => void): void {
    if (this.#size === 0) return
    const all = this.#slots.filter((slot) => slot !== undefined).sort((a, b) => a.id - b.id)
    for (const stream of all) {
      if (this.get(stream.id) === stream) visit(stream)
    }
  }

  #grow(): void {
    const grown = empty(this.#slots.length * 2)
    for (const stream of this.#slots) if (stream !== undefined) put(grown, stream)
    this.#slots = grown
  }
}

function empty(length: number): (Stream | undefined)[] {
  return Array.from({ length })
}

function put(slots: (Stream | undefined)[], stream: Stream): void {
  const mask = slots.length - 1
  let at = (stream.id >>> 1) & mask
  while (slots[at] !== undefined) at = (at + 1) & mask
  slots[at] = stream
}

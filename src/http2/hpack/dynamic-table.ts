/** The dynamic table (RFC 7541 2.3.2 and 4): first in, first out, as large as its entries' sizes add up to. Memory is taken as it fills. */

/** Bytes that an entry counts beside its name and value (RFC 7541 4.1). */
export const entryOverhead = 32

/** Of both sides until a SETTINGS frame says otherwise (RFC 9113 6.5.2). */
export const tableBytesDefault = 4096

export class DynamicTable<Entry extends { readonly size: number }> {
  bytes = 0
  bytesMax: number
  count = 0
  /** How many there ever were: the number that the next entry gets. */
  inserted = 0
  /** An entry stands at its number modulo the length, which is a power of two, or 0. */
  #ring: (Entry | undefined)[] = []

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  /** By age: 0 is the newest. */
  at(age: number): Entry | undefined {
    return age < this.count ? this.#ring[(this.inserted - 1 - age) & (this.#ring.length - 1)] : undefined
  }

  /** Evicts what must give way. False: it is larger than the whole table, which is empty now (RFC 7541 4.4). */
  add(entry: Entry): boolean {
    this.#evict(this.bytesMax - entry.size)
    if (entry.size > this.bytesMax) return false
    if (this.count === this.#ring.length) this.#grow()
    this.#ring[this.inserted & (this.#ring.length - 1)] = entry
    this.inserted++
    this.count++
    this.bytes += entry.size
    return true
  }

  resize(bytesMax: number): void {
    this.bytesMax = bytesMax
    this.#evict(bytesMax)
  }

  /** For who must know. */
  protected evicted(_entry: Entry): void {}

  #evict(bytesMax: number): void {
    while (this.bytes > bytesMax && this.count > 0) {
      const place = (this.inserted - this.count) & (this.#ring.length - 1)
      const entry = this.#ring[place]!
      this.#ring[place] = undefined
      this.count--
      this.bytes -= entry.size
      this.evicted(entry)
    }
  }

  #grow(): void {
    const old = this.#ring
    const length = Math.max(16, old.length * 2)
    const ring = Array.from<Entry | undefined>({ length })
    for (let number = this.inserted - this.count; number < this.inserted; number++) {
      ring[number & (length - 1)] = old[number & (old.length - 1)]
    }
    this.#ring = ring
  }
}

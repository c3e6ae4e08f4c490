/**
 * Maglev's lookup table (Eisenbud et al., NSDI 2016, section 3.4): even shares, and few keys move when the set changes.
 * At most 65,521 entries of two bytes, whatever the number of endpoints.
 */
export class MaglevTable {
  readonly #entries: Uint16Array

  /** `names` identify the members; their order does not matter for where a key goes. */
  constructor(names: readonly string[]) {
    const members = names.slice(0, 65_535)
    const size = primes.find((prime) => prime >= members.length * 100) ?? primes[primes.length - 1]!
    this.#entries = new Uint16Array(size)
    if (members.length === 0) return
    // The order in which members choose must not depend on the order of the list.
    const order = members.map((_, index) => index).sort((a, b) => (members[a]! < members[b]! ? -1 : 1))
    const offsets = members.map((name) => hash(name, 0) % size)
    const skips = members.map((name) => (hash(name, 0x9e3779b9) % (size - 1)) + 1)
    const next = new Uint32Array(members.length)
    const taken = new Uint8Array(size)
    for (let filled = 0; filled < size; ) {
      for (const member of order) {
        let slot = slotOf(offsets[member]!, skips[member]!, next[member]!, size)
        while (taken[slot] === 1) slot = slotOf(offsets[member]!, skips[member]!, ++next[member]!, size)
        taken[slot] = 1
        this.#entries[slot] = member
        next[member]!++
        if (++filled === size) break
      }
    }
  }

  get size(): number {
    return this.#entries.length
  }

  /** Index of the member at a slot; slots past the end wrap round. */
  at(slot: number): number {
    return this.#entries[slot % this.#entries.length]!
  }
}

/** 32 bits of a string: FNV-1a with MurmurHash3's finaliser, since FNV alone is weak in its low bits. */
export function hash(text: string, seed: number): number {
  let h = 0x811c9dc5 ^ seed
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function slotOf(offset: number, skip: number, step: number, size: number): number {
  return (offset + step * skip) % size
}

const primes = [251, 509, 1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_521]

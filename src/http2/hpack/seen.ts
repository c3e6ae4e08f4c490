/** What was said lately, remembered as hashes: whether a field is worth a place in the table is known when it comes again. */

/** 1 KiB of memory. A field that comes in every request is found again behind dozens that do not. */
const sets = 64
/** Of one set, the newest first: some that share a set must not keep each other out. */
const ways = 4

export class Seen {
  #hashes: Int32Array | undefined = undefined

  /** Whether `text` was here before for that `salt`, as far as is remembered; now it was. A wrong yes costs a place in the table. */
  again(salt: number, text: string): boolean {
    const hash = hashOf(salt, text)
    this.#hashes ??= new Int32Array(sets * ways)
    const hashes = this.#hashes
    const first = ((hash ^ (hash >>> 16)) & (sets - 1)) * ways
    for (let i = first; i < first + ways; i++) if (hashes[i] === hash) return true
    hashes.copyWithin(first + 1, first, first + ways - 1)
    hashes[first] = hash
    return false
  }
}

/** FNV-1a, of all: values often differ in one place only. */
export function hashOf(salt: number, text: string): number {
  let hash = 0x811c9dc5 ^ salt
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}

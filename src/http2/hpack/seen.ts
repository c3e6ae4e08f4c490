/** What was said lately, remembered as hashes: whether a field is worth a place in the table is known when it comes again. */

/** 1 KiB of memory. A field that comes in every request is found again behind dozens that do not. */
const slots = 256

export class Seen {
  #hashes: Int32Array | undefined = undefined

  /** Whether it was here before, as far as is remembered; now it was. A wrong yes costs a place in the table, nothing else. */
  again(name: string, value: string): boolean {
    const hash = mix(mix(0x811c9dc5, name) ^ 0xff, value)
    this.#hashes ??= new Int32Array(slots)
    const slot = (hash ^ (hash >>> 16)) & (slots - 1)
    if (this.#hashes[slot] === hash) return true
    this.#hashes[slot] = hash
    return false
  }
}

/** FNV-1a. */
function mix(hash: number, text: string): number {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}

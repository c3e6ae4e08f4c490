/**
 * The Huffman code of HPACK (RFC 7541 5.2 and appendix B). It is canonical: codes of one length follow each other in the order
 * of their bytes, shorter ones before longer ones, so that the lengths are the whole table.
 */

/** Bits of the code of each byte. */
const lengths = Uint8Array.from(
  `
    13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28
    28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
    6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6
    5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
    13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7
    7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
    15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5
    6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
    20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23
    24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
    22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23
    21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
    26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25
    19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
    20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23
    26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26`
    .trim()
    .split(/\s+/),
  Number,
)

/** EOS is all ones; nothing but its first bits may end a string, as padding. */
const eosBits = 30

const codes = new Uint32Array(256)
/** For each length: the first code, how many there are, and where their bytes begin in `byCode`. */
const firsts = new Uint32Array(eosBits + 1)
const counts = new Uint16Array(eosBits + 1)
const places = new Uint16Array(eosBits + 1)
const byCode = new Uint8Array(256)

let code = 0
let place = 0
for (let length = 1; length <= eosBits; length++) {
  code = code * 2
  firsts[length] = code
  places[length] = place
  for (let byte = 0; byte < 256; byte++) {
    if (lengths[byte] !== length) continue
    codes[byte] = code++
    byCode[place++] = byte
  }
  counts[length] = place - places[length]!
}

/** Bits that one look-up reads: two codes of 5 and 6 bits, or one of up to 12. */
const lookBits = 12
const lookMask = (1 << lookBits) - 1
/** Of a step that gives two bytes. */
const twoBytes = 2 << 24
/**
 * By the next 12 bits: first byte, second byte << 8, bits of both << 16, of the first << 20, bytes (0 to 2) << 24. Nearly all text
 * is codes of 5 to 8 bits, so that a step gives two bytes or one; none: the code is longer.
 */
const look = new Int32Array(1 << lookBits)

for (let bits = 0; bits < look.length; bits++) {
  const first = shortCode(bits, lookBits)
  if (first === -1) continue
  const used = lengths[first]!
  const second = shortCode(bits & ((1 << (lookBits - used)) - 1), lookBits - used)
  look[bits] =
    second === -1
      ? first | (used << 16) | (used << 20) | (1 << 24)
      : first | (second << 8) | ((used + lengths[second]!) << 16) | (used << 20) | (2 << 24)
}

/** The byte whose code begins these `count` bits; -1: it is longer. */
function shortCode(bits: number, count: number): number {
  for (let length = 5; length <= count; length++) {
    const offset = (bits >>> (count - length)) - firsts[length]!
    if (offset >= 0 && offset < counts[length]!) return byCode[places[length]! + offset]!
  }
  return -1
}

/** The most bytes that `bytes` coded ones can stand for, and one, since two are written at a time. */
export function huffmanRoom(bytes: number): number {
  return Math.floor((bytes * 8) / 5) + 1
}

/**
 * Decodes `bytes` [pos, end) to the beginning of `out`, which has `huffmanRoom`. Returns how many bytes it made; -1 for a string
 * that holds EOS, ends within a code, or is padded with more than 7 bits or others than ones (RFC 7541 5.2).
 */
export function huffmanDecode(bytes: Uint8Array, pos: number, end: number, out: Uint8Array): number {
  let made = 0
  /** The lowest `count` bits of it are not decoded yet. */
  let held = 0
  let count = 0
  for (;;) {
    if (count < lookBits) {
      if (pos + 1 < end) {
        held = (held << 16) | (bytes[pos]! << 8) | bytes[pos + 1]!
        pos += 2
        count += 16
      } else if (pos < end) {
        held = (held << 8) | bytes[pos++]!
        count += 8
        if (count < lookBits) break
      } else break
    }
    const step = look[(held >>> (count - lookBits)) & lookMask]!
    if (step >= twoBytes) {
      out[made] = step & 0xff
      out[made + 1] = (step >>> 8) & 0xff
      made += 2
      count -= (step >>> 16) & 0xf
    } else if (step !== 0) {
      out[made++] = step & 0xff
      count -= (step >>> 20) & 0xf
    } else {
      const byte = longCode(bytes, pos, end, held, count)
      if (byte === -1) return -1
      out[made++] = byte
      // Whole bytes that were taken from `bytes` for it, and what is left of the last.
      const more = lengths[byte]! - count
      const taken = more > 0 ? (more + 7) >>> 3 : 0
      pos += taken
      count += taken * 8 - lengths[byte]!
      if (taken > 0) held = bytes[pos - 1]!
    }
  }
  // The padding goes on as it must be, so that a look-up finds the last codes.
  while (count > 0) {
    const missing = lookBits - count
    const step = look[((held << missing) | ((1 << missing) - 1)) & lookMask]!
    const bits = (step >>> 20) & 0xf
    if (step === 0 || bits > count) break
    out[made++] = step & 0xff
    count -= bits
  }
  const ones = (1 << count) - 1
  return count < 8 && (held & ones) === ones ? made : -1
}

/** The byte whose code of more than 12 bits begins the lowest `count` bits of `held` and goes on at `pos`; -1: none. */
function longCode(bytes: Uint8Array, pos: number, end: number, held: number, count: number): number {
  let bits = 0
  for (let length = 1; length <= eosBits; length++) {
    if (count === 0) {
      if (pos >= end) return -1
      held = bytes[pos++]!
      count = 8
    }
    count--
    bits = (bits << 1) | ((held >>> count) & 1)
    const offset = bits - firsts[length]!
    if (offset >= 0 && offset < counts[length]!) return byCode[places[length]! + offset]!
  }
  return -1
}

/** Bytes of latin1 text in Huffman code. */
export function huffmanLength(text: string): number {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += lengths[text.charCodeAt(i)]!
  return (bits + 7) >>> 3
}

/** Latin1 text in Huffman code, one character per byte. */
export function huffmanEncode(text: string): string {
  let coded = ''
  let held = 0
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i)
    let length = lengths[byte]!
    let bits = codes[byte]!
    // At most 7 bits are held, so that 24 more fit.
    if (length > 24) {
      length -= 8
      const upper = bits >>> length
      held = (held << 8) | upper
      coded += String.fromCharCode((held >>> count) & 0xff)
      bits &= (1 << length) - 1
    }
    held = (held << length) | bits
    count += length
    while (count >= 8) {
      count -= 8
      coded += String.fromCharCode((held >>> count) & 0xff)
    }
  }
  // Padded with the first bits of EOS.
  if (count > 0) coded += String.fromCharCode(((held << (8 - count)) | (0xff >>> count)) & 0xff)
  return coded
}

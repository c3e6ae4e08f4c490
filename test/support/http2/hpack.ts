/**
 * HPACK (RFC 7541) as far as a test needs it, and written for tests only: what judges the engine must not be the engine's own.
 * Writes literals that are neither indexed nor compressed, and reads everything but Huffman codes of what is no printable text.
 */

export type Field = readonly [name: string, value: string]

/** An integer with a prefix of `bits` bits (5.1); `first` holds the bits above it. */
export function integer(value: number, bits: number, first = 0): Buffer {
  const max = 2 ** bits - 1
  if (value < max) return Buffer.from([first | value])
  const bytes = [first | max]
  let rest = value - max
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

/** A literal without indexing, its name new and both strings plain (6.2.2); latin1, and whatever bytes it is given. */
export function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)])
}

/** The same, added to the dynamic table (6.2.1). */
export function indexedLiteral(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40]), text(name), text(value)])
}

/** A field by its place in the tables (6.1). */
export function indexed(index: number): Buffer {
  return integer(index, 7, 0x80)
}

export function block(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => literal(name, value)))
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.length, 7), bytes])
}

/** Reads the blocks of one connection in their order. */
export class HpackReader {
  readonly #dynamic: Field[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #sizeMax = 4_096

  read(bytes: Buffer): Field[] {
    this.#bytes = bytes
    this.#at = 0
    const fields: Field[] = []
    while (this.#at < bytes.length) {
      const first = bytes[this.#at]!
      if (first & 0x80) fields.push(this.#field(this.#integer(7)))
      else if ((first & 0xe0) === 0x20) this.#resize(this.#integer(5))
      else {
        const index = this.#integer(first & 0x40 ? 6 : 4)
        const name = index === 0 ? this.#text() : this.#field(index)[0]
        const field: Field = [name, this.#text()]
        fields.push(field)
        if (first & 0x40) this.#add(field)
      }
    }
    return fields
  }

  #field(index: number): Field {
    const found = staticTable[index - 1] ?? this.#dynamic[index - staticTable.length - 1]
    if (found === undefined) throw new Error(`HPACK: nothing stands at ${index}`)
    return found
  }

  #add(field: Field): void {
    this.#dynamic.unshift(field)
    this.#resize(this.#sizeMax)
  }

  #resize(sizeMax: number): void {
    this.#sizeMax = sizeMax
    let size = 0
    const kept = this.#dynamic.findIndex(([name, value]) => (size += name.length + value.length + 32) > sizeMax)
    if (kept !== -1) this.#dynamic.length = kept
  }

  #integer(bits: number): number {
    const max = 2 ** bits - 1
    let value = this.#byte() & max
    if (value < max) return value
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte()
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new Error('HPACK: a block ends in the middle')
    return byte
  }

  #text(): string {
    const isHuffman = (this.#bytes[this.#at]! & 0x80) !== 0
    const length = this.#integer(7)
    const bytes = this.#bytes.subarray(this.#at, (this.#at += length))
    if (bytes.length !== length) throw new Error('HPACK: a string ends in the middle')
    return isHuffman ? huffman(bytes) : bytes.toString('latin1')
  }
}

/**
 * Lengths of the codes (appendix B) of all printable characters but the backslash, by length. The code is canonical: codes
 * of one length follow each other in the order of the characters. Character 0 is among them to keep its place.
 */
const codes = new Map<string, string>()
const byLength: Readonly<Record<number, string>> = {
  5: '012aceiost',
  6: ' %-./3456789=A_bdfghlmnpru',
  7: ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz',
  8: '&*,;XZ',
  10: '!"()?',
  11: "'+|",
  12: '#>',
  13: '\0$@[]~',
  14: '^}',
  15: '<`{',
}
let code = 0
let codeBits = 5
for (const [length, characters] of Object.entries(byLength)) {
  code *= 2 ** (Number(length) - codeBits)
  codeBits = Number(length)
  for (const character of characters) codes.set((code++).toString(2).padStart(codeBits, '0'), character)
}

function huffman(bytes: Buffer): string {
  let out = ''
  let bits = ''
  for (const byte of bytes) {
    for (const bit of byte.toString(2).padStart(8, '0')) {
      bits += bit
      const character = codes.get(bits)
      if (character === undefined) continue
      out += character
      bits = ''
    }
  }
  if (!/^1{0,7}$/.test(bits)) throw new Error(`HPACK: ${bits} is no code of text, behind ${JSON.stringify(out)}`)
  return out
}

/** Appendix A. */
const staticTable: readonly Field[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  ...['200', '204', '206', '304', '400', '404', '500'].map((status): Field => [':status', status]),
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...[
    'accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control',
    'content-disposition content-encoding content-language content-length content-location content-range content-type',
    'cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since',
    'last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after',
    'server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate',
  ]
    .join(' ')
    .split(' ')
    .map((name): Field => [name, '']),
]

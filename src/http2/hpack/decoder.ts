/**
 * Header blocks read (RFC 7541, RFC 9113 4.3). Strict: what the RFCs call an error is one. Work and memory are bounded by the
 * bytes of the block: a field that is only an index costs two look-ups, whatever its size, and past a limit nothing is kept.
 */
import { latin1 } from '../../base/latin1.ts'
import { chars } from '../octets.ts'
import { DynamicTable, entryOverhead, tableBytesDefault } from './dynamic-table.ts'
import { nameFault, valueFault } from './field-check.ts'
import { fieldKinds, secret } from './field-kinds.ts'
import { huffmanDecode, huffmanRoom } from './huffman.ts'
import { dynamicStart, staticFields } from './static-table.ts'

/** The connection cannot go on: COMPRESSION_ERROR (RFC 9113 4.3), since the tables of both sides may differ now. */
export class HpackError extends Error {}

interface Entry {
  readonly name: string
  readonly value: string
  /** Name, value and 32 (RFC 7541 4.1, RFC 9113 6.5.2). */
  readonly size: number
  /** Characters are looked at once, when a literal is read. */
  readonly nameFault: string | undefined
  readonly fault: string | undefined
}

const statics: readonly Entry[] = staticFields.map(([name, value]) => ({
  name,
  value,
  size: name.length + value.length + entryOverhead,
  nameFault: undefined,
  fault: undefined,
}))

/** No block holds more, and no string, index or table size of ours is larger. */
const integerBytesMax = 4
/** Strings longer than this share the memory of their block when cut from its text (V8 copies shorter ones). */
const copiedMax = 12

/** For Huffman strings, which are decoded one at a time. */
let scratch = Buffer.allocUnsafeSlow(1024)
const scratchBytesMax = 64 * 1024

export class HpackDecoder {
  /**
   * Why the block that was decoded last is malformed (RFC 9113 8.2.1): a stream error, for the tables are right either way.
   * Undefined: each field by itself is well formed.
   */
  malformed: string | undefined = undefined
  /**
   * Names of the fields of that block that came as never to be indexed: they go on so (RFC 7541 6.2.3). But for those that the
   * encoder takes for secrets anyway.
   */
  neverIndexed: Set<string> | undefined = undefined

  readonly #table: DynamicTable<Entry>
  readonly #announced: number
  /** The most that a size update may say. */
  #updateMax: number
  /** A size update must come first in the next block: the limit went below what the peer uses (RFC 7541 4.2). */
  #updateDue = false

  // Of the block that is read.
  #block: Buffer = scratch
  #start = 0
  #pos = 0
  #end = 0
  /** The whole block as text, once a literal asks for it. */
  #text: string | undefined = undefined
  #fault: string | undefined = undefined

  /** `tableBytesMax` is what our SETTINGS_HEADER_TABLE_SIZE says. A smaller one than 4096 counts from `settingsAcknowledged` on. */
  constructor(tableBytesMax = tableBytesDefault) {
    this.#announced = tableBytesMax
    this.#updateMax = Math.max(tableBytesMax, tableBytesDefault)
    this.#table = new DynamicTable(tableBytesDefault)
  }

  /** The peer knows our SETTINGS_HEADER_TABLE_SIZE. */
  settingsAcknowledged(): void {
    this.#updateMax = this.#announced
    this.#updateDue = this.#table.bytesMax > this.#announced
  }

  /**
   * Decodes the whole header block `block` [start, end) and pushes name, value, name, value ... to `fields`, as latin1 text.
   * Returns the size of the list as RFC 9113 6.5.2 counts it. Past `listBytesMax` or `fieldsMax` nothing more is pushed, but the
   * block is read to its end, for the tables' sake; the size is then above `listBytesMax`, or Infinity for too many fields.
   */
  decode(block: Buffer, start: number, end: number, fields: string[], listBytesMax: number, fieldsMax: number): number {
    this.malformed = undefined
    this.neverIndexed = undefined
    this.#block = block
    this.#start = start
    this.#pos = start
    this.#end = end
    this.#sizeUpdates()
    let size = 0
    let room = fieldsMax
    while (this.#pos < end) {
      const first = block[this.#pos++]!
      let name: string
      let value: string
      let fault: string | undefined
      if (first >= 0x80) {
        const entry = this.#entry(first === 0xff ? this.#integer(0x7f) : first & 0x7f)
        name = entry.name
        value = entry.value
        size += entry.size
        fault = entry.fault
      } else {
        if (first >= 0x20 && first < 0x40) throw new HpackError('table size update within a header block')
        const isIndexed = first >= 0x40
        const prefixMax = isIndexed ? 0x3f : 0x0f
        const prefix = first & prefixMax
        let ofName: string | undefined
        if (prefix === 0) {
          name = this.#string(true, isIndexed)
          ofName = this.#fault
        } else {
          const entry = this.#entry(prefix === prefixMax ? this.#integer(prefixMax) : prefix)
          name = entry.name
          ofName = entry.nameFault
        }
        value = this.#string(false, isIndexed)
        fault = ofName ?? this.#fault
        const own = name.length + value.length + entryOverhead
        size += own
        if (isIndexed) this.#table.add({ name, value, size: own, nameFault: ofName, fault })
        else if (first >= 0x10 && size <= listBytesMax && room > 0) this.#noteNeverIndexed(name)
      }
      if (fault !== undefined && this.malformed === undefined) this.malformed = fault
      if (size <= listBytesMax && room-- > 0) fields.push(name, value)
    }
    // Not to be kept until the next one.
    this.#block = scratch
    this.#text = undefined
    return room < 0 ? Number.POSITIVE_INFINITY : size
  }

  /** They stand before all fields, and are at most two: the smallest size in between and the last one (RFC 7541 4.2). */
  #sizeUpdates(): void {
    for (let updates = 0; this.#pos < this.#end; updates++) {
      const first = this.#block[this.#pos]!
      if (first < 0x20 || first >= 0x40) break
      if (updates === 2) throw new HpackError('more than two table size updates')
      this.#pos++
      const bytes = first === 0x3f ? this.#integer(0x1f) : first & 0x1f
      if (bytes > this.#updateMax) throw new HpackError('table size update above what was announced')
      if (bytes <= this.#announced) this.#updateDue = false
      this.#table.resize(bytes)
    }
    if (this.#updateDue) throw new HpackError('no table size update though a smaller table was announced')
  }

  #entry(index: number): Entry {
    const entry = index < dynamicStart ? statics[index - 1] : this.#table.at(index - dynamicStart)
    if (entry === undefined) throw new HpackError(index === 0 ? 'index 0' : 'index beyond the tables')
    return entry
  }

  /** The rest of an integer whose prefix is full (RFC 7541 5.1). */
  #integer(prefixMax: number): number {
    let value = prefixMax
    for (let shift = 0; shift < 7 * integerBytesMax; shift += 7) {
      if (this.#pos >= this.#end) throw new HpackError('integer without an end')
      const byte = this.#block[this.#pos++]!
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new HpackError('integer too long')
  }

  /** A string literal (RFC 7541 5.2); `#fault` says what is wrong with its characters. `isKept`: it outlives the block. */
  #string(isName: boolean, isKept: boolean): string {
    if (this.#pos >= this.#end) throw new HpackError('header block ends within a field')
    const block = this.#block
    const first = block[this.#pos++]!
    const length = (first & 0x7f) === 0x7f ? this.#integer(0x7f) : first & 0x7f
    const pos = this.#pos
    const end = pos + length
    if (end > this.#end) throw new HpackError('string longer than the header block')
    this.#pos = end
    if (first >= 0x80) return this.#huffman(pos, end, isName)
    this.#fault = isName ? nameFault(block, pos, end) : valueFault(block, pos, end)
    if (isKept && length > copiedMax) return latin1(block, pos, end)
    // One copy of the block, from which all are cut.
    this.#text ??= latin1(block, this.#start, this.#end)
    return this.#text.slice(pos - this.#start, end - this.#start)
  }

  #huffman(pos: number, end: number, isName: boolean): string {
    const room = huffmanRoom(end - pos)
    let out = scratch
    if (room > out.length) {
      out = Buffer.allocUnsafeSlow(room)
      if (room <= scratchBytesMax) scratch = out
    }
    const length = huffmanDecode(this.#block, pos, end, out)
    if (length < 0) throw new HpackError('malformed Huffman string')
    this.#fault = isName ? nameFault(out, 0, length) : valueFault(out, 0, length)
    return length > copiedMax ? latin1(out, 0, length) : shortText(out, length)
  }

  #noteNeverIndexed(name: string): void {
    if (fieldKinds.get(name) === secret) return
    this.neverIndexed ??= new Set()
    this.neverIndexed.add(name)
  }
}

/** The first `length` bytes; up to a dozen cost less here than in Node's own way to do it. */
function shortText(bytes: Buffer, length: number): string {
  let text = ''
  let i = 0
  for (; i + 4 <= length; i += 4) text += String.fromCharCode(bytes[i]!, bytes[i + 1]!, bytes[i + 2]!, bytes[i + 3]!)
  if (length - i === 3) return text + String.fromCharCode(bytes[i]!, bytes[i + 1]!, bytes[i + 2]!)
  if (length - i === 2) return text + String.fromCharCode(bytes[i]!, bytes[i + 1]!)
  return length - i === 1 ? text + chars[bytes[i]!]! : text
}

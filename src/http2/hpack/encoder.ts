/**
 * Header blocks written (RFC 7541), as latin1 text. What repeats is sent as an index: a field enters the table when it comes a
 * second time, so that what is new in every request pushes nothing out. A field that repeats costs one look-up by its name and a
 * comparison with the few values that the table has for it.
 */
import { chars } from '../octets.ts'
import { DynamicTable, entryOverhead, tableBytesDefault } from './dynamic-table.ts'
import { type FieldKind, fieldKinds, fresh, ordinary, secret } from './field-kinds.ts'
import { huffmanEncode, huffmanLength } from './huffman.ts'
import { integer } from './integer.ts'
import { hashOf, Seen } from './seen.ts'
import { dynamicStart, staticFields } from './static-table.ts'

/** First bytes of the representations (RFC 7541 6), each with the largest value of its prefix. */
const indexed = 0x80
const indexedMax = 0x7f
const literalIndexed = 0x40
const literalIndexedMax = 0x3f
const sizeUpdate = 0x20
const sizeUpdateMax = 0x1f
const literalNeverIndexed = 0x10
const literal = 0x00
const literalMax = 0x0f

/** Values of one name that the table holds at a time, and that a look-up compares. */
const valuesMax = 32
/** An entry takes no more than this part of the table. */
const partMax = 1 / 4
/** Spellings of one name that are known without being looked into: `Content-Type`, `CONTENT-TYPE`. */
const spellingsMax = 3
/** A longer string may be a part of a larger one, which it would keep (V8 copies shorter ones). */
const copiedMax = 12

interface Entry {
  readonly value: string
  /** How it is sent; '' for one of the dynamic table, whose index changes. */
  readonly code: string
}

interface DynamicEntry extends Entry {
  readonly owner: Name
  readonly size: number
  /** Its number in the dynamic table. */
  readonly number: number
}

/** A name of the static table, or one with entries in the dynamic table. */
interface Name {
  readonly name: string
  readonly kind: FieldKind
  /** Tells its values from others' where they are remembered. */
  readonly salt: number
  /** Others than `name` under which the map has it. */
  spellings: readonly string[]
  /** Of the static table; 0: it is not there. */
  readonly index: number
  readonly statics: readonly Entry[]
  /** The static ones, then those of the dynamic table, the oldest first. */
  entries: readonly (Entry | DynamicEntry)[]
}

const none: readonly never[] = []

/** Made once for all encoders, which take copies. */
const staticNames = new Map<string, Name>()
for (const [i, [name, value]] of staticFields.entries()) {
  const known = staticNames.get(name)
  const kind = fieldKinds.get(name) ?? ordinary
  const entry = { value, code: integer(indexed, indexedMax, i + 1) }
  const statics = kind === secret ? none : [...(known?.statics ?? []), entry]
  const index = known?.index ?? i + 1
  staticNames.set(name, { name, kind, salt: hashOf(0, name), spellings: none, index, statics, entries: statics })
}

class Table extends DynamicTable<DynamicEntry> {
  readonly names = new Map<string, Name>()

  indexOf(entry: DynamicEntry): number {
    return dynamicStart + this.inserted - 1 - entry.number
  }

  protected override evicted({ owner }: DynamicEntry): void {
    // Of one name, too, the oldest goes first.
    ;(owner.entries as Entry[]).splice(owner.statics.length, 1)
    if (owner.entries.length > 0 || owner.index > 0) return
    this.names.delete(owner.name)
    for (const spelling of owner.spellings) this.names.delete(spelling)
    owner.spellings = none
  }
}

export class HpackEncoder {
  readonly #ownMax: number
  readonly #table: Table
  readonly #seen = new Seen()
  /** The size that the peer's decoder goes by, and the smallest that ours had since it was told (RFC 7541 4.2). */
  #told = tableBytesDefault
  #smallest = tableBytesDefault

  /** `tableBytesMax`: the most that is used, whatever the peer allows. */
  constructor(tableBytesMax = tableBytesDefault) {
    this.#ownMax = tableBytesMax
    this.#table = new Table(tableBytesDefault)
    this.setPeerTableMax(tableBytesDefault)
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. It holds at once; the peer's decoder is told at the head of the next block. */
  setPeerTableMax(bytes: number): void {
    const max = Math.min(bytes, this.#ownMax)
    if (max < this.#smallest) this.#smallest = max
    this.#table.resize(max)
  }

  /** Must come first in each block: the size updates that are due, mostly none. */
  begin(): string {
    const max = this.#table.bytesMax
    if (max === this.#told && this.#smallest === max) return ''
    let text = ''
    if (this.#smallest < max && this.#smallest < this.#told) text = integer(sizeUpdate, sizeUpdateMax, this.#smallest)
    this.#told = max
    this.#smallest = max
    return text + integer(sizeUpdate, sizeUpdateMax, max)
  }

  /** One field, its name in any case, as latin1 text with a character for each byte. */
  field(name: string, value: string): string {
    const known = this.#table.names.get(name) ?? this.#meet(name)
    if (known === undefined) return this.#literal(undefined, name, value)
    const entries = known.entries
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]!
      if (entry.value !== value) continue
      if (entry.code !== '') return entry.code
      const index = this.#table.indexOf(entry as DynamicEntry)
      return index < indexedMax ? chars[indexed | index]! : integer(indexed, indexedMax, index)
    }
    return this.#literal(known, name, value)
  }

  /** A field that came as never to be indexed goes on so, whatever its name (RFC 7541 6.2.3). */
  neverIndexed(name: string, value: string): string {
    const known = this.#table.names.get(name) ?? this.#meet(name)
    return this.#prefix(literalNeverIndexed, literalMax, known, name.toLowerCase()) + rawString(value)
  }

  /** A static name is in the connection's map from its first use on; other spellings of a name are too. */
  #meet(name: string): Name | undefined {
    const names = this.#table.names
    const lower = name.toLowerCase()
    let known = names.get(lower)
    if (known === undefined) {
      const shared = staticNames.get(lower)
      if (shared === undefined) return undefined
      known = { ...shared }
      names.set(lower, known)
    }
    if (lower !== name && known.spellings.length < spellingsMax) {
      const spelling = copied(name)
      known.spellings = [...known.spellings, spelling]
      names.set(spelling, known)
    }
    return known
  }

  #literal(known: Name | undefined, spelling: string, value: string): string {
    const name = known?.name ?? spelling.toLowerCase()
    const kind = known?.kind ?? fieldKinds.get(name) ?? ordinary
    if (kind === secret) return this.#prefix(literalNeverIndexed, literalMax, known, name) + rawString(value)
    const size = name.length + value.length + entryOverhead
    if (size > this.#table.bytesMax * partMax || !this.#isWorth(known, kind, name, value))
      return this.#prefix(literal, literalMax, known, name) + rawString(value)
    // The name's index is that before the insertion, which may evict it (RFC 7541 4.4).
    const text = this.#prefix(literalIndexed, literalIndexedMax, known, name) + shortString(value)
    this.#insert(known, kind, name, value, size)
    return text
  }

  #isWorth(known: Name | undefined, kind: FieldKind, name: string, value: string): boolean {
    // A new name is worth it when it comes again, with any value: from then on it is an index.
    if (known === undefined) return this.#seen.again(0, name)
    return kind !== fresh && known.entries.length < valuesMax && this.#seen.again(known.salt, value)
  }

  #insert(known: Name | undefined, kind: FieldKind, name: string, value: string, size: number): void {
    const owner = known ?? newName(copied(name), kind)
    const entry = { owner, value: copied(value), code: '', size, number: this.#table.inserted }
    this.#table.add(entry)
    // After the eviction, which may have taken the name's last entry and with it the name.
    if (owner.entries === owner.statics) owner.entries = owner.statics.concat(entry)
    else (owner.entries as Entry[]).push(entry)
    if (owner.index === 0) this.#table.names.set(owner.name, owner)
  }

  /** A literal up to its value: what it is, and its name as an index if there is one. */
  #prefix(first: number, prefixMax: number, known: Name | undefined, name: string): string {
    if (known === undefined) return chars[first]! + shortString(name)
    const index =
      known.index > 0 ? known.index : this.#table.indexOf(known.entries[known.entries.length - 1] as DynamicEntry)
    return integer(first, prefixMax, index)
  }
}

function newName(name: string, kind: FieldKind): Name {
  return { name, kind, salt: hashOf(0, name), spellings: none, index: 0, statics: none, entries: none }
}

/** Raw: where a value is not kept, its few bytes less cost more than they save, at both ends. */
function rawString(text: string): string {
  return integer(0, 0x7f, text.length) + text
}

function shortString(text: string): string {
  const length = huffmanLength(text)
  return length < text.length ? integer(0x80, 0x7f, length) + huffmanEncode(text) : rawString(text)
}

function copied(text: string): string {
  return text.length > copiedMax ? Buffer.from(text, 'latin1').latin1Slice() : text
}

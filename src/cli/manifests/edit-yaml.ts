/**
 * Changes a YAML text so that it says something else, and leaves what stays the same as it was written: comments, quotes,
 * blank lines and order. Only the lines that differ are written.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  type ScalarTag,
  stringify,
  type Tags,
  visit,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'

/** kubectl reads 0644 as octal, as YAML 1.1 has it. */
const octal: ScalarTag = {
  identify: () => false,
  default: true,
  tag: 'tag:yaml.org,2002:int',
  test: /^[-+]?0[0-7]+$/,
  resolve: (text) => Number.parseInt(text, 8),
}

/** Options with which Kubernetes' YAML is read here. */
export const yamlReading = {
  merge: true,
  uniqueKeys: true,
  prettyErrors: false,
  logLevel: 'silent',
  customTags: (tags: Tags): Tags => [octal, ...tags],
} as const

interface Edit {
  readonly from: number
  readonly to: number
  readonly text: string
}

/** Something that cannot be changed in place; the whole document is written anew then. */
class Unsuited extends Error {}

/**
 * The text of one document (`document` was read from `text`, where it stands at `from` to `to`) when it says `after`.
 * What is written is read again: it says `after`, whatever the layout was.
 */
export function editYaml(text: string, document: Document, from: number, to: number, after: unknown): string {
  const before: unknown = document.toJS()
  const source = text.slice(from, to)
  try {
    if (hasAnchors(document)) throw new Unsuited()
    const edits: Edit[] = []
    new Editor(text, edits).change(document.contents, before, after, 0)
    // From the end, so that places before stay right; of two at one place the inner one, made first, ends up first.
    edits.reverse().sort((a, b) => b.from - a.from)
    let edited = source
    for (const edit of edits) edited = edited.slice(0, edit.from - from) + edit.text + edited.slice(edit.to - from)
    if (isDeepStrictEqual(parseDocument(edited, yamlReading).toJS(), after)) return edited
  } catch (error) {
    if (!(error instanceof Unsuited)) throw error
  }
  const marker = /^---[^\n]*\n/.exec(source)?.[0] ?? ''
  const isJson = source.trimStart().startsWith('{')
  return marker + (isJson ? `${JSON.stringify(after, null, 2)}\n` : block(after, 0))
}

class Editor {
  readonly #text: string
  readonly #edits: Edit[]

  constructor(text: string, edits: Edit[]) {
    this.#text = text
    this.#edits = edits
  }

  /** `indent`: column of the collection around the value. */
  change(node: unknown, before: unknown, after: unknown, indent: number): void {
    if (isDeepStrictEqual(before, after)) return
    if (isMap(node) && node.flow !== true && isRecord(before) && isRecord(after) && hasAll(after, before)) {
      this.#changeMap(node, before, after)
    } else if (isSeq(node) && node.flow !== true && Array.isArray(before) && Array.isArray(after)) {
      if (!this.#changeList(node, before, after)) this.#replace(node, after, indent)
    } else this.#replace(node, after, indent)
  }

  #changeMap(node: YAMLMap, before: Record_, after: Record_): void {
    const first = node.items[0]
    if (first === undefined) throw new Unsuited()
    const column = this.#columnOf(first.key)
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : ''
      if (Object.hasOwn(after, key)) this.#changeValue(pair, before[key], after[key], column)
    }
    const added = Object.keys(after).filter((key) => !Object.hasOwn(before, key))
    if (added.length > 0) this.#append(node, block(pick(after, added), column))
  }

  #changeValue(pair: Pair, before: unknown, after: unknown, column: number): void {
    if (isDeepStrictEqual(before, after)) return
    const value = pair.value
    // `annotations:` with nothing behind it.
    if (!isNode(value) || (isScalar(value) && value.value === null)) {
      const key = pair.key as Node
      const colon = this.#text.indexOf(':', key.range?.[1] ?? 0) + 1
      const end = isNode(value) && isScalar(value) && value.source ? (value.range?.[1] ?? colon) : colon
      this.#edits.push({ from: colon, to: Math.max(colon, end), text: inline(after, column) })
    } else if (isCollection(value) && value.flow !== true) this.change(value, before, after, column)
    else this.#edits.push({ from: this.#afterKey(pair), to: endOf(value), text: inline(after, column) })
  }

  /** Items are the same when they have the same name, or without names the same place; new ones stand before or behind. */
  #changeList(node: YAMLSeq, before: readonly unknown[], after: readonly unknown[]): boolean {
    const start = node.range?.[0] ?? 0
    const column = this.#columnAt(start)
    const first = node.items[0]
    if (first === undefined || this.#text[start] !== '-') return false
    const names = before.map(nameOf)
    const isNamed = !names.includes(undefined) && new Set(names).size === names.length
    const at = isNamed ? after.findIndex((item) => nameOf(item) === names[0]) : 0
    if (
      at === -1 ||
      !(isNamed ? names.every((name, i) => nameOf(after[at + i]) === name) : after.length === before.length)
    )
      return false
    for (const [i, item] of node.items.entries()) this.change(item, before[i], after[at + i], column + 2)
    const items = (list: readonly unknown[]): string => block(list, column)
    if (at > 0) {
      const text = `${items(after.slice(0, at)).slice(column)}${' '.repeat(column)}`
      this.#edits.push({ from: start, to: start, text })
    }
    const rest = after.slice(at + before.length)
    if (rest.length > 0) this.#append(node, items(rest))
    return true
  }

  /** Writes whole lines behind the last line of a block. */
  #append(node: Node, text: string): void {
    const end = this.#endOfBlock(node)
    const isLineEnd = end > 0 && this.#text[end - 1] === '\n'
    this.#edits.push({ from: end, to: end, text: isLineEnd ? text : `\n${text.replace(/\n$/, '')}` })
  }

  #replace(node: unknown, after: unknown, indent: number): void {
    if (!isNode(node) || !isCollection(node) || node.flow === true) throw new Unsuited()
    const start = node.range?.[0] ?? 0
    const column = this.#columnAt(start)
    if (column < indent) throw new Unsuited()
    const end = this.#endOfBlock(node)
    const isLineEnd = this.#text[end - 1] === '\n'
    const text = block(after, column).slice(column)
    this.#edits.push({ from: start, to: end, text: isLineEnd ? text : text.replace(/\n$/, '') })
  }

  #endOfBlock(node: Node): number {
    const leaf = lastLeaf(node)
    const end = endOf(leaf)
    if (this.#text[end - 1] === '\n') return end
    const newline = this.#text.indexOf('\n', end)
    return newline === -1 ? this.#text.length : newline + 1
  }

  #afterKey(pair: Pair): number {
    const key = pair.key as Node
    return this.#text.indexOf(':', key.range?.[1] ?? 0) + 1
  }

  #columnOf(node: unknown): number {
    if (!isNode(node) || node.range == null) throw new Unsuited()
    return this.#columnAt(node.range[0])
  }

  #columnAt(offset: number): number {
    return offset - (this.#text.lastIndexOf('\n', offset - 1) + 1)
  }
}

type Record_ = Readonly<Record<string, unknown>>

/** A value as a block whose lines begin at a column; words that YAML 1.1 reads as something else are quoted. */
function block(value: unknown, column: number): string {
  const text = stringify(value, { version: '1.1', lineWidth: 0, blockQuote: false, aliasDuplicateObjects: false })
  const indent = ' '.repeat(column)
  return text
    .split('\n')
    .map((line) => (line === '' ? line : indent + line))
    .join('\n')
}

/** A value behind `key:`. */
function inline(value: unknown, column: number): string {
  const isBlock = typeof value === 'object' && value !== null && Object.keys(value).length > 0
  return isBlock ? `\n${block(value, column + 2).replace(/\n$/, '')}` : ` ${block(value, 0).trim()}`
}

function lastLeaf(node: Node): Node {
  if (isCollection(node) && node.flow !== true) {
    const last = node.items.at(-1)
    if (isMap(node)) {
      const pair = last as Pair
      const value = pair.value
      return isNode(value) && value.range != null ? lastLeaf(value) : (pair.key as Node)
    }
    if (isNode(last)) return lastLeaf(last)
  }
  return node
}

function endOf(node: Node): number {
  if (node.range == null) throw new Unsuited()
  return node.range[1]
}

function hasAnchors(document: Document): boolean {
  let found = false
  visit(document, {
    Node(_key, node) {
      if (!isAlias(node) && node.anchor === undefined) return undefined
      found = true
      return visit.BREAK
    },
  })
  return found
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isCollection(value) || isAlias(value)
}

function isRecord(value: unknown): value is Record_ {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function hasAll(after: Record_, before: Record_): boolean {
  return Object.keys(before).every((key) => Object.hasOwn(after, key))
}

function pick(value: Record_, keys: readonly string[]): Record_ {
  return Object.fromEntries(keys.map((key) => [key, value[key]]))
}

function nameOf(item: unknown): string | undefined {
  return isRecord(item) && typeof item['name'] === 'string' ? item['name'] : undefined
}

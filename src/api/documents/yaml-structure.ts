// Faults of a YAML tree that the parser lets pass: they would make a document mean something else elsewhere,
// or cost more than it is worth.
import { type Alias, isAlias, isMap, isPair, isScalar, isSeq, type Node, Scalar } from 'yaml'
import type { Finding } from './problem.ts'

/** Deepest nesting of maps and lists; the deepest of our kinds has 12. */
export const nestingMax = 64

/** A finding and the offset in the text that it is about. */
export interface OffsetFinding {
  readonly offset: number
  readonly finding: Finding
}

export interface Structure {
  readonly findings: readonly OffsetFinding[]
  /** Aliases and what they stand for. */
  readonly aliases: ReadonlyMap<Alias, Node>
  /** False when values cannot be made of the tree. */
  readonly sound: boolean
}

// Keys that reach into every object of the language; no document of ours has a use for them.
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype'])

// YAML 1.1, which kubectl reads, takes these words for booleans; YAML 1.2, which we read, for text.
const ambiguous = /^(y|yes|n|no|on|off)$/i

// Tags of values that JSON has too; any other makes an object of the language.
const jsonTags = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`),
)

/** Looks at every node of one YAML document, in the order of the text. */
export function checkStructure(root: Node | null, lineOf: (offset: number) => number): Structure {
  const findings: OffsetFinding[] = []
  const aliases = new Map<Alias, Node>()
  const anchors = new Map<string, Node>()
  const open = new Set<Node>()
  let sound = true

  const tell = (node: unknown, finding: Finding) => findings.push({ offset: startOf(node), finding })
  const broken = (node: unknown, finding: Finding) => {
    tell(node, finding)
    sound = false
  }

  function visit(node: unknown, depth: number): void {
    if (isAlias(node)) {
      visitAlias(node)
      return
    }
    checkTag(node)
    if (isScalar(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node)
      warnAmbiguous(node)
      return
    }
    if (!isMap(node) && !isSeq(node)) return
    if (depth > nestingMax) {
      broken(node, { code: 'too-deep', message: `nested more than ${nestingMax} levels deep` })
      return
    }
    if (node.anchor !== undefined) anchors.set(node.anchor, node)
    open.add(node)
    if (isMap(node)) visitKeys(node.items, depth)
    else for (const item of node.items) visit(item, depth + 1)
    open.delete(node)
  }

  function checkTag(node: unknown): void {
    const tag = (node as Node | null)?.tag
    if (tag === undefined || jsonTags.has(tag)) return
    broken(node, { code: 'yaml-syntax', message: `tag ${tag} is not accepted`, expected: 'no tag' })
  }

  function visitKeys(items: readonly unknown[], depth: number): void {
    const seen = new Map<unknown, number>()
    for (const pair of items) {
      if (!isPair(pair)) continue
      const key = isScalar(pair.key) ? String(pair.key.value) : undefined
      if (key === undefined) {
        if (pair.key !== null) broken(pair.key, { code: 'yaml-syntax', message: 'a key must be plain text' })
      } else {
        checkKey(key, pair.key as Scalar, seen)
      }
      visit(pair.value, depth + 1)
    }
  }

  function checkKey(key: string, node: Scalar, seen: Map<unknown, number>): void {
    const first = seen.get(key)
    if (first !== undefined && key !== '<<') {
      tell(node, {
        code: 'duplicate-key',
        message: `key "${key}" is here a second time; the first is in line ${lineOf(first)}`,
      })
    }
    if (first === undefined) seen.set(key, startOf(node))
    if (forbiddenKeys.has(key))
      broken(node, { code: 'forbidden-key', message: `key "${key}" is not accepted anywhere` })
  }

  function visitAlias(node: Alias): void {
    const target = anchors.get(node.source)
    if (target === undefined) {
      broken(node, { code: 'alias', message: `alias *${node.source} has no anchor &${node.source} before it` })
    } else if (open.has(target)) {
      broken(node, { code: 'alias', message: `alias *${node.source} stands inside what it names: it would never end` })
    } else {
      aliases.set(node, target)
    }
  }

  function warnAmbiguous(node: Scalar): void {
    if (node.type !== Scalar.PLAIN || typeof node.value !== 'string' || !ambiguous.test(node.value)) return
    tell(node, {
      severity: 'warning',
      code: 'ambiguous-word',
      message: `kubectl reads the bare word ${node.value} as a boolean`,
      suggestion: `"${node.value}"`,
    })
  }

  visit(root, 1)
  return { findings, aliases, sound }
}

/** Offset of the first character of a node. */
export function startOf(node: unknown): number {
  return (node as Node | null | undefined)?.range?.[0] ?? 0
}

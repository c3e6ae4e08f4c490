import { type Alias, isAlias, isMap, isScalar, isSeq, type Node } from 'yaml'
import type { Path } from './problem.ts'
import { startOf } from './yaml-structure.ts'

/**
 * Offset of the value at a path: a scalar where it stands, a map or list at its key (what a reader looks for).
 * With `atKey` always the key. A path that leads nowhere ends at the nearest thing around it.
 */
export function offsetAt(root: Node | null, aliases: ReadonlyMap<Alias, Node>, path: Path, atKey = false): number {
  let node: unknown = root
  let offset = startOf(root)
  for (const [at, step] of path.entries()) {
    const next = isAlias(node) ? aliases.get(node) : node
    if (isSeq(next) && typeof step === 'number') {
      node = next.items[step]
      if (node === undefined) return offset
      offset = startOf(node)
    } else if (isMap(next)) {
      const pair = next.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (pair === undefined) return offset
      node = pair.value
      const isLast = at === path.length - 1
      offset = isLast && !atKey && isPlainValue(node) ? startOf(node) : startOf(pair.key)
    } else {
      return offset
    }
  }
  return offset
}

// An empty value has a place of its own, on the next line; its key says more.
function isPlainValue(node: unknown): boolean {
  return isAlias(node) || (isScalar(node) && node.value !== null)
}

import type { Document } from '../../src/api/documents/document.ts'
import { objectKey } from './document-key.ts'

/**
 * Gateway API's tie-break between documents of one kind: the oldest creationTimestamp first, then `NS/NAME` in
 * alphabetical order. A document without a time (one in a file) counts as younger than any with one.
 */
export function olderFirst(a: Document, b: Document): number {
  const left = createdMs(a)
  const right = createdMs(b)
  if (left !== right) return left - right
  const leftKey = objectKey(a)
  const rightKey = objectKey(b)
  return leftKey < rightKey ? -1 : leftKey > rightKey ? 1 : 0
}

function createdMs(document: Document): number {
  const created = Date.parse(document.value.metadata.creationTimestamp ?? '')
  // Not Infinity: the difference of two of these must be 0, not NaN.
  return Number.isNaN(created) ? Number.MAX_SAFE_INTEGER : created
}

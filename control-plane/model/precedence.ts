import type { Document } from '../../src/api/documents/document.ts'
import { objectKey } from './document-key.ts'

/**
 * Gateway API's tie-break between documents of one kind: the oldest creationTimestamp first, then `NS/NAME` in
 * alphabetical order. A document without a time (one in a file) counts as younger than any with one.
 */
export function olderFirst(a: Document, b: Document): number {
  return compare(rankOf(a), rankOf(b))
}

/** All of them in that order. */
export function inPrecedence(documents: Iterable<Document>): Document[] {
  // Ranks first: a sort compares each document many times.
  const ranked = Array.from(documents, (document) => ({ document, rank: rankOf(document) }))
  return ranked.sort((a, b) => compare(a.rank, b.rank)).map(({ document }) => document)
}

interface Rank {
  readonly createdMs: number
  readonly key: string
}

function rankOf(document: Document): Rank {
  const created = Date.parse(document.value.metadata.creationTimestamp ?? '')
  // Not Infinity: the difference of two of these must be 0, not NaN.
  return { createdMs: Number.isNaN(created) ? Number.MAX_SAFE_INTEGER : created, key: objectKey(document) }
}

function compare(a: Rank, b: Rank): number {
  if (a.createdMs !== b.createdMs) return a.createdMs - b.createdMs
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

import type { Kind } from '../../src/api/policy/kinds.ts'
import type { DocumentIndex, IndexedDocuments } from './document-index.ts'

/** What was made of documents and of `from`, and of which kinds its maker needed to know anything. */
export interface Derivation<T, From = unknown> {
  readonly value: T
  readonly from: From
  readonly index: IndexedDocuments
  readonly kinds: ReadonlySet<Kind>
}

/**
 * Makes something of documents and of `from`, or takes what was made before when neither `from` nor any document of a kind
 * that the maker looked at has changed. `share` makes of a new value one that has as much as it can of the one before.
 */
export function derive<T, From>(
  index: IndexedDocuments,
  from: From,
  before: Derivation<T, From> | undefined,
  make: (index: DocumentIndex, from: From) => T,
  share: (now: T, before: T) => T = (now) => now,
): Derivation<T, From> {
  if (before !== undefined && before.from === from && isSame(index, before)) return { ...before, index }
  const kinds = new Set<Kind>()
  const value = make(noting(index, kinds), from)
  return { value: before === undefined ? value : share(value, before.value), from, index, kinds }
}

function isSame(index: IndexedDocuments, before: Derivation<unknown>): boolean {
  return [...before.kinds].every((kind) => index.all(kind) === before.index.all(kind))
}

/** The index, which writes down in `kinds` of which ones it was asked. */
function noting(index: IndexedDocuments, kinds: Set<Kind>): DocumentIndex {
  return {
    all: (kind) => {
      kinds.add(kind)
      return index.all(kind)
    },
    inNamespace: (kind, namespace) => {
      kinds.add(kind)
      return index.inNamespace(kind, namespace)
    },
    find: (kind, namespace, name) => {
      kinds.add(kind)
      return index.find(kind, namespace, name)
    },
  }
}

import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import { objectKey } from './document-key.ts'
import type { Lookup } from './lookup.ts'
import { inPrecedence } from './precedence.ts'
import { sameItems, shareValues } from './sharing.ts'

/** One set of documents, by kind and name. */
export interface DocumentIndex {
  /** All of a kind in order of precedence: the winner of a conflict comes first. */
  all<K extends Kind>(kind: K): readonly DocumentOf<K>[]
  /** Those of one namespace, in the same order. */
  inNamespace<K extends Kind>(kind: K, namespace: string): readonly DocumentOf<K>[]
  find<K extends Kind>(kind: K, namespace: string, name: string): DocumentOf<K> | undefined
}

/** The documents of one kind. */
interface KindIndex {
  /** As they were given. */
  readonly given: readonly Document[]
  readonly sorted: readonly Document[]
  readonly named: ReadonlyMap<string, Document>
  readonly byNamespace: ReadonlyMap<string, readonly Document[]>
}

/** An index of a whole set; what did not change since the one before is the very same object. */
export class IndexedDocuments implements DocumentIndex {
  readonly #kinds: ReadonlyMap<Kind, KindIndex>

  /** Of two documents with the same kind, namespace and name the first counts. */
  constructor(documents: Iterable<Document>, before?: IndexedDocuments) {
    const given = new Map<Kind, Document[]>()
    for (const document of documents) {
      const known = given.get(document.kind)
      if (known === undefined) given.set(document.kind, [document])
      else known.push(document)
    }
    const known = before === undefined ? undefined : before.#kinds
    this.#kinds = new Map([...given].map(([kind, those]) => [kind, kindIndex(those, known?.get(kind))]))
  }

  all<K extends Kind>(kind: K): readonly DocumentOf<K>[] {
    return (this.#kinds.get(kind)?.sorted ?? none) as unknown as readonly DocumentOf<K>[]
  }

  inNamespace<K extends Kind>(kind: K, namespace: string): readonly DocumentOf<K>[] {
    return this.byNamespace(kind).get(namespace) ?? none
  }

  find<K extends Kind>(kind: K, namespace: string, name: string): DocumentOf<K> | undefined {
    return this.named(kind).get(`${namespace}/${name}`)
  }

  /** The lists of `inNamespace`. */
  byNamespace<K extends Kind>(kind: K): Lookup<string, readonly DocumentOf<K>[]> {
    const lists: Lookup<string, readonly Document[]> = this.#kinds.get(kind)?.byNamespace ?? nothing
    return lists as unknown as Lookup<string, readonly DocumentOf<K>[]>
  }

  /** By `NS/NAME`. */
  named<K extends Kind>(kind: K): Lookup<string, DocumentOf<K>> {
    const named: Lookup<string, Document> = this.#kinds.get(kind)?.named ?? nothing
    return named as unknown as Lookup<string, DocumentOf<K>>
  }
}

const none: readonly never[] = []
const nothing: Lookup<string, never> = new Map<string, never>()

function kindIndex(given: readonly Document[], before: KindIndex | undefined): KindIndex {
  if (before !== undefined && sameItems(given, before.given)) return before
  const named = new Map<string, Document>()
  for (const document of given) {
    const key = objectKey(document)
    if (!named.has(key)) named.set(key, document)
  }
  const sorted = inPrecedence(named.values())
  const byNamespace = Map.groupBy(sorted, (document) => document.namespace)
  return {
    given,
    sorted: before !== undefined && sameItems(sorted, before.sorted) ? before.sorted : sorted,
    named,
    byNamespace: shareValues(byNamespace, before?.byNamespace, sameItems),
  }
}

/** Indexes one set of documents: what the functions of the model work on. `before`: an index of much the same set. */
export function indexDocuments(documents: Iterable<Document>, before?: IndexedDocuments): IndexedDocuments {
  return new IndexedDocuments(documents, before)
}

import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import { objectKey } from './document-key.ts'
import { olderFirst } from './precedence.ts'

/** One set of documents, by kind and name. */
export class DocumentIndex {
  readonly #byKind = new Map<Kind, Map<string, Document>>()
  readonly #sorted = new Map<Kind, Document[]>()
  readonly #byNamespace = new Map<Kind, Map<string, Document[]>>()

  /** Of two documents with the same kind, namespace and name the first counts. */
  constructor(documents: Iterable<Document>) {
    for (const document of documents) {
      let named = this.#byKind.get(document.kind)
      if (named === undefined) this.#byKind.set(document.kind, (named = new Map<string, Document>()))
      const key = objectKey(document)
      if (!named.has(key)) named.set(key, document)
    }
    for (const [kind, named] of this.#byKind) this.#sorted.set(kind, [...named.values()].sort(olderFirst))
  }

  /** All of a kind in order of precedence: the winner of a conflict comes first. */
  all<K extends Kind>(kind: K): readonly DocumentOf<K>[] {
    return (this.#sorted.get(kind) ?? []) as unknown as readonly DocumentOf<K>[]
  }

  /** Those of one namespace, in the same order. */
  inNamespace<K extends Kind>(kind: K, namespace: string): readonly DocumentOf<K>[] {
    let named = this.#byNamespace.get(kind)
    if (named === undefined) {
      named = Map.groupBy(this.#sorted.get(kind) ?? [], (document) => document.namespace)
      this.#byNamespace.set(kind, named)
    }
    return (named.get(namespace) ?? []) as unknown as readonly DocumentOf<K>[]
  }

  find<K extends Kind>(kind: K, namespace: string, name: string): DocumentOf<K> | undefined {
    return this.#byKind.get(kind)?.get(`${namespace}/${name}`) as DocumentOf<K> | undefined
  }
}

/** Indexes one set of documents: what the functions of the model work on. */
export function indexDocuments(documents: Iterable<Document>): DocumentIndex {
  return new DocumentIndex(documents)
}

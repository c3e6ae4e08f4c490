import { closest } from '../../src/api/documents/closest.ts'
import type { Document } from '../../src/api/documents/document.ts'
import { type Path, type Problem, problemAt } from '../../src/api/documents/problem.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { DocumentIndex } from './document-index.ts'

/** What a reference names. */
export interface Wanted {
  readonly kind: Kind
  readonly namespace: string
  readonly name: string
}

/** The problem of a reference to a document that does not exist, with the one that was probably meant. */
export function dangling(index: DocumentIndex, from: Document, path: Path, wanted: Wanted): Problem {
  const { kind, namespace, name } = wanted
  const elsewhere = index.all(kind).filter((document) => document.name === name)
  const hint = elsewhere.length === 0 ? '' : ` (there is one in ${elsewhere.map((d) => d.namespace).join(', ')})`
  const here = index.all(kind).filter((document) => document.namespace === namespace)
  return problemAt(from, path, {
    code: 'dangling-reference',
    message: `${kind} ${namespace}/${name} does not exist${hint}`,
    suggestion: closest(
      name,
      here.map((document) => document.name),
    ),
  })
}

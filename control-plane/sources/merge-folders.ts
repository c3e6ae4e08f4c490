import type { Document } from '../../src/api/documents/document.ts'
import { type Problem, problemAt } from '../../src/api/documents/problem.ts'
import { documentKey } from '../model/document-key.ts'
import type { FileState } from './file-state.ts'

/** What the files of all folders say together. */
export interface MergedFolders {
  readonly documents: readonly Document[]
  /** Documents that two files of one folder define. */
  readonly problems: readonly Problem[]
}

/**
 * One set of documents out of the files of all folders (each folder's files in path order). A later folder's document
 * replaces an earlier one's; within a folder the first file wins and the second is a problem.
 */
export function mergeFolders(folders: readonly (readonly FileState[])[]): MergedFolders {
  const documents = new Map<string, Document>()
  const problems: Problem[] = []
  for (const files of folders) {
    const own = new Map<string, Document>()
    for (const document of files.flatMap((file) => file.read)) {
      const key = documentKey(document)
      const first = own.get(key)
      if (first === undefined) own.set(key, document)
      else problems.push(definedTwice(first, document))
    }
    // What is only kept gives way to what is there: the document may have moved to another file.
    for (const document of files.flatMap((file) => file.kept)) {
      if (!own.has(documentKey(document))) own.set(documentKey(document), document)
    }
    for (const [key, document] of own) documents.set(key, document)
  }
  return { documents: [...documents.values()], problems }
}

function definedTwice(first: Document, second: Document): Problem {
  const { file, line, column } = first.origin
  const named = [second.namespace, second.name].filter((part) => part !== '').join('/')
  return problemAt(second, ['metadata', 'name'], {
    code: 'duplicate-document',
    message: `${second.kind} ${named} is here a second time; the first is at ${file}:${line}:${column}`,
  })
}

import { readFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { listFolder } from '../../../control-plane/sources/folder.ts'
import type { Document } from '../../api/documents/document.ts'
import { formatProblem } from '../../api/documents/format-problem.ts'
import { loadDocuments } from '../../api/documents/load-documents.ts'

/** Documents of several folders, and what is wrong with them, one line each. */
export interface ReadDocuments {
  readonly documents: readonly Document[]
  readonly problems: readonly string[]
}

/**
 * Reads folders as the control plane does: a later folder's document replaces an earlier one's. Throws when a folder
 * cannot be read.
 */
export async function readDocuments(folders: readonly string[]): Promise<ReadDocuments> {
  const documents = new Map<string, Document>()
  const problems: string[] = []
  for (const folder of folders) {
    const listed = await listFolder(folder).catch((error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'ENOENT' ? 'does not exist' : error.code === 'ENOTDIR' ? 'is not a folder' : error.message
      throw new Error(`${folder}: ${why}; give a folder of YAML documents, such as examples/shop`)
    })
    const files = await Promise.all(
      listed.map(async ({ path }) => ({ path: relative('.', path), bytes: await readFile(path) })),
    )
    const loaded = loadDocuments(files)
    problems.push(
      ...loaded.problems.filter(({ severity }) => severity === 'error').map((problem) => formatProblem(problem)),
    )
    for (const document of loaded.documents) {
      documents.set(`${document.kind}/${document.namespace}/${document.name}`, document)
    }
  }
  return { documents: [...documents.values()], problems }
}

import { readFile } from 'node:fs/promises'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { fileBytesMax, readText } from '../../src/api/documents/read-text.ts'
import type { Reading } from './file-state.ts'
import type { FileStamp } from './folder.ts'

/** Reads one file. Undefined when it is gone; whatever else is wrong with it is a problem, not an exception. */
export async function readPolicyFile({ path, bytes }: FileStamp): Promise<Reading | undefined> {
  if (bytes > fileBytesMax) {
    const message = `the file has ${bytes} bytes; at most ${fileBytesMax} (4 MiB) are read`
    return failed(problem(path, 'file-too-large', message, 'a smaller file: split it at its "---" lines'))
  }
  try {
    const text = readText({ path, bytes: await readFile(path) })
    return typeof text === 'string' ? { ...loadDocuments([{ path, text }]), text } : failed(text)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    return failed(
      problem(path, 'unreadable', `cannot be read: ${reasonOf(error)}`, 'a file that this process may read'),
    )
  }
}

/** The problem with a folder that cannot be listed. */
export function unreadableFolder(folder: string, error: unknown): Problem {
  return problem(folder, 'unreadable', `the folder cannot be read: ${reasonOf(error)}`, 'a folder of YAML files')
}

function failed(what: Problem): Reading {
  return { documents: [], problems: [what], refused: [], unidentified: true, text: undefined }
}

function problem(file: string, code: string, message: string, expected: string): Problem {
  return { severity: 'error', code, file, line: 1, column: 1, path: '', message, expected }
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'it does not exist'
    case 'ENOTDIR':
      return 'it is not a folder'
    case 'EACCES':
    case 'EPERM':
      return 'permission denied'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

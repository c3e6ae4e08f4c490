import type { Document } from '../../src/api/documents/document.ts'
import type { LoadedDocuments } from '../../src/api/documents/load-documents.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { documentKey } from '../model/document-key.ts'

/** What one reading of one file gave. */
export interface Reading extends Readonly<LoadedDocuments> {
  /** What was read; undefined when it is no text. */
  readonly text?: string | undefined
}

/** What a file counts for: its newest reading, plus what is kept from older ones. */
export interface FileState {
  readonly read: readonly Document[]
  /** Last good versions of documents that the newest reading lacks. */
  readonly kept: readonly Document[]
  readonly problems: readonly Problem[]
  /** Monotonic milliseconds since when documents are gone without an error; undefined = none are. */
  readonly goneSinceMs: number | undefined
}

/**
 * How long documents must have been gone before it is believed. Covers the moment between an editor's truncation and
 * its write, and between the two renames of a careful save.
 */
export const goneMs = 250

/**
 * The state of a file after a reading. `reading` is undefined for a file that is not there (any more).
 *
 * A document that stood in the file and does not in the new reading was deleted, or is damaged, or the file is half
 * written. While the file has an error it stays in force until that is gone; without an error it stays for `goneMs`.
 * `isRefused` tells of a document that stands, with an error, in another file: it was moved and not deleted, and stays.
 */
export function nextFileState(
  before: FileState | undefined,
  reading: Reading | undefined,
  nowMs: number,
  isRefused: (key: string) => boolean = () => false,
): FileState {
  const read = reading?.documents ?? []
  const problems = reading?.problems ?? []
  const lost = lostDocuments(before, read)
  const settled: FileState = { read, kept: [], problems, goneSinceMs: undefined }
  if (lost.length === 0) return settled
  if (hasError(problems)) return { ...settled, kept: lost }
  const moved = lost.filter((document) => isRefused(documentKey(document)))
  if (moved.length === lost.length) return { ...settled, kept: moved }
  const goneSinceMs = before?.goneSinceMs ?? nowMs
  return nowMs - goneSinceMs >= goneMs ? { ...settled, kept: moved } : { ...settled, kept: lost, goneSinceMs }
}

/** True when one of them keeps a document out of force. */
function hasError(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === 'error')
}

function lostDocuments(before: FileState | undefined, read: readonly Document[]): Document[] {
  if (before === undefined) return []
  const keys = new Set(read.map(documentKey))
  return [...before.read, ...before.kept].filter((document) => !keys.has(documentKey(document)))
}

import type { Document } from '../../src/api/documents/document.ts'
import type { Problem } from '../../src/api/documents/problem.ts'

/** A problem that a source lives with, and since when. */
export interface HeldProblem {
  readonly problem: Problem
  /** Unix milliseconds of the first time it was seen. */
  readonly sinceMs: number
}

/** What a source says at one moment. Replaced as a whole, never changed in place. */
export interface SourceState {
  /** All that is in force: what was read last, and the last good version of what no longer reads. */
  readonly documents: readonly Document[]
  readonly problems: readonly HeldProblem[]
}

/**
 * Where documents come from. A source keeps the last good version of what it cannot read any more: it never takes
 * policy out of force because someone is in the middle of an edit.
 */
export interface Source {
  /** For logs and status: `files examples/shop`. */
  readonly name: string
  readonly current: SourceState
  /** True once the first complete reading is in `current`. */
  readonly synced: boolean
  /** Resolves when synced; rejects when there is nothing to read from. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Hears every change of `current`, until disposed. */
  subscribe(listener: (state: SourceState) => void): Disposable
}

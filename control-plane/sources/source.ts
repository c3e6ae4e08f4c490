import type { Document } from '../../src/api/documents/document.ts'
import type { Problem } from '../../src/api/documents/problem.ts'

/** A problem that is lived with, and since when. */
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
  /**
   * Those of the problems for which nothing may be published yet: something that protects does not read, and no version
   * of it is known. Only ever at the start: once it was empty it stays so.
   */
  readonly blocking: readonly Problem[]
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

/** The same problem in the next reading is the same problem: its time stands. `wallMs`: Unix milliseconds. */
export function holdProblems(
  before: readonly HeldProblem[],
  problems: readonly Problem[],
  wallMs: number,
): HeldProblem[] {
  const since = new Map(before.map((held) => [problemKey(held.problem), held.sinceMs]))
  return problems.map((problem) => ({ problem, sinceMs: since.get(problemKey(problem)) ?? wallMs }))
}

// An edit above it moves a problem to another line; it is the same one still.
function problemKey({ file, path, message }: Problem): string {
  return JSON.stringify([file, path, message])
}

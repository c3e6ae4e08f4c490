import type { Problem } from '../../api/documents/problem.ts'
import { type Code, type CodeName, codeOf, codes } from './codes.ts'

/** One finding, with its code and its place. */
export interface Message {
  readonly code: string
  readonly severity: 'error' | 'warning' | 'info'
  /** `Deployment shop/web`; '' for a whole file. */
  readonly object: string
  /** A file, or `cluster:KIND/NS/NAME`. */
  readonly file: string
  /** From 1; 0 for an object of a cluster. */
  readonly line: number
  readonly column: number
  readonly path: string
  readonly message: string
}

/** Whom a message is about, and where that stands. */
export interface Subject {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly file: string
  place(path: readonly (string | number)[]): { readonly line: number; readonly column: number }
}

/** A message about a part of an object. */
export function messageAt(subject: Subject, name: CodeName, path: readonly (string | number)[], text: string): Message {
  const { id, severity }: Code = codes[name]
  const { kind, namespace, name: own, file } = subject
  const { line, column } = subject.place(path)
  return {
    code: id,
    severity,
    object: objectText(kind, namespace, own),
    file,
    line,
    column,
    path: path.join('.'),
    message: text,
  }
}

/** A problem of documents, as a message. Its own severity stands: a field that is not known is a warning in core kinds. */
export function messageOfProblem(problem: Problem, object: string): Message {
  const { severity, file, line, column, path } = problem
  const more = [
    problem.expected === undefined ? '' : `; expected ${problem.expected}`,
    problem.suggestion === undefined ? '' : `; did you mean ${problem.suggestion}?`,
  ]
  return {
    code: codeOf(problem.code).id,
    severity,
    object,
    file,
    line,
    column,
    path,
    message: problem.message + more.join(''),
  }
}

export function objectText(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`
}

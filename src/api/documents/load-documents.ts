import type { Document, Origin } from './document.ts'
import { parseYaml } from './parse-yaml.ts'
import { type Path, type Problem, pathText } from './problem.ts'
import { type Identity, type RawDocument, readDocument } from './read-document.ts'
import { readText, type SourceFile } from './read-text.ts'

export type { SourceFile } from './read-text.ts'

export interface LoadedDocuments {
  /** Those that are in order, in the order of the files and of the text. */
  readonly documents: Document[]
  /** All that is wrong, in the order of the files and of the text. */
  readonly problems: Problem[]
  /** Documents that were left out for an error, so far as they say who they are. */
  readonly refused: Identity[]
  /** True when something was left out that does not: a whole file, or a document without kind or name. */
  readonly unidentified: boolean
}

/** Most problems told of one file: past that a person starts at the top anyway. */
export const problemsPerFileMax = 500

/**
 * Reads policy from files: YAML (so JSON too), several documents in a file, `kind: List`. Tells all problems at
 * once and never throws. A document with an error is left out; the others are returned.
 */
export function loadDocuments(files: readonly SourceFile[]): LoadedDocuments {
  const results: Results = { documents: [], refused: [], first: new Map(), unidentified: false }
  const problems: Problem[] = []
  for (const file of files) {
    const found = loadFile(file, results)
    found.sort((a, b) => a.line - b.line || a.column - b.column)
    problems.push(...found.slice(0, problemsPerFileMax))
    if (found.length > problemsPerFileMax) problems.push(tooMany(found[problemsPerFileMax]!, found.length))
  }
  const { documents, refused, unidentified } = results
  return { documents, problems, refused, unidentified }
}

interface FileDocument extends RawDocument {
  readonly faulty: boolean
}

interface Results {
  readonly documents: Document[]
  readonly refused: Identity[]
  /** Where each document stands first, by kind, namespace and name. */
  readonly first: Map<string, Origin>
  unidentified: boolean
}

function loadFile(file: SourceFile, results: Results): Problem[] {
  const text = readText(file)
  if (typeof text !== 'string') {
    results.unidentified = true
    return [text]
  }
  const { trees, problems, incomplete } = parseYaml(file.path, text)
  results.unidentified ||= incomplete
  return [
    ...problems,
    ...trees.flatMap((tree) => expandLists({ ...tree, file: file.path }).flatMap((raw) => load(raw, results))),
  ]
}

function load(raw: FileDocument, results: Results): Problem[] {
  const { document, identity, findings } = readDocument(raw)
  const problems = findings.map(({ path, atKey, finding }): Problem => {
    return { severity: 'error', ...finding, file: raw.file, ...raw.place(path, atKey), path: pathText(path) }
  })
  if (identity === undefined) {
    results.unidentified = true
    return problems
  }
  const twin = checkTwin(identity, raw, results.first)
  if (twin !== undefined) problems.push(twin)
  else if (document === undefined || raw.faulty) results.refused.push(identity)
  else results.documents.push(document)
  return problems
}

// `kubectl get -o yaml` wraps several objects in one `kind: List`.
function expandLists(raw: FileDocument): FileDocument[] {
  const list = raw.value as { kind?: unknown; apiVersion?: unknown; items?: unknown } | null
  if (list?.kind !== 'List' || list.apiVersion !== 'v1' || !Array.isArray(list.items)) return [raw]
  return list.items.map((value: unknown, at) => ({
    ...raw,
    value,
    place: (path: Path, atKey) => raw.place(['items', at, ...path], atKey && path.length > 0),
  }))
}

function checkTwin(
  { kind, namespace, name }: Identity,
  raw: RawDocument,
  first: Map<string, Origin>,
): Problem | undefined {
  const key = JSON.stringify([kind, namespace, name])
  const before = first.get(key)
  const place = raw.place(['metadata', 'name'])
  if (before === undefined) {
    first.set(key, { file: raw.file, ...place })
    return undefined
  }
  const qualified = namespace === '' ? name : `${namespace}/${name}`
  const message = `${kind} ${qualified} is here a second time; the first is at ${before.file}:${before.line}:${before.column}`
  return { severity: 'error', code: 'duplicate-document', file: raw.file, ...place, path: 'metadata.name', message }
}

function tooMany(next: Problem, count: number): Problem {
  const message = `${count - problemsPerFileMax} more problems in this file are not listed`
  return {
    severity: next.severity,
    code: 'too-many-problems',
    file: next.file,
    line: next.line,
    column: next.column,
    path: '',
    message,
  }
}

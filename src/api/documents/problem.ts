import type { Document } from './document.ts'

/** Steps from the root of a document to a value: `['spec', 'rules', 0, 'name']`. */
export type Path = readonly (string | number)[]

/** Something wrong with what a person wrote, and where. An error keeps the document out of force; a warning does not. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  /** Kebab-case word from the table in src/api/policy/README.md, stable for programs. */
  readonly code: string
  readonly file: string
  /** From 1; 0 for an object of a cluster, which has no lines. */
  readonly line: number
  /** From 1, in UTF-16 units. */
  readonly column: number
  /** `spec.rules[0].name`; empty for the whole file or document. */
  readonly path: string
  readonly message: string
  /** What would be right here. */
  readonly expected?: string | undefined
  /** One thing to write instead: the "did you mean". */
  readonly suggestion?: string | undefined
}

/** What a check says; the place comes from the document. */
export interface Finding {
  /** Default: error. */
  readonly severity?: Problem['severity']
  readonly code: string
  readonly message: string
  readonly expected?: string | undefined
  readonly suggestion?: string | undefined
}

/** A problem at a place of a document that was read: how checks over the whole model report. */
export function problemAt(document: Pick<Document, 'origin' | 'locate'>, path: Path, finding: Finding): Problem {
  return {
    severity: 'error',
    ...finding,
    file: document.origin.file,
    ...document.locate(path),
    path: pathText(path),
  }
}

/** `spec.rules[0].name`; a key that is no plain word is written `["like.this"]`. */
export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${JSON.stringify(step)}]`
  }
  return text
}

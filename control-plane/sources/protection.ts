import { closest } from '../../src/api/documents/closest.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { isKind, type Kind, kindNames } from '../../src/api/policy/kinds.ts'
import { documentKey } from '../model/document-key.ts'
import type { FileState, Reading } from './file-state.ts'

/**
 * The kinds without which more is allowed than was meant: who may call, who must show a certificate, and which workloads
 * are in the mesh at all (calls to a Pod that is unknown, or of a Namespace that is, would leave in plaintext).
 */
const protectingKinds: ReadonlySet<string> = new Set<Kind>([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'Pod',
  'Namespace',
])

/** True for a kind whose absence would allow more than was meant. */
export function protects(kind: string): boolean {
  return protectingKinds.has(kind)
}

/** Something that protects, or may, is written and not in force in any version. */
export interface Gap {
  /** Stable from one run to the next. */
  readonly id: string
  /** For people: `AuthorizationPolicy shop/deny-all`. */
  readonly what: string
  /** Where it stands and why it is refused: one of the file's own problems. */
  readonly problem: Problem
}

/**
 * What one file fails to protect. `isInForce` knows the documents of its folder in any version; `name` is the file's
 * path inside the folder.
 */
export function fileGaps(
  name: string,
  reading: Reading,
  kept: FileState['kept'],
  isInForce: (key: string) => boolean,
): Gap[] {
  const errors = reading.problems.filter(({ severity }) => severity === 'error')
  if (errors.length === 0) return []
  const parts = new Parts(reading.text)
  const gaps: Gap[] = reading.refused
    .filter((identity) => protects(identity.kind) && !isInForce(documentKey(identity)))
    .map((identity) => ({
      id: documentKey(identity),
      what: [identity.kind, [identity.namespace, identity.name].filter((part) => part !== '').join('/')].join(' '),
      problem: errors.find((error) => parts.names(error, identity)) ?? errors[0]!,
    }))
  return [
    ...gaps,
    ...twinGaps(errors),
    ...(reading.unidentified ? namelessGaps(name, reading, errors, parts, kept) : []),
  ]
}

/** What does not even say who it is: each such part is a version of one of the kept documents, or it is a gap. */
function namelessGaps(
  name: string,
  { refused }: Reading,
  errors: readonly Problem[],
  parts: Parts,
  kept: FileState['kept'],
): Gap[] {
  const sure = new Map<string, Problem>()
  const unclear = new Map<string, Problem>()
  for (const error of errors) {
    if (error.code === 'duplicate-document' || refused.some((identity) => parts.names(error, identity))) continue
    const says = parts.says(error)
    if (says !== 'other') (says === 'protects' ? sure : unclear).set(parts.at(error), error)
  }
  const refusedKeys = new Set(refused.map(documentKey))
  const spare = kept.filter((document) => !refusedKeys.has(documentKey(document)))
  const gaps: Gap[] = []
  if (sure.size > spare.filter(({ kind }) => protects(kind)).length) {
    gaps.push({
      id: `${sure.size} nameless in ${name}`,
      what: 'a policy that protects',
      problem: [...sure.values()].at(-1)!,
    })
  } else if (unclear.size > 0 && sure.size + unclear.size > spare.length) {
    const what = 'what may be a policy that protects'
    gaps.push({ id: `${unclear.size} unclear in ${name}`, what, problem: [...unclear.values()].at(-1)! })
  }
  return gaps
}

/** Of two documents with one name the second is not in force, whatever it says. */
export function twinGaps(problems: readonly Problem[]): Gap[] {
  return problems.flatMap((problem) => {
    if (problem.code !== 'duplicate-document') return []
    const [kind = '', name = ''] = problem.message.split(' ', 2)
    return protects(kind) ? [{ id: `second ${kind} ${name}`, what: `the second ${kind} ${name}`, problem }] : []
  })
}

type Says = 'protects' | 'other' | 'unclear'

/** The documents of a text that may not be YAML at all, told apart by their "---" lines. */
class Parts {
  readonly #lines: readonly string[] | undefined
  readonly #byFirstLine = new Map<number, string>()

  constructor(text: string | undefined) {
    this.#lines = text?.split(/\r\n|\n/)
  }

  /** The part in which a problem lies: a name for it that holds within this text. */
  at({ line }: Problem): string {
    return String(this.#first(line))
  }

  names({ line }: Problem, { kind, name }: { readonly kind: string; readonly name: string }): boolean {
    const part = this.#around(line)
    return part?.includes(kind) === true && part.includes(name)
  }

  says(problem: Problem): Says {
    const part = this.#around(problem.line)
    return part === undefined ? 'unclear' : kindOf(part, problem)
  }

  #first(line: number): number {
    const lines = this.#lines ?? []
    let first = Math.max(0, Math.min(line, lines.length) - 1)
    while (first > 0 && !isSeparator(lines[first]!)) first--
    return first
  }

  #around(line: number): string | undefined {
    const lines = this.#lines
    if (lines === undefined) return undefined
    const first = this.#first(line)
    let part = this.#byFirstLine.get(first)
    if (part === undefined) {
      let end = first + 1
      while (end < lines.length && !isSeparator(lines[end]!)) end++
      part = lines.slice(first, end).join('\n')
      this.#byFirstLine.set(first, part)
    }
    return part
  }
}

function isSeparator(line: string): boolean {
  return line.startsWith('---')
}

/** Which kind a document means that could not be read as one. In doubt it is unclear, and that counts as protecting. */
function kindOf(part: string, { code, path }: Problem): Says {
  const stated = [...part.matchAll(/^kind:[ \t]*["']?([A-Za-z]+)/gm)].map(([, kind]) => kind!)
  const meant = stated.map((kind) => (isKind(kind) ? kind : closest(kind, kindNames)))
  if (meant.some((kind) => kind !== undefined && protects(kind))) return 'protects'
  if (stated.length === 1 && isKind(stated[0]!)) return 'other'
  if (/\b(AuthorizationPolicy|PeerAuthentication)\b/.test(part)) return 'protects'
  if (/outrigger\.dev\//.test(part)) return 'unclear'
  if (code === 'unknown-kind' || stated.length > 0) return 'other'
  // A map of another program, in order and with nothing of a document of Kubernetes, was never a policy of ours.
  const isForeign = code === 'missing-field' && path === 'kind' && !/^(apiVersion|metadata|spec)\b/m.test(part)
  return isForeign ? 'other' : 'unclear'
}

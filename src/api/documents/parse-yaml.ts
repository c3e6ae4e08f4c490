import { Composer, isScalar, LineCounter, type Node, Parser, type YAMLError, type Document as YamlDocument } from 'yaml'
import type { Place } from './document.ts'
import type { Finding, Path, Problem } from './problem.ts'
import { offsetAt } from './yaml-place.ts'
import { checkStructure } from './yaml-structure.ts'

/** One YAML document of a file: its value, and where each part of it stands. */
export interface YamlTree {
  readonly value: unknown
  /** The tree has an error that does not keep its value from being looked at, such as a key that is there twice. */
  readonly faulty: boolean
  /** Place of a value, or of its key. */
  place(path: Path, atKey?: boolean): Place
}

export interface ParsedYaml {
  readonly trees: readonly YamlTree[]
  readonly problems: readonly Problem[]
  /** A document was left out because it could not be read. */
  readonly incomplete: boolean
}

// Aliases may stand for at most so many times what they name before it counts as a bomb.
const aliasCountMax = 100

// Past so many problems in one file no further document of it is looked at.
const giveUpAfter = 1_000

/** Reads a text of one or more YAML 1.2 documents. Never throws: what cannot be read is a problem. */
export function parseYaml(file: string, text: string): ParsedYaml {
  const counter = new LineCounter()
  const problems: Problem[] = []
  const trees: YamlTree[] = []
  let incomplete = false
  const placeOf = (offset: number): Place => {
    const { line, col } = counter.linePos(Math.min(offset, text.length))
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const tell = (offset: number, finding: Finding) =>
    problems.push({ severity: 'error', ...finding, file, ...placeOf(offset), path: '' })

  for (const document of parse(text, counter, tell)) {
    const faults = [...document.errors, ...document.warnings]
    tellSyntax(faults, text, placeOf, tell)
    const { yaml } = document.directives ?? {}
    if (yaml?.explicit && yaml.version !== '1.2') {
      tell(document.range[0], {
        code: 'yaml-syntax',
        message: `YAML ${yaml.version} is not read`,
        expected: 'YAML 1.2, without %YAML',
      })
      incomplete = true
      continue
    }
    if (problems.length > giveUpAfter) return { trees, problems, incomplete: true }
    incomplete ||= faults.length > 0
    if (faults.length > 0 || isEmpty(document)) continue
    const root = document.contents as Node
    const { findings, aliases, sound } = checkStructure(root, (offset) => placeOf(offset).line)
    for (const { offset, finding } of findings) tell(offset, finding)
    incomplete ||= !sound
    if (!sound) continue
    try {
      const faulty = findings.some(({ finding }) => (finding.severity ?? 'error') === 'error')
      const value: unknown = document.toJS({ maxAliasCount: aliasCountMax })
      trees.push({ value, faulty, place: (path, atKey) => placeOf(offsetAt(root, aliases, path, atKey)) })
    } catch (error) {
      incomplete = true
      tell(root.range?.[0] ?? 0, conversionFinding(error))
    }
  }
  return { trees, problems, incomplete }
}

// One document after the other, so that a hopeless file is given up early.
function* parse(
  text: string,
  counter: LineCounter,
  tell: (offset: number, finding: Finding) => void,
): Generator<YamlDocument.Parsed> {
  try {
    const composer = new Composer({ uniqueKeys: false, prettyErrors: false, merge: true, logLevel: 'silent' })
    yield* composer.compose(new Parser(counter.addNewLine).parse(text), true, text.length)
  } catch (error) {
    tell(0, { code: 'yaml-syntax', message: `cannot be read: ${lowerFirst(messageOf(error))}` })
  }
}

// Nothing between two "---" lines, or after the last one.
function isEmpty({ contents }: YamlDocument.Parsed): boolean {
  return contents === null || (isScalar(contents) && contents.value === null && !contents.source)
}

// One mistake often makes several errors in its line; the first says it.
function tellSyntax(
  errors: readonly YAMLError[],
  text: string,
  placeOf: (offset: number) => Place,
  tell: (offset: number, finding: Finding) => void,
): void {
  const lines = new Set<number>()
  for (const error of errors) {
    const offset = error.pos[0]
    const { line } = placeOf(offset)
    if (lines.has(line)) continue
    lines.add(line)
    tell(offset, syntaxFinding(error, text))
    // After a token that cannot stand here the rest of the document is guesswork.
    if (error.code === 'UNEXPECTED_TOKEN') return
  }
}

function syntaxFinding(error: YAMLError, text: string): Finding {
  const code = 'yaml-syntax'
  const atEnd = text.slice(error.pos[1]).trim() === ''
  const halfWritten = atEnd ? ': half-written?' : ''
  if (error.message.includes('Maximum call stack') || error.code === 'RESOURCE_EXHAUSTION') {
    return { code: 'too-deep', message: 'nested too deep to be read' }
  }
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return { code, message: 'a tab is used as indentation', expected: 'spaces' }
    case 'BLOCK_AS_IMPLICIT_KEY':
      return { code, message: 'a second ": " in one line', expected: 'quotes around a text that holds ": "' }
    case 'TAG_RESOLVE_FAILED':
      return { code, message: lowerFirst(error.message), expected: 'no tag (a word that begins with "!")' }
    case 'BAD_SCALAR_START':
      return { code, message: lowerFirst(error.message), expected: 'quotes around the text' }
    case 'MISSING_CHAR':
    case 'BAD_INDENT': {
      if (error.message.startsWith('Implicit map keys')) {
        const key = text.slice(...error.pos).trim()
        return { code, message: `"${key.slice(0, 40)}" has no ":"${halfWritten}`, expected: 'key: value' }
      }
      if (error.message.includes('quote')) return { code, message: `a quote is never closed${halfWritten}` }
      const bracket = /^Flow (?:map|sequence) .*([}\]])$/.exec(error.message)?.[1]
      if (bracket !== undefined && atEnd) return { code, message: `a closing ${bracket} is missing: half-written?` }
      return { code, message: lowerFirst(error.message) + halfWritten }
    }
    default:
      return { code, message: lowerFirst(error.message) }
  }
}

function conversionFinding(error: unknown): Finding {
  const message = messageOf(error)
  if (message.includes('Excessive alias count')) {
    return { code: 'alias', message: `aliases repeat more than ${aliasCountMax} times what they name` }
  }
  return { code: 'yaml-syntax', message: lowerFirst(message) }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

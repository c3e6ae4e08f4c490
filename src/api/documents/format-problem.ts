import { styleText } from 'node:util'
import type { Problem } from './problem.ts'

export interface FormatOptions {
  /** Text of the file: its line is shown, with a caret under the place. Default: one line without it. */
  readonly text?: string | undefined
  /** Default: false. */
  readonly colors?: boolean | undefined
}

// A wider line is cut around the caret.
const columnsMax = 120

/** `shop/x.yaml:12:7: error: message; expected ...; did you mean "...`?`, and with `text` the line under it. */
export function formatProblem(problem: Problem, { text, colors = false }: FormatOptions = {}): string {
  const paint = (style: Parameters<typeof styleText>[0], part: string) =>
    colors ? styleText(style, part, { validateStream: false }) : part
  const { file, line, column, severity } = problem
  // What does not stand in a file, an object of a cluster, has no line.
  const place = paint('bold', line === 0 ? `${file}:` : `${file}:${line}:${column}:`)
  const head = `${place} ${paint(severity === 'error' ? 'red' : 'yellow', `${severity}:`)} ${sentence(problem)}`
  const source = line === 0 ? undefined : text?.split(/\r\n|\n/, line)[line - 1]
  if (source === undefined || source.trim() === '') return head
  const { shown, caret } = cut(printable(source), column - 1)
  return `${head}\n  ${shown}\n  ${' '.repeat(caret)}${paint('green', '^')}`
}

function sentence({ message, path, expected, suggestion }: Problem): string {
  let words =
    path === '' || message.includes(`"${path}"`) ? printable(message) : `${printable(path)}: ${printable(message)}`
  if (expected !== undefined) words += `; expected ${printable(expected)}`
  if (suggestion !== undefined) words += `; did you mean ${printable(suggestion)}?`
  return words
}

// What comes from a file must not steer the terminal.
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ')
}

function cut(line: string, at: number): { shown: string; caret: number } {
  const from = at < columnsMax ? 0 : at - columnsMax / 2
  const shown = line.slice(from, from + columnsMax)
  return { shown, caret: Math.min(at - from, shown.length) }
}

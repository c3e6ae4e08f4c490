import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatProblem } from './format-problem.ts'
import { type Problem, pathText } from './problem.ts'

const problem: Problem = {
  severity: 'error',
  code: 'wrong-value',
  file: 'examples/shop/x.yaml',
  line: 2,
  column: 7,
  path: 'spec.mode',
  message: '"Enforse" is not known here',
  expected: 'one of Enforce, Shadow',
  suggestion: 'Enforce',
}
const line =
  'examples/shop/x.yaml:2:7: error: spec.mode: "Enforse" is not known here; expected one of Enforce, Shadow; did you mean Enforce?'

test('one line with the place first', () => {
  assert.equal(formatProblem(problem), line)
  assert.equal(
    formatProblem({ ...problem, severity: 'warning', path: '', expected: undefined, suggestion: undefined }),
    'examples/shop/x.yaml:2:7: warning: "Enforse" is not known here',
  )
})

test('with the text, its line and a caret under the place', () => {
  assert.equal(formatProblem(problem, { text: 'a: 1\nmode: Enforse\nb: 2\n' }), `${line}\n  mode: Enforse\n        ^`)
  assert.equal(formatProblem(problem, { text: 'a: 1\r\nmode: Enforse\r\n' }), `${line}\n  mode: Enforse\n        ^`)
  assert.equal(formatProblem(problem, { text: 'only one line' }), line)
})

test('a long line is cut around the caret', () => {
  const shown = formatProblem({ ...problem, column: 500 }, { text: `\n${'x'.repeat(499)}Y${'x'.repeat(500)}` }).split(
    '\n',
  )
  assert.equal(shown[1]!.length, 122)
  assert.equal(shown[1]![shown[2]!.indexOf('^')], 'Y')
})

test('what stands in a file cannot steer the terminal', () => {
  const shown = formatProblem(
    { ...problem, message: '\x1b[2J\nx', suggestion: '\u2028' },
    { text: '\n\x1b]0;title\x07\n' },
  )
  assert.doesNotMatch(shown.replaceAll('\n  ', ''), /[\p{Cc}\u2028]/u)
})

test('colours only when asked for', () => {
  assert.match(formatProblem(problem, { colors: true }), /\p{Cc}\[31m/u)
  assert.doesNotMatch(formatProblem(problem), /\p{Cc}/u)
})

test('paths read like JavaScript', () => {
  assert.equal(pathText(['spec', 'rules', 0, 'name']), 'spec.rules[0].name')
  assert.equal(
    pathText(['metadata', 'labels', 'kubernetes.io/service-name']),
    'metadata.labels["kubernetes.io/service-name"]',
  )
  assert.equal(pathText([]), '')
})

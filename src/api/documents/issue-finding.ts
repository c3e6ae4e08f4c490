// What zod found, in the words that a person reads.
import type { z } from 'zod'
import { expectation, type JsonSchema, schemaAt } from '../policy/json-schema.ts'
import { quote } from '../policy/quote.ts'
import { closest } from './closest.ts'
import type { Finding, Path } from './problem.ts'

/** A finding and the path that it is about. */
export interface PathFinding {
  readonly path: Path
  /** The key is meant, not its value. */
  readonly atKey: boolean
  readonly finding: Finding
}

/** zod's error map for a document: the words for each issue that the schema has no own message for. */
export function issueMessage(issue: z.core.$ZodRawIssue): string {
  if (issue.input === undefined && issue.code !== 'custom') return `missing field "${String(issue.path?.at(-1) ?? '')}"`
  switch (issue.code) {
    case 'invalid_type':
      if (issue.expected === 'int') return `${quote(issue.input)} is not a whole number`
      return typeText(issue.input)
    case 'invalid_value':
      // Of another type than all that is allowed: that is the mistake, not the value.
      return issue.values.some((value) => typeof value === typeof issue.input)
        ? `${quote(issue.input)} is not known here`
        : typeText(issue.input)
    case 'too_small':
    case 'too_big':
      return sizeText(issue)
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'this key is not accepted'
    default:
      return `${quote(issue.input)} is not accepted here`
  }
}

/** Findings of one issue; an issue with several unknown fields is several. */
export function findingsOf(issue: z.core.$ZodIssue, root: JsonSchema): PathFinding[] {
  const path = issue.path.filter((step) => typeof step !== 'symbol')
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField([...path, key], root))
  const schema = schemaAt(root, path)
  if (issue.code === 'custom') {
    const expected: unknown = issue.params?.['expected']
    const code = issue.params?.['code'] === 'not-supported' ? 'not-supported' : 'rule'
    return [
      {
        path,
        atKey: false,
        finding: { code, message: issue.message, ...(typeof expected === 'string' && { expected }) },
      },
    ]
  }
  const expected = issue.code === 'invalid_key' || schema === undefined ? undefined : expectedOf(issue.input, schema)
  const suggestion = suggest(issue.input, schema)
  return [
    {
      path,
      atKey: issue.code === 'invalid_key',
      finding: { code: codeOf(issue), message: issue.message, expected, suggestion },
    },
  ]
}

/** Fields that a similar kind has, and where the same is said of this one. */
const elsewhere: Readonly<Record<string, string>> = {
  'GRPCRoute spec.rules.timeouts': 'spec.timeouts of a BackendPolicy for the Service',
  'GRPCRoute spec.rules.retry': 'spec.retry of a BackendPolicy for the Service',
}

/** A field that the kind does not have. */
export function unknownField(path: Path, root: JsonSchema, severity: Finding['severity'] = 'error'): PathFinding {
  const name = String(path.at(-1))
  const known = Object.keys(schemaAt(root, path.slice(0, -1))?.properties ?? {})
  const suggestion = closest(name, known)
  const field = `${String(root.properties?.['kind']?.const)} ${path.filter((step) => typeof step === 'string').join('.')}`
  const expected = Object.hasOwn(elsewhere, field)
    ? elsewhere[field]
    : suggestion === undefined && known.length > 0 && known.length <= 12
      ? `one of ${known.join(', ')}`
      : undefined
  return {
    path,
    atKey: true,
    finding: { severity, code: 'unknown-field', message: `unknown field "${name}"`, expected, suggestion },
  }
}

// To say of a text that a text is expected helps nobody; the message says what is wrong with it.
function expectedOf(input: unknown, schema: JsonSchema): string | undefined {
  const words = expectation(schema)
  return typeof input === 'string' && words === 'a string' ? undefined : words
}

function codeOf(issue: z.core.$ZodIssue): string {
  if (issue.input === undefined) return 'missing-field'
  switch (issue.code) {
    case 'invalid_type':
      return 'wrong-type'
    case 'too_small':
    case 'too_big':
      return 'out-of-range'
    default:
      return 'wrong-value'
  }
}

function suggest(input: unknown, schema: JsonSchema | undefined): string | undefined {
  const words =
    schema?.enum?.filter((word) => typeof word === 'string') ??
    (typeof schema?.const === 'string' ? [schema.const] : [])
  if (typeof input === 'string') {
    const isNumber = schema?.type === 'integer' || schema?.type === 'number'
    if (isNumber && input.trim() !== '' && Number.isFinite(Number(input))) return String(Number(input))
    if (schema?.type === 'boolean' && /^(true|false)$/i.test(input)) return input.toLowerCase()
    return closest(input, words)
  }
  if (schema?.type !== 'string' || input === undefined || input === null || !isPrimitive(input)) return undefined
  // Quotes make no duration of a number: it lacks the unit.
  return words.length === 0 && schema.format !== 'duration-gep2257' ? JSON.stringify(quote(input)) : undefined
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== 'object' || value === null
}

function typeText(value: unknown): string {
  if (value === null) return 'no value'
  if (Array.isArray(value)) return 'a list stands here'
  if (typeof value === 'object') return 'a map stands here'
  return `${quote(value)} is a ${typeof value}`
}

function sizeText(issue: z.core.$ZodRawIssue<z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall>): string {
  const { input } = issue
  const limit = issue.code === 'too_big' ? `at most ${issue.maximum}` : `at least ${issue.minimum}`
  if (Array.isArray(input)) return input.length === 0 ? 'the list is empty' : `${input.length} items; ${limit}`
  if (typeof input === 'string') return input === '' ? 'the text is empty' : `${input.length} characters; ${limit}`
  return `${quote(input)} is too ${issue.code === 'too_big' ? 'large' : 'small'}`
}

import type { Path } from '../../api/documents/problem.ts'

/** A copy of a value in which something else stands at a path; what is beside it is shared. */
export function inNewValue(value: unknown, path: Path, there: unknown): unknown {
  const [step, ...rest] = path
  if (step === undefined) return there
  if (typeof step === 'number' && Array.isArray(value)) return value.with(step, inNewValue(value[step], rest, there))
  const record = (value ?? {}) as Readonly<Record<string, unknown>>
  return { ...record, [step]: inNewValue(record[step], rest, there) }
}

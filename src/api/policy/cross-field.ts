import { z } from 'zod'

/** Tells a problem of a rule: `path` is relative to the object that has the rule. */
export type Report = (message: string, path?: readonly (string | number)[], code?: 'rule' | 'not-supported') => void

/**
 * A rule over several fields of one object. zod skips the rules of an object that has any problem; this one
 * runs whenever the fields it names are themselves in order, so that all problems are listed at once.
 */
export function crossField<T extends object>(
  fields: readonly (keyof T & string)[],
  check: (value: T, report: Report) => void,
): z.core.$ZodCheck<T> {
  return z.superRefine<T>(
    (value, context) => {
      check(value, (message, path = [], code = 'rule') =>
        context.addIssue({ code: 'custom', message, path: [...path], params: { code } }),
      )
    },
    {
      when: ({ value, issues }) =>
        typeof value === 'object' &&
        value !== null &&
        !Array.isArray(value) &&
        !issues.some((issue) => spoils(issue, fields)),
    },
  )
}

// An unknown field inside a known one leaves the known one's value in order.
function spoils(issue: z.core.$ZodRawIssue, fields: readonly string[]): boolean {
  if (issue.code === 'unrecognized_keys') return false
  const first = issue.path?.[0]
  return first === undefined ? issue.code !== 'custom' : fields.includes(String(first))
}

/** How many of the named fields are set. */
export function countSet<T extends object>(value: T, fields: readonly (keyof T)[]): number {
  let count = 0
  for (const field of fields) if (value[field] !== undefined) count++
  return count
}

// What a request must look like: HTTPRoute's match, also used by FaultInjection.
import { z } from 'zod'
import { crossField } from './cross-field.ts'
import { headerName, regexFault } from './fields.ts'

/** Methods that Gateway API lets a route match. */
export const routeMethods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

const pathCharacters = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/

/** Why a literal path can never match the normal form of a request (the CRD's own rules), or undefined. */
export function pathFault(path: string): string | undefined {
  if (!path.startsWith('/')) return `path "${path}" must begin with "/"`
  const piece = ['//', '/./', '/../', '%2f', '%2F', '#'].find((text) => path.includes(text))
  if (piece !== undefined) return `path "${path}" must not contain "${piece}"`
  if (path.endsWith('/.') || path.endsWith('/..')) return `path "${path}" must not end with "." or ".."`
  if (!pathCharacters.test(path)) return `path "${path}" has a character that must be percent-encoded`
  return undefined
}

const pathMatch = z
  .strictObject({
    type: z
      .enum(['Exact', 'PathPrefix', 'RegularExpression'])
      .default('PathPrefix')
      .describe('How value is compared. PathPrefix: by path element, /a matches /a and /a/b, not /ab.'),
    value: z.string().min(1).max(1024).default('/').describe('Path without query; RE2 syntax for RegularExpression.'),
  })
  .check(
    crossField<{ type: string; value: string }>(['type', 'value'], ({ type, value }, report) => {
      const fault = type === 'RegularExpression' ? regexFault(value) : pathFault(value)
      if (fault !== undefined) report(fault, ['value'])
    }),
  )

function keyMatch<N extends z.ZodType<string>>(name: N, what: string) {
  return z
    .strictObject({
      type: z.enum(['Exact', 'RegularExpression']).default('Exact').describe('How value is compared.'),
      name: name.describe(`Name of the ${what}.`),
      value: z.string().min(1).max(4096).describe(`Value of the ${what}; RE2 syntax for RegularExpression.`),
    })
    .check(
      crossField<{ type: string; value: string }>(['type', 'value'], ({ type, value }, report) => {
        const fault = type === 'RegularExpression' ? regexFault(value) : undefined
        if (fault !== undefined) report(fault, ['value'])
      }),
    )
}

/** All of the given parts must hold. */
export const routeMatch = z
  .strictObject({
    path: pathMatch
      .optional()
      .describe('Path. Default: PathPrefix /.')
      .meta({ default: { type: 'PathPrefix', value: '/' } }),
    headers: z
      .array(keyMatch(headerName(), 'header'))
      .max(16)
      .optional()
      .describe('Request headers, all of which must match; names without case.'),
    queryParams: z
      .array(keyMatch(z.string().min(1).max(256), 'query parameter'))
      .max(16)
      .optional()
      .describe('Query parameters, all of which must match.'),
    method: z.enum(routeMethods).optional().describe('Method. Default: any.'),
  })
  .check(
    crossField<{ headers?: { name: string }[] | undefined; queryParams?: { name: string }[] | undefined }>(
      ['headers', 'queryParams'],
      ({ headers, queryParams }, report) => {
        repeated(
          headers ?? [],
          (name) => name.toLowerCase(),
          (name, at) =>
            report(`header "${name}" is matched twice; the second would never be read`, ['headers', at, 'name']),
        )
        repeated(queryParams ?? [], String, (name, at) =>
          report(`query parameter "${name}" is matched twice; the second would never be read`, [
            'queryParams',
            at,
            'name',
          ]),
        )
      },
    ),
  )

/** All of the given parts must hold. */
export type RouteMatch = z.infer<typeof routeMatch>

function repeated(
  items: readonly { name: string }[],
  key: (name: string) => string,
  found: (name: string, at: number) => void,
): void {
  const seen = new Set<string>()
  for (const [at, { name }] of items.entries()) {
    if (seen.has(key(name))) found(name, at)
    seen.add(key(name))
  }
}

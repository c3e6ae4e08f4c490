// What a request must look like: HTTPRoute's match, also used by FaultInjection; its headers by GRPCRoute, too.
import { z } from 'zod'
import { admitted, type CelRule } from './admission.ts'
import { crossField, type Report } from './cross-field.ts'
import { headerName, regexCharactersMax, regexFault } from './fields.ts'

/** Methods that Gateway API lets a route match. */
export const routeMethods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

const pathCharacters = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/
const pathCharactersInCel = JSON.stringify(pathCharacters.source)

/** Why a literal path can never match the normal form of a request (the CRD's own rules), or undefined. */
export function pathFault(path: string): string | undefined {
  if (!path.startsWith('/')) return `path "${path}" must begin with "/"`
  const piece = ['//', '/./', '/../', '%2f', '%2F', '#'].find((text) => path.includes(text))
  if (piece !== undefined) return `path "${path}" must not contain "${piece}"`
  if (path.endsWith('/.') || path.endsWith('/..')) return `path "${path}" must not end with "." or ".."`
  if (!pathCharacters.test(path)) return `path "${path}" has a character that must be percent-encoded`
  return undefined
}

const isRegex = "self.type == 'RegularExpression'"

/** The engine that the API server has reads the same RE2; how large a program comes of it only we can tell. */
const regexRules: readonly CelRule[] = [
  {
    rule: `!(${isRegex}) || self.value.size() <= ${regexCharactersMax}`,
    message: `regular expression too long; at most ${regexCharactersMax} characters are accepted`,
    fieldPath: '.value',
  },
  {
    rule: `!(${isRegex}) || ''.matches(self.value) in [true, false]`,
    message: 'regular expression refused (RE2 syntax: no back-references, no look-around)',
    fieldPath: '.value',
  },
]

const literalPath = (rule: string, message: string): CelRule => ({
  rule: `${isRegex} || ${rule}`,
  message,
  messageExpression: `'path "' + self.value + '" ${message.replace(/^path /, '')}'`,
  fieldPath: '.value',
})

const pathRules: readonly CelRule[] = [
  literalPath("self.value.startsWith('/')", 'path must begin with "/"'),
  literalPath(
    `!['//', '/./', '/../', '%2f', '%2F', '#'].exists(piece, self.value.contains(piece))`,
    'path must not contain "//", "/./", "/../", "%2f" or "#"',
  ),
  literalPath("!self.value.endsWith('/.') && !self.value.endsWith('/..')", 'path must not end with "." or ".."'),
  literalPath(
    `self.value.contains('#') || self.value.matches(${pathCharactersInCel})`,
    'path has a character that must be percent-encoded',
  ),
]

const pathMatch = admitted(
  z
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
    ),
  ...regexRules,
  ...pathRules,
)

function keyMatch<N extends z.ZodType<string>>(name: N, what: string) {
  const schema = z
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
  return admitted(schema, ...regexRules)
}

/** Header matches, all of which must hold. */
export const headerMatches = z
  .array(keyMatch(headerName(), 'header'))
  .max(16)
  .optional()
  .describe('Request headers, all of which must match; names without case.')

/** Tells of headers that a match names twice. */
export function checkHeadersOnce(headers: readonly { name: string }[] | undefined, report: Report): void {
  repeated(
    headers ?? [],
    (name) => name.toLowerCase(),
    (name, at) => report(`header "${name}" is matched twice; the second would never be read`, ['headers', at, 'name']),
  )
}

/** All of the given parts must hold. */
export const routeMatch = admitted(
  z
    .strictObject({
      path: pathMatch
        .optional()
        .describe('Path. Default: PathPrefix /.')
        .meta({ default: { type: 'PathPrefix', value: '/' } }),
      headers: headerMatches,
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
          checkHeadersOnce(headers, report)
          repeated(queryParams ?? [], String, (name, at) =>
            report(`query parameter "${name}" is matched twice; the second would never be read`, [
              'queryParams',
              at,
              'name',
            ]),
          )
        },
      ),
    ),
  {
    rule: '!has(self.headers) || self.headers.all(a, self.headers.exists_one(b, b.name.lowerAscii() == a.name.lowerAscii()))',
    message: 'a header is matched twice; the second would never be read',
    fieldPath: '.headers',
  },
  {
    rule: '!has(self.queryParams) || self.queryParams.all(a, self.queryParams.exists_one(b, b.name == a.name))',
    message: 'a query parameter is matched twice; the second would never be read',
    fieldPath: '.queryParams',
  },
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

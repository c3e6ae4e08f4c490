// HTTPRoute filters: a `type` and the sibling field of that type, as Gateway API has them.
import { z } from 'zod'
import { countSet, crossField, notSupported, type Report } from './cross-field.ts'
import { headerName, headerValue, namespaceName, objectName, port, preciseHostname } from './fields.ts'
import { quote } from './quote.ts'
import { pathFault } from './route-match.ts'

// A policy that rewrites these would make the head contradict the body that follows it (RFC 9112 section 6).
const framing = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'te', 'trailer'])

function modifiable() {
  return headerName().refine((name) => !framing.has(name.toLowerCase()) && name.toLowerCase() !== 'host', {
    error: (issue) =>
      String(issue.input).toLowerCase() === 'host'
        ? 'host is not changed by a header filter; use URLRewrite with hostname'
        : `${quote(issue.input)} belongs to the connection, not to the message; a filter cannot change it`,
  })
}

const header = z.strictObject({
  name: modifiable().describe('Header name, without case.'),
  value: headerValue().describe('Header value.'),
})

const headerModifier = z.strictObject({
  set: z.array(header).max(16).optional().describe('Headers that replace those of the same name.'),
  add: z.array(header).max(16).optional().describe('Headers that are appended.'),
  remove: z.array(modifiable()).max(16).optional().describe('Names of headers that are removed.'),
})

const rewritePath = z.string().max(1024)

const pathModifier = z
  .strictObject({
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']).describe('What is replaced.'),
    replaceFullPath: rewritePath.optional().describe('The new path, for ReplaceFullPath.'),
    replacePrefixMatch: rewritePath.optional().describe('What replaces the matched prefix, for ReplacePrefixMatch.'),
  })
  .check(
    crossField<{ type: string; replaceFullPath?: string | undefined; replacePrefixMatch?: string | undefined }>(
      ['type', 'replaceFullPath', 'replacePrefixMatch'],
      (value, report) => {
        sibling(value, { ReplaceFullPath: 'replaceFullPath', ReplacePrefixMatch: 'replacePrefixMatch' }, report)
        if (value.replaceFullPath !== undefined) checkPath(value.replaceFullPath, 'replaceFullPath', report)
        if (value.replacePrefixMatch) checkPath(value.replacePrefixMatch, 'replacePrefixMatch', report)
      },
    ),
  )

function checkPath(path: string, field: string, report: Report): void {
  const fault = pathFault(path)
  if (fault !== undefined) report(fault, [field])
}

const requestRedirect = z.strictObject({
  scheme: z.enum(['http', 'https']).optional().describe("Scheme of Location. Default: the request's own."),
  hostname: preciseHostname().optional().describe("Host of Location. Default: the request's own."),
  path: pathModifier.optional().describe("Path of Location. Default: the request's own."),
  port: port().optional().describe("Port of Location. Default: the scheme's if scheme is set, else the listener's."),
  statusCode: z
    .literal([301, 302, 303, 307, 308])
    .default(302)
    .describe('Status of the answer: 301, 302, 303, 307 or 308.'),
})

const urlRewrite = z
  .strictObject({
    hostname: preciseHostname().optional().describe('New value of Host.'),
    path: pathModifier.optional().describe('New path.'),
  })
  .refine((value) => countSet(value, ['hostname', 'path']) > 0, { error: 'set hostname, path or both' })

/** A Service and its port. */
export const backendObjectReference = z.strictObject({
  group: z.literal('').default('').describe('API group; only "" (core).'),
  kind: z.literal('Service').default('Service').describe('Kind; only Service.'),
  name: objectName().describe('Name of the Service.'),
  namespace: namespaceName().optional().describe("Namespace of the Service. Default: the route's own."),
  port: port().describe('Port of the Service.'),
})

const requestMirror = z
  .strictObject({
    backendRef: backendObjectReference.describe('Where the copies go. Their answers are thrown away.'),
    percent: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .describe('Share of requests that are copied, in percent. Default: 100.'),
    fraction: z
      .strictObject({
        numerator: z.int().min(0).describe('Copied requests ...'),
        denominator: z.int().min(1).default(100).describe('... of so many.'),
      })
      .refine(({ numerator, denominator }) => numerator <= denominator, {
        error: 'numerator must not be larger than denominator',
      })
      .optional()
      .describe('Share of requests that are copied, as a fraction.'),
  })
  .check(
    crossField<{ percent?: number | undefined; fraction?: object | undefined }>(
      ['percent', 'fraction'],
      (value, report) => {
        if (countSet(value, ['percent', 'fraction']) > 1) report('set percent or fraction, not both')
      },
    ),
  )

const extensionRef = z.strictObject({
  group: z.literal('outrigger.dev').describe('Always outrigger.dev.'),
  kind: z.literal('FaultInjection').describe('Always FaultInjection.'),
  name: objectName().describe("Name of the FaultInjection, in the route's own namespace."),
})

const siblings = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
  ExtensionRef: 'extensionRef',
} as const

/** Type of a filter. */
export type RouteFilterType = keyof typeof siblings

const types = Object.keys(siblings) as [RouteFilterType, ...RouteFilterType[]]

const filterShape = {
  type: z
    .enum(types, {
      error: (issue) =>
        issue.input === 'CORS' || issue.input === 'ExternalAuth'
          ? `filter ${quote(issue.input)} is not supported yet`
          : undefined,
    })
    .describe('Which filter; the field of the same name holds its settings.'),
  requestHeaderModifier: headerModifier.optional().describe('Changes headers of the request.'),
  responseHeaderModifier: headerModifier.optional().describe('Changes headers of the response.'),
  requestRedirect: requestRedirect.optional().describe('Answers with a redirect.'),
  urlRewrite: urlRewrite.optional().describe('Changes host and path of the request.'),
  requestMirror: requestMirror.optional().describe('Copies requests to another Service.'),
  extensionRef: extensionRef.optional().describe('Applies a FaultInjection to the rule.'),
  cors: notSupported('cors is not supported yet'),
  externalAuth: notSupported('externalAuth is not supported yet'),
}

/** One filter of a rule or of a backend. */
export const routeFilter = z
  .strictObject(filterShape)
  .check(
    crossField<FilterFields>(['type', ...Object.values(siblings)], (value, report) => sibling(value, siblings, report)),
  )

type FilterFields = { type: RouteFilterType } & Partial<Record<(typeof siblings)[RouteFilterType], unknown>>

/** One filter of a rule or of a backend. */
export type RouteFilter = z.infer<typeof routeFilter>

function sibling(value: { type: string }, fields: Readonly<Record<string, string>>, report: Report): void {
  const settings = value as Readonly<Record<string, unknown>>
  const own = fields[value.type]!
  if (settings[own] === undefined) report(`type ${value.type} needs the field ${own}`)
  for (const other of Object.values(fields)) {
    if (other !== own && settings[other] !== undefined)
      report(`${other} does not belong to type ${value.type}`, [other])
  }
}

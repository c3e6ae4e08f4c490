// Filters of HTTPRoute and GRPCRoute: a `type` and the sibling field of that type, as Gateway API has them.
import { z } from 'zod'
import { countSet, crossField, type Report } from './cross-field.ts'
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

/** API group and kind of an object, as Gateway API lets them be written. */
export const objectType = {
  group: z
    .string()
    .max(253)
    .regex(/^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/, {
      error: (issue) => `${quote(issue.input)} is not an API group`,
    }),
  kind: z
    .string()
    .min(1)
    .max(63)
    .regex(/^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/, { error: (issue) => `${quote(issue.input)} is not a kind` }),
}

/** Whether a reference names a Service. */
export function isServiceRef({ group, kind }: { readonly group: string; readonly kind: string }): boolean {
  return kind === 'Service' && (group === '' || group === 'core')
}

/** What a backend is. Only a Service is one here; what else a Gateway may send to is read, and is no backend. */
export const backendReferenceFields = {
  group: objectType.group.default('').describe('API group; "" (core) for a Service.'),
  kind: objectType.kind.default('Service').describe('Kind; the mesh sends to Services only.'),
  name: objectName().describe('Name of the Service.'),
  namespace: namespaceName().optional().describe("Namespace of the Service. Default: the route's own."),
  port: port().optional().describe('Port of the Service; needed.'),
}

/** A Service has ports, of which one is meant; other kinds may have none. */
export const servicePortNeeded = crossField<{ group: string; kind: string; port?: number | undefined }>(
  ['group', 'kind', 'port'],
  (ref, report) => {
    if (isServiceRef(ref) && ref.port === undefined) report('a Service needs its port', ['port'])
  },
)

/** A Service and its port. */
const backendObjectReference = z.strictObject(backendReferenceFields).check(servicePortNeeded)

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
  group: objectType.group.describe('outrigger.dev; other groups are for other implementations.'),
  kind: objectType.kind.describe('FaultInjection.'),
  name: objectName().describe("Name of the FaultInjection, in the route's own namespace."),
})

/** Settings of a filter that other implementations have: for a Gateway they are read, for a Service refused. */
const otherwhere = z.unknown()

const siblings = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
  ExtensionRef: 'extensionRef',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
} as const

/** Filters that the mesh does not have: a route that asks for one is not taken for a Service. */
export const missingFilters: ReadonlySet<RouteFilterType> = new Set(['CORS', 'ExternalAuth'])

/** Type of a filter. */
export type RouteFilterType = keyof typeof siblings

const types = Object.keys(siblings) as [RouteFilterType, ...RouteFilterType[]]

const filterShape = {
  type: z.enum(types).describe('Which filter; the field of the same name holds its settings.'),
  requestHeaderModifier: headerModifier.optional().describe('Changes headers of the request.'),
  responseHeaderModifier: headerModifier.optional().describe('Changes headers of the response.'),
  requestRedirect: requestRedirect.optional().describe('Answers with a redirect.'),
  urlRewrite: urlRewrite.optional().describe('Changes host and path of the request.'),
  requestMirror: requestMirror.optional().describe('Copies requests to another Service.'),
  extensionRef: extensionRef.optional().describe('Applies a FaultInjection to the rule.'),
  cors: otherwhere.optional().describe('Not supported for a Service: refused there.'),
  externalAuth: otherwhere.optional().describe('Not supported for a Service: refused there.'),
}

/** One filter of a rule or of a backend. */
export const routeFilter = z
  .strictObject(filterShape)
  .check(
    crossField<FilterFields>(['type', ...Object.values(siblings)], (value, report) => sibling(value, siblings, report)),
  )

/** Of a GRPCRoute: what acts on gRPC requests alone, or on any. */
const grpcSiblings = {
  RequestHeaderModifier: siblings.RequestHeaderModifier,
  ResponseHeaderModifier: siblings.ResponseHeaderModifier,
  RequestMirror: siblings.RequestMirror,
  ExtensionRef: siblings.ExtensionRef,
} as const

const grpcTypes = Object.keys(grpcSiblings) as [keyof typeof grpcSiblings, ...(keyof typeof grpcSiblings)[]]

const {
  requestHeaderModifier,
  responseHeaderModifier,
  requestMirror: mirrorField,
  extensionRef: extensionField,
} = filterShape

/** One filter of a rule or of a backend of a GRPCRoute; it says the same as in an HTTPRoute. */
export const grpcRouteFilter = z
  .strictObject({
    type: z.enum(grpcTypes).describe('Which filter; the field of the same name holds its settings.'),
    requestHeaderModifier,
    responseHeaderModifier,
    requestMirror: mirrorField,
    extensionRef: extensionField,
  })
  .check(
    crossField<FilterFields>(['type', ...Object.values(grpcSiblings)], (value, report) =>
      sibling(value, grpcSiblings, report),
    ),
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

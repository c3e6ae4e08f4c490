// What a gRPC request must look like: GRPCRoute's match. Its path is always `/SERVICE/METHOD` (gRPC over HTTP/2, "Requests").
import { z } from 'zod'
import { crossField, type Report } from './cross-field.ts'
import { regexCharactersMax, regexFault } from './fields.ts'
import { quote } from './quote.ts'
import { checkHeadersOnce, headerMatches } from './route-match.ts'

// The CRD's own patterns, as words of protobuf: a service with its package, a method.
const serviceName = /^\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$/i
const methodName = /^[A-Za-z_][A-Za-z_0-9]*$/

const partMax = 1024

/** Service and method as they are written in a match. An empty one is any, as one that is left out. */
interface MethodFields {
  readonly type: 'Exact' | 'RegularExpression'
  readonly service?: string | undefined
  readonly method?: string | undefined
}

const methodMatch = z
  .strictObject({
    type: z
      .enum(['Exact', 'RegularExpression'])
      .default('Exact')
      .describe('How service and method are compared, each as a whole and with case.'),
    service: z
      .string()
      .max(partMax)
      .optional()
      .describe('Service with its package, such as shop.v1.Orders; RE2 syntax for RegularExpression. Default: any.'),
    method: z
      .string()
      .max(partMax)
      .optional()
      .describe('Method, such as GetOrder; RE2 syntax for RegularExpression. Default: any.'),
  })
  .check(
    crossField<MethodFields>(['type', 'service', 'method'], (value, report) => {
      const { type, service = '', method = '' } = value
      if (service === '' && method === '') report('set service, method or both')
      else if (type === 'Exact') checkNames(value, report)
      else checkExpressions(value, report)
    }),
  )

/** All of the given parts must hold. */
export const grpcMatch = z
  .strictObject({
    method: methodMatch.optional().describe('Service and method. Default: any.'),
    headers: headerMatches,
  })
  .check(
    crossField<{ headers?: { name: string }[] | undefined }>(['headers'], ({ headers }, report) =>
      checkHeadersOnce(headers, report),
    ),
  )

/** All of the given parts must hold. */
export type GrpcMatch = z.infer<typeof grpcMatch>

function checkNames({ service, method }: MethodFields, report: Report): void {
  if (service !== undefined && !serviceName.test(service)) {
    const hint = service.includes('/') ? '; what follows the slash goes into method' : ''
    report(`${quote(service)} is not a service such as shop.v1.Orders${hint}`, ['service'])
  }
  if (method !== undefined && !methodName.test(method)) {
    const hint = method.includes('/') ? '; what stands before the slash goes into service' : ''
    report(`${quote(method)} is not a method such as GetOrder${hint}`, ['method'])
  }
}

function checkExpressions({ service = '', method = '' }: MethodFields, report: Report): void {
  const faults = { service: partFault(service), method: partFault(method) }
  for (const [part, fault] of Object.entries(faults)) if (fault !== undefined) report(fault, [part])
  if (faults.service !== undefined || faults.method !== undefined) return
  const fault = regexFault(pathExpression({ service, method }), 2 * regexCharactersMax + 64)
  if (fault !== undefined) report(`service and method together: ${fault}`)
}

function partFault(expression: string): string | undefined {
  return expression === '' ? undefined : regexFault(expression)
}

/** RE2 for the path of the requests whose service and method meet the expressions; '' = any. */
export function pathExpression({ service, method }: { readonly service: string; readonly method: string }): string {
  return `/${partExpression(service)}/${partExpression(method)}`
}

/**
 * Each part is compared as a whole, so `^` in front (of flags, too) and `$` at the end say nothing; in the middle of a path
 * they would never hold.
 */
function partExpression(expression: string): string {
  if (expression === '') return '[^/]+'
  const [, flags = '', rest = ''] = /^(\(\?[a-zA-Z]+\))?\^?(.*)$/s.exec(expression) ?? []
  const [end, backslashes = ''] = /(\\*)\$$/.exec(rest) ?? ['']
  const isAnchor = end !== '' && backslashes.length % 2 === 0
  return `(?:${flags}${isAnchor ? rest.slice(0, -1) : rest})`
}

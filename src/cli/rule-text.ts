/** Rules of routes in words. Their shape is protobuf's JSON of src/api/outrigger.proto, as sidecars and models have them. */
import { visible } from '../telemetry/printable.ts'

/** The policy that decided. */
export interface Ref {
  readonly kind?: string
  readonly namespace?: string
  readonly name?: string
  readonly version?: string
}

/** One rule of a route. */
export interface Rule {
  readonly ref?: Ref
  readonly name?: string
  readonly port?: number
  readonly consumerNamespace?: string
  readonly matches?: readonly Match[]
  readonly backends?: readonly {
    readonly namespace?: string
    readonly name?: string
    readonly port?: number
    readonly weight?: number
    readonly invalid?: string
  }[]
  readonly retry?: { readonly retries?: number }
  readonly requestTimeoutMs?: number
  readonly backendRequestTimeoutMs?: number
  readonly faults?: readonly { readonly ref?: Ref }[]
}

/** One alternative of a rule. */
export interface Match {
  readonly pathType?: string
  readonly path?: string
  readonly method?: string
  readonly headers?: readonly { readonly name?: string; readonly value?: string }[]
  readonly query?: readonly { readonly name?: string; readonly value?: string }[]
  /** Of a GRPCRoute. */
  readonly grpc?: { readonly serviceCharacters?: number; readonly methodCharacters?: number }
}

export function matchText({ matches = [] }: Pick<Rule, 'matches'>): string {
  const texts = matches.map(({ pathType, path = '', method = '', headers = [], query = [], grpc }) => {
    const word = { STRING_MATCH_TYPE_EXACT: '= ', STRING_MATCH_TYPE_REGEX: '~ ' }[pathType ?? ''] ?? ''
    const isAny = path === '' || (path === '/' && word === '')
    const where =
      (grpc === undefined ? '' : 'gRPC ') +
      (isAny ? `any ${grpc === undefined ? 'path' : 'method'}` : `${word}${path}${word === '' ? '*' : ''}`)
    const heads = headers.map(({ name, value }) => `${name}: ${value}`)
    const queries = query.map(({ name, value }) => `?${name}=${value}`)
    return [method, where, ...heads, ...queries].filter((part) => part !== '').join(' ')
  })
  return visible(texts.join(' | ') || 'any path', 200)
}

export function backendText({ backends = [], matches = [] }: Rule): string {
  if (backends.length === 0) return 'nothing'
  const total = backends.reduce((sum, { weight = 0 }) => sum + weight, 0)
  const refusal = matches.some(({ grpc }) => grpc !== undefined) ? 'UNAVAILABLE' : '500'
  return backends
    .map(({ namespace, name, port, weight = 0, invalid = '' }) => {
      const share = backends.length === 1 || total === 0 ? '' : ` ${Math.round((weight * 100) / total)} %`
      return `${namespace}/${name}${port === undefined ? '' : `:${port}`}${share}${invalid === '' ? '' : ` (${refusal}: cannot be used)`}`
    })
    .join(', ')
}

export function limits({ requestTimeoutMs = 0, backendRequestTimeoutMs = 0, retry, faults = [] }: Rule): string {
  const parts: string[] = []
  if (requestTimeoutMs > 0) parts.push(`request ${requestTimeoutMs} ms`)
  if (backendRequestTimeoutMs > 0) parts.push(`try ${backendRequestTimeoutMs} ms`)
  if (retry !== undefined) parts.push(`${retry.retries ?? 0} retries`)
  for (const { ref } of faults) parts.push(`fault ${ref?.name ?? ''}`)
  return parts.join(', ') || '-'
}

/** `KIND/NS/NAME@VERSION` */
export function refText(ref: Ref | undefined, withKind = true): string {
  const name = `${ref?.namespace ?? ''}/${ref?.name ?? ''}@${ref?.version ?? ''}`
  return withKind ? `${ref?.kind ?? ''}/${name}` : name
}

/** `MTLS_MODE_STRICT` without its prefix. */
export function enumWord(word: string | undefined, prefix: string): string {
  return word === undefined ? '' : word.startsWith(prefix) ? word.slice(prefix.length) : word
}

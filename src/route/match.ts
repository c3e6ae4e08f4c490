import { RE2JS } from 're2js'
import { type GrpcMatch, type KeyMatch, type RouteMatch, StringMatchType } from '../api/gen/outrigger_pb.ts'
import type { RequestHead } from '../base/exchange.ts'
import { sameName } from '../base/headers.ts'
import { literalPath, pathOf } from './path.ts'

/** How a path is compared. `prefix` is by element: `/ab` is not under `/a` (Gateway API PathMatchPathPrefix). */
export type PathMatch =
  | { readonly is: 'any' }
  | { readonly is: 'exact'; readonly path: string }
  | { readonly is: 'prefix'; readonly path: string }
  | { readonly is: 'regex'; readonly regex: RE2JS }

interface ValueMatch {
  readonly name: string
  readonly exact: string
  readonly regex: RE2JS | undefined
}

/** What matches look at: an exchange. */
export interface Routed {
  readonly request: RequestHead
  readonly isGrpc: boolean
}

/** One `matches[]` entry of a route or a fault, compiled: all of its parts must hold. */
export class RequestMatch {
  readonly path: PathMatch
  /** '' = any. */
  readonly method: string
  readonly headers: readonly ValueMatch[]
  readonly query: readonly ValueMatch[]
  /** Set: of a GRPCRoute, for gRPC requests only; then it is what precedence asks of a regular expression. */
  readonly grpc: GrpcMatch | undefined

  constructor(
    path: PathMatch,
    method: string,
    headers: readonly ValueMatch[],
    query: readonly ValueMatch[],
    grpc: GrpcMatch | undefined,
  ) {
    this.path = path
    this.method = method
    this.headers = headers
    this.query = query
    this.grpc = grpc
  }

  /** Whether the request meets it. */
  matches(of: Routed): boolean {
    return this.matchesPath(pathOf(of.request.target)) && this.matchesRest(of)
  }

  /** Whether the path alone (without query) meets it. */
  matchesPath(path: string): boolean {
    const match = this.path
    switch (match.is) {
      case 'any':
        return true
      case 'exact':
        return path === match.path
      case 'prefix':
        return isUnder(path, match.path)
      case 'regex':
        return match.regex.matches(path)
    }
  }

  /** Whether everything but the path meets it. */
  matchesRest(of: Routed): boolean {
    const head = of.request
    if (this.method !== '' && this.method !== head.method) return false
    if (this.grpc !== undefined && !of.isGrpc) return false
    for (const wanted of this.headers) if (!hasHeader(head, wanted)) return false
    if (this.query.length === 0) return true
    const query = queryOf(head.target)
    for (const wanted of this.query) if (!hasParameter(query, wanted)) return false
    return true
  }
}

/**
 * Compiles one match. Regular expressions are RE2 (linear time) and match the whole value.
 * Throws an Error that names the part which cannot be compiled.
 */
export function compileMatch(match: RouteMatch): RequestMatch {
  return new RequestMatch(
    compilePath(match),
    match.method,
    match.headers.map((key) => compileKey(key, 'header')),
    match.query.map((key) => compileKey(key, 'query parameter')),
    match.grpc,
  )
}

/** Whether `path` is `prefix` or below it, element by element. `prefix` has no slash at its end ('' is the root). */
export function isUnder(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false
  return path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f || prefix === ''
}

function compilePath(match: RouteMatch): PathMatch {
  switch (match.pathType) {
    case StringMatchType.UNSPECIFIED:
      // Gateway API: a match without a path is PathPrefix "/".
      if (match.path === '') return { is: 'any' }
      throw new Error(`path "${match.path}" has no match type`)
    case StringMatchType.EXACT:
      if (!match.path.startsWith('/')) throw new Error(`path "${match.path}" must start with "/"`)
      return { is: 'exact', path: literalPath(match.path) }
    case StringMatchType.PREFIX: {
      if (!match.path.startsWith('/')) throw new Error(`path prefix "${match.path}" must start with "/"`)
      const path = literalPath(match.path.endsWith('/') ? match.path.slice(0, -1) : match.path)
      return path === '' ? { is: 'any' } : { is: 'prefix', path }
    }
    case StringMatchType.REGEX:
      return { is: 'regex', regex: compileRegex(match.path, 'path') }
    default:
      throw new Error(`path match type ${match.pathType} is not known to this version`)
  }
}

function compileKey(key: KeyMatch, what: 'header' | 'query parameter'): ValueMatch {
  const name = what === 'header' ? key.name.toLowerCase() : key.name
  if (name === '') throw new Error(`a ${what} match has no name`)
  switch (key.type) {
    case StringMatchType.EXACT:
      // An authority is kept in lower case.
      return { name, exact: isHost(name, what) ? key.value.toLowerCase() : key.value, regex: undefined }
    case StringMatchType.REGEX:
      return { name, exact: '', regex: compileRegex(key.value, `${what} "${key.name}"`) }
    default:
      throw new Error(`${what} "${key.name}": match type must be Exact or RegularExpression`)
  }
}

function isHost(name: string, what: 'header' | 'query parameter'): boolean {
  return what === 'header' && name === 'host'
}

function compileRegex(source: string, place: string): RE2JS {
  try {
    return RE2JS.compile(source)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${place}: regular expression ${JSON.stringify(source)} is not RE2: ${reason}`, { cause: error })
  }
}

function hasHeader({ authority, headers }: RequestHead, wanted: ValueMatch): boolean {
  // How a route of the mesh tells hosts apart: its `hostnames` say nothing (GEP-1294).
  if (wanted.name === 'host') return meets(authority, wanted)
  for (let i = 0; i < headers.length; i += 2) {
    if (sameName(headers[i]!, wanted.name) && meets(headers[i + 1]!, wanted)) return true
  }
  return false
}

function queryOf(target: string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? '' : target.slice(mark + 1)
}

/** Only the first parameter of a name counts, as in Envoy and Istio. */
function hasParameter(query: string, wanted: ValueMatch): boolean {
  let from = 0
  while (from < query.length) {
    let to = query.indexOf('&', from)
    if (to === -1) to = query.length
    let equals = query.indexOf('=', from)
    if (equals === -1 || equals > to) equals = to
    if (decoded(query.slice(from, equals)) === wanted.name) return meets(decoded(query.slice(equals + 1, to)), wanted)
    from = to + 1
  }
  return false
}

function decoded(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // Not percent-encoding at all: then the bytes are what was meant.
    return text
  }
}

function meets(value: string, wanted: ValueMatch): boolean {
  return wanted.regex === undefined ? value === wanted.exact : wanted.regex.matches(value)
}

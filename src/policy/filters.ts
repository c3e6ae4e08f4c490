import { type HeaderModifier, type HttpFilter, PathRewrite, type Rewrite } from '../api/gen/outrigger_pb.ts'
import type { Headers, RequestHead } from '../base/exchange.ts'
import { removeHeader, setHeader } from '../base/headers.ts'
import type { Layer } from '../base/stack.ts'
import type { RequestMatch } from '../route/match.ts'

/**
 * Header modifiers and rewrites of a rule or a backend, in their order (HTTPRouteFilter). They stand above retry, so
 * that each changes a request once, however often it is sent. Throws an Error for what cannot be compiled.
 */
export function filters(list: readonly HttpFilter[], match: RequestMatch): Layer | undefined {
  const onRequest: ((head: RequestHead) => void)[] = []
  const onResponse: ((headers: Headers) => void)[] = []
  for (const { filter } of list) {
    switch (filter.case) {
      case 'requestHeaders': {
        const modify = headerModifier(filter.value)
        onRequest.push((head) => modify(head.headers))
        break
      }
      case 'responseHeaders':
        onResponse.push(headerModifier(filter.value))
        break
      case 'rewrite':
        onRequest.push(rewrite(filter.value, match))
        break
      case 'redirect':
      case 'mirror':
        // Have layers of their own.
        break
      case undefined:
        throw new Error('a filter is of a kind that this version does not know')
    }
  }
  if (onRequest.length === 0 && onResponse.length === 0) return undefined
  return (next) => (exchange) => {
    for (const apply of onRequest) apply(exchange.request)
    const response = next(exchange)
    if (onResponse.length === 0) return response
    return response.then((answer) => {
      for (const apply of onResponse) apply(answer.headers)
      return answer
    })
  }
}

/**
 * How a path modifier changes a path (HTTPPathModifier and its table of ReplacePrefixMatch); undefined if it does not.
 * `match` is the match that chose the rule: its prefix is what is replaced.
 */
export function pathRewrite(
  type: PathRewrite,
  path: string,
  match: RequestMatch,
): ((path: string) => string) | undefined {
  switch (type) {
    case PathRewrite.UNSPECIFIED:
      return undefined
    case PathRewrite.FULL:
      if (!path.startsWith('/')) throw new Error(`replaced path "${path}" must start with "/"`)
      return () => path
    case PathRewrite.PREFIX: {
      if (match.path.is !== 'prefix' && match.path.is !== 'any') {
        throw new Error('ReplacePrefixMatch needs a PathPrefix match')
      }
      if (path !== '' && !path.startsWith('/')) throw new Error(`replaced prefix "${path}" must start with "/"`)
      const prefixLength = match.path.is === 'prefix' ? match.path.path.length : 0
      const replacement = path.endsWith('/') ? path.slice(0, -1) : path
      return (from) => replacement + from.slice(prefixLength) || '/'
    }
    default:
      throw new Error(`path modifier ${type} is not known to this version`)
  }
}

/** Puts another path into a target; the query stays. */
export function withPath(target: string, change: (path: string) => string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? change(target) : change(target.slice(0, mark)) + target.slice(mark)
}

function rewrite(policy: Rewrite, match: RequestMatch): (head: RequestHead) => void {
  const change = pathRewrite(policy.pathType, policy.path, match)
  const hostname = policy.hostname.toLowerCase()
  return (head) => {
    if (hostname !== '') head.authority = hostname
    if (change !== undefined) head.target = withPath(head.target, change)
  }
}

function headerModifier(policy: HeaderModifier): (headers: Headers) => void {
  for (const { name, value } of [...policy.set, ...policy.add]) checkField(name, value)
  const remove = policy.remove.map((name) => name.toLowerCase())
  return (headers) => {
    for (const name of remove) removeHeader(headers, name)
    for (const { name, value } of policy.set) setHeader(headers, name, value)
    for (const { name, value } of policy.add) headers.push(name, value)
  }
}

/** RFC 9110 sections 5.1 and 5.5; and fields that frame the message are the engine's alone. */
function checkField(name: string, value: string): void {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw new Error(`"${name}" is not a header name`)
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw new Error(`the value of header "${name}" is not a field value`)
  if (framing.has(name.toLowerCase())) throw new Error(`header "${name}" frames the message and cannot be set`)
}

const framing = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'expect',
  'te',
  'trailer',
])

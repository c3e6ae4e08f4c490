import type { Redirect } from '../api/gen/outrigger_pb.ts'
import { noBody } from '../base/body.ts'
import { Response } from '../base/exchange.ts'
import type { Service } from '../base/stack.ts'
import type { RequestMatch } from '../route/match.ts'
import { pathRewrite, withPath } from './filters.ts'

/**
 * Answers with a redirect (HTTPRequestRedirectFilter). Port: the policy's; else the scheme's own if the policy sets a
 * scheme; else the one that was called. It is left out of Location where it is the scheme's own.
 * Throws an Error for a status or path that cannot be.
 */
export function redirect(policy: Redirect, match: RequestMatch): Service {
  const status = policy.status || 302
  const reason = phrases[status]
  if (reason === undefined) throw new Error(`redirect status ${status} is not 301, 302, 303, 307 or 308`)
  if (policy.scheme !== '' && policy.scheme !== 'http' && policy.scheme !== 'https') {
    throw new Error(`redirect scheme "${policy.scheme}" is not http or https`)
  }
  const change = pathRewrite(policy.pathType, policy.path, match)

  return (exchange) => {
    const { request } = exchange
    const scheme = policy.scheme || request.scheme
    const { host, port: called } = split(request.authority)
    const port = policy.port || (policy.scheme === '' ? called || exchange.servicePort : defaultPort(scheme))
    const shown = port === 0 || port === defaultPort(scheme) ? '' : `:${port}`
    const target = change === undefined ? request.target : withPath(request.target, change)
    const location = `${scheme}://${policy.hostname || host}${shown}${target}`
    const response = new Response(status, reason, ['location', location], noBody)
    response.finish(undefined)
    return Promise.resolve(response)
  }
}

const phrases: Record<number, string> = {
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
}

function defaultPort(scheme: string): number {
  return scheme === 'https' ? 443 : 80
}

function split(authority: string): { host: string; port: number } {
  const colon = authority.lastIndexOf(':')
  if (colon === -1 || authority.endsWith(']')) return { host: authority, port: 0 }
  return { host: authority.slice(0, colon), port: Number(authority.slice(colon + 1)) || 0 }
}

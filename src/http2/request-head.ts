/** The head of a request from its fields (RFC 9113 sections 8.2 and 8.3), and back. */
import { MeshError } from '../base/errors.ts'
import type { Headers, RequestHead } from '../base/exchange.ts'
import { classes, targetChar, token } from '../http1/chars.ts'
import { isReserved, refuseTwin } from '../http1/fields.ts'
import { checkAuthority, type RequestRules } from '../http1/request-head.ts'

export interface ParsedRequest {
  readonly head: RequestHead
  /** Bytes that Content-Length announces; -1 = none. */
  readonly contentLength: number
}

/** The request is no HTTP/2 (RFC 9113 section 8.1.1): its stream is reset, nobody answers. */
export class MalformedMessage extends Error {}

/**
 * `fields` as they were decoded, names checked to be tokens in lower case. Throws MalformedMessage; MeshError BAD_REQUEST,
 * METHOD_NOT_ALLOWED or HEAD_TOO_LARGE for what is well formed and yet refused.
 */
export function parseRequestFields(fields: Headers, rules: RequestRules): ParsedRequest {
  let method: string | undefined
  let scheme: string | undefined
  let authority: string | undefined
  let path: string | undefined
  let protocol: string | undefined
  let at = 0
  for (; at < fields.length; at += 2) {
    const name = fields[at]!
    if (name.charCodeAt(0) !== 0x3a) break
    const value = fields[at + 1]!
    let twice: string | undefined
    switch (name) {
      case ':method':
        twice = method
        method = value
        break
      case ':path':
        twice = path
        path = value
        break
      case ':scheme':
        twice = scheme
        scheme = value
        break
      case ':authority':
        twice = authority
        authority = value
        break
      case ':protocol':
        twice = protocol
        protocol = value
        break
      default:
        throw new MalformedMessage('a pseudo-header field that no request has')
    }
    if (twice !== undefined) throw new MalformedMessage(`${name} twice`)
  }
  const rest = new RequestFields(fields, at, rules)
  if (method === undefined) throw new MalformedMessage('no :method')
  if (!isMethod(method)) throw new MalformedMessage('malformed :method')
  const connect = method === 'CONNECT'
  // Extended CONNECT has all of them, CONNECT neither scheme nor path (RFC 9113 section 8.5, RFC 8441 section 4).
  if (connect && protocol === undefined) {
    if (scheme !== undefined || path !== undefined) throw new MalformedMessage('CONNECT with :scheme or :path')
    if (authority === undefined) throw new MalformedMessage('CONNECT without :authority')
    return { head: connectHead(authority, rest, rules), contentLength: rest.contentLength }
  }
  if (protocol !== undefined && !connect) throw new MalformedMessage(':protocol without CONNECT')
  if (scheme === undefined || path === undefined) throw new MalformedMessage('no :scheme or no :path')
  if (scheme !== 'http' && scheme !== 'https') {
    if (!/^[a-z][a-z0-9+.-]*$/i.test(scheme)) throw new MalformedMessage('malformed :scheme')
    throw new MeshError('BAD_REQUEST', `:scheme is neither http nor https`)
  }
  checkPath(path, method, rules)
  let named = rest.host
  if (authority !== undefined) {
    const checked = checkAuthority(authority)
    // Two readers, two answers (RFC 9113 section 8.3.1).
    if (named !== undefined && named !== checked) throw new MeshError('BAD_REQUEST', 'Host is not :authority')
    named = checked
  }
  if (named === undefined) throw new MeshError('BAD_REQUEST', 'neither :authority nor Host (RFC 9113 section 8.3.1)')
  const length = rest.contentLength
  if (method === 'TRACE' && length > 0) throw new MeshError('BAD_REQUEST', 'TRACE with a body')
  if (connect) {
    if (!/^[a-z0-9._/-]+$/i.test(protocol!)) throw new MalformedMessage('malformed :protocol')
    // What would be HTTP or TLS again is a way past policy, as it is in an Upgrade of HTTP/1.1.
    if (/^(?:h2|http|tls|spdy)/i.test(protocol!)) throw new MeshError('NOT_IMPLEMENTED', `:protocol ${protocol}`)
    if (length > 0) throw new MeshError('BAD_REQUEST', 'CONNECT with a body')
  }
  return {
    head: {
      // What every layer knows such a request as: the GET of HTTP/1.1 that asks for another protocol.
      method: connect ? 'GET' : method,
      target: path,
      authority: named,
      scheme,
      version: '2',
      headers: rest.headers,
      upgrade: protocol,
      expectContinue: rest.expectContinue,
    },
    contentLength: length,
  }
}

function connectHead(authority: string, rest: RequestFields, rules: RequestRules): RequestHead {
  if (!rules.allowConnect) throw new MeshError('METHOD_NOT_ALLOWED', 'CONNECT is not served here')
  const checked = checkAuthority(authority)
  if (!/:\d+$/.test(checked)) throw new MeshError('BAD_REQUEST', 'CONNECT needs host:port (RFC 9113 section 8.5)')
  return {
    method: 'CONNECT',
    target: '',
    authority: checked,
    scheme: 'http',
    version: '2',
    headers: rest.headers,
    upgrade: undefined,
    expectContinue: false,
  }
}

function isMethod(method: string): boolean {
  for (let i = 0; i < method.length; i++) {
    const c = method.charCodeAt(i)
    if (c > 255 || (classes[c]! & token) === 0) return false
  }
  return method.length > 0
}

function checkPath(path: string, method: string, rules: RequestRules): void {
  if (path === '') throw new MalformedMessage('empty :path')
  if (path.length > rules.targetBytesMax)
    throw new MeshError('HEAD_TOO_LARGE', `request target longer than ${rules.targetBytesMax} bytes`)
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i)
    if (c > 255 || (classes[c]! & targetChar) === 0) throw new MalformedMessage('malformed :path')
  }
  if (path.charCodeAt(0) === 0x2f) return
  if (path === '*' && method === 'OPTIONS') return
  throw new MalformedMessage(':path is neither of origin form nor * (RFC 9113 section 8.3.1)')
}

/** What stands behind the pseudo-header fields, and what of it is the engine's own. */
class RequestFields {
  readonly headers: Headers = []
  host: string | undefined
  contentLength = -1
  expectContinue = false
  #cookie = -1

  constructor(fields: Headers, from: number, rules: RequestRules) {
    const { headers } = this
    for (let at = from; at < fields.length; at += 2) {
      const name = fields[at]!
      const value = fields[at + 1]!
      if (!this.#takeSpecial(name, value, rules)) headers.push(name, value)
    }
  }

  /** Sorted by length first: most names fail on one comparison. */
  #takeSpecial(name: string, value: string, rules: RequestRules): boolean {
    if (name.charCodeAt(0) === 0x3a) throw new MalformedMessage('a pseudo-header field behind others')
    switch (name.length) {
      case 2:
        if (name !== 'te') return false
        if (value.toLowerCase() !== 'trailers') throw new MalformedMessage('TE other than trailers')
        return true
      case 4:
        if (name !== 'host') return false
        if (this.host !== undefined) throw new MalformedMessage('Host twice')
        this.host = checkAuthority(value)
        return true
      case 6:
        if (name === 'cookie') return this.#joinCookie(value)
        if (name !== 'expect') return false
        if (value.toLowerCase() !== '100-continue') throw new MeshError('EXPECTATION_FAILED', 'unknown Expect')
        this.expectContinue = true
        return true
      case 14: {
        if (name === 'content-length') {
          if (this.contentLength !== -1) throw new MalformedMessage('Content-Length twice')
          this.contentLength = parseContentLength(value)
          return true
        }
        refuseTwin(name, rules)
        return name === 'http2-settings' || isReserved(name, rules)
      }
      case 19:
        return name === 'proxy-authorization' || isReserved(name, rules)
      default:
        if (isConnectionField(name)) throw new MalformedMessage('a field of connections (RFC 9113 section 8.2.2)')
        if (name.length === 17) refuseTwin(name, rules)
        return name.length > 12 && isReserved(name, rules)
    }
  }

  /** In pieces for the sake of compression (RFC 9113 section 8.2.3). */
  #joinCookie(value: string): boolean {
    if (this.#cookie === -1) {
      this.#cookie = this.headers.length + 1
      this.headers.push('cookie', value)
    } else this.headers[this.#cookie] += `; ${value}`
    return true
  }
}

/** RFC 9113 section 8.2.2. */
export function isConnectionField(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === 'upgrade'
    case 10:
      return name === 'connection' || name === 'keep-alive'
    case 16:
      return name === 'proxy-connection'
    case 17:
      return name === 'transfer-encoding'
    default:
      return false
  }
}

/** Digits only (RFC 9110 section 8.6). Throws MalformedMessage. */
export function parseContentLength(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new MalformedMessage('malformed Content-Length')
  return Number(value)
}

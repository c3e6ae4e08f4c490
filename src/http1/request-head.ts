/** The request line and what follows from the fields for a request (RFC 9112 section 3 and 6.3). */
import { MeshError } from '../base/errors.ts'
import type { RequestHead } from '../base/exchange.ts'
import { classes, hostChar, targetChar, token } from './chars.ts'
import { type FieldRules, parseFields } from './fields.ts'
import type { Http1Limits } from './limits.ts'

export interface ParsedRequest {
  readonly head: RequestHead
  /** Bytes of the body; -1 = chunked. 0 = none. */
  readonly bodyLength: number
  readonly keepAlive: boolean
}

export interface RequestRules extends FieldRules {
  readonly targetBytesMax: number
  /** CONNECT is for the explicit outbound listener only. */
  readonly allowConnect: boolean
}

export function requestRules(
  limits: Http1Limits,
  options: { readonly dropReserved: boolean; readonly allowConnect: boolean },
): RequestRules {
  return {
    fieldsMax: limits.fieldsMax,
    targetBytesMax: limits.targetBytesMax,
    malformed: 'BAD_REQUEST',
    tooMany: 'HEAD_TOO_LARGE',
    dropReserved: options.dropReserved,
    allowConnect: options.allowConnect,
  }
}

const SP = 0x20

/**
 * Parses one request head. `text` begins at the request line; `end` is the position of the CRLFCRLF.
 * Throws MeshError: BAD_REQUEST, HEAD_TOO_LARGE, METHOD_NOT_ALLOWED, EXPECTATION_FAILED, NOT_IMPLEMENTED,
 * VERSION_NOT_SUPPORTED.
 */
export function parseRequestHead(text: string, end: number, rules: RequestRules): ParsedRequest {
  let pos = 0
  let c = text.charCodeAt(0)
  while (c < 256 && (classes[c]! & token) !== 0) c = text.charCodeAt(++pos)
  if (c !== SP || pos === 0) throw new MeshError('BAD_REQUEST', 'malformed request line: method')
  const method = text.slice(0, pos)
  const targetStart = ++pos
  c = text.charCodeAt(pos)
  while (c < 256 && (classes[c]! & targetChar) !== 0) c = text.charCodeAt(++pos)
  if (c !== SP || pos === targetStart) throw new MeshError('BAD_REQUEST', 'malformed request line: target')
  if (pos - targetStart > rules.targetBytesMax)
    throw new MeshError('HEAD_TOO_LARGE', `request target longer than ${rules.targetBytesMax} bytes`)
  const rawTarget = text.slice(targetStart, pos)
  pos++
  const version = parseVersion(text, pos)
  const lineEnd = pos + 8
  const fields = parseFields(text, lineEnd + 2, end + 2, rules)
  const minor11 = version === '1.1'

  if (fields.host === undefined && minor11) throw new MeshError('BAD_REQUEST', 'no Host field (RFC 9112 section 3.2)')
  if (fields.transferEncoding) {
    // Both framings, or chunked where the version has none: somebody is about to be fooled (RFC 9112 6.1, 6.3).
    if (fields.contentLength !== -1) throw new MeshError('BAD_REQUEST', 'both Transfer-Encoding and Content-Length')
    if (!minor11) throw new MeshError('BAD_REQUEST', 'Transfer-Encoding in HTTP/1.0')
  }
  let authority = ''
  if (fields.host !== undefined) authority = checkAuthority(fields.host)
  let target = rawTarget
  let scheme: 'http' | 'https' = 'http'
  if (method === 'CONNECT') {
    if (!rules.allowConnect) throw new MeshError('METHOD_NOT_ALLOWED', 'CONNECT is not served here')
    authority = checkAuthority(rawTarget)
    if (!/:\d+$/.test(authority)) throw new MeshError('BAD_REQUEST', 'CONNECT needs host:port (RFC 9110 section 9.3.6)')
    if (fields.contentLength > 0 || fields.chunked) throw new MeshError('BAD_REQUEST', 'CONNECT with a body')
    target = ''
  } else if (rawTarget.charCodeAt(0) !== 0x2f) {
    if (rawTarget === '*') {
      if (method !== 'OPTIONS') throw new MeshError('BAD_REQUEST', `target '*' is for OPTIONS only`)
    } else {
      // Absolute form: its authority beats Host, which a proxy must rewrite (RFC 9112 3.2.2).
      const match = /^(https?):\/\/([^/?]*)(.*)$/i.exec(rawTarget)
      if (match === null) throw new MeshError('BAD_REQUEST', 'target is neither origin form nor an absolute http URI')
      scheme = match[1]!.length === 5 ? 'https' : 'http'
      authority = checkAuthority(match[2]!)
      const rest = match[3]!
      target = rest === '' ? (method === 'OPTIONS' ? '*' : '/') : rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`
    }
  }

  // Content that the method does not have (RFC 9110 9.3.8): who ignores it reads it as the next request.
  if (method === 'TRACE' && (fields.contentLength > 0 || fields.chunked))
    throw new MeshError('BAD_REQUEST', 'TRACE with a body')

  let upgrade: string | undefined
  if (fields.upgrade !== undefined && fields.connectionUpgrade && minor11 && method !== 'CONNECT') {
    // h2c by Upgrade is obsolete (RFC 9113 3.1) and a known way past policy: serve such a request as HTTP/1.1.
    // So are its drafts (h2c-14), which servers still know, and whatever else would be HTTP again.
    const wanted = fields.upgrade.toLowerCase()
    if (/^(?!h2|http|tls|spdy)[a-z0-9._/-]+$/.test(wanted)) {
      if (fields.contentLength > 0 || fields.chunked) throw new MeshError('BAD_REQUEST', 'Upgrade with a body')
      upgrade = fields.upgrade
    }
  }
  let expectContinue = false
  if (fields.expect !== undefined && minor11) {
    if (fields.expect.toLowerCase() !== '100-continue') throw new MeshError('EXPECTATION_FAILED', 'unknown Expect')
    expectContinue = fields.chunked || fields.contentLength > 0
  }
  return {
    head: { method, target, authority, scheme, version, headers: fields.headers, upgrade, expectContinue },
    bodyLength: fields.chunked ? -1 : fields.contentLength === -1 ? 0 : fields.contentLength,
    keepAlive: minor11 ? !fields.close : fields.keepAlive && !fields.close,
  }
}

function parseVersion(text: string, pos: number): '1.0' | '1.1' {
  if (text.startsWith('HTTP/1.1\r\n', pos)) return '1.1'
  if (text.startsWith('HTTP/1.0\r\n', pos)) return '1.0'
  const match = /^HTTP\/\d\.\d\r\n/.exec(text.slice(pos, pos + 10))
  if (match !== null) throw new MeshError('VERSION_NOT_SUPPORTED', 'only HTTP/1.0 and HTTP/1.1 are served')
  throw new MeshError('BAD_REQUEST', 'malformed request line: version')
}

/**
 * Checks `host[:port]` and returns it in lower case. No user information, no empty host, nothing that two readers
 * could take two ways. Throws MeshError BAD_REQUEST.
 */
export function checkAuthority(text: string): string {
  const length = text.length
  let i = 0
  if (text.charCodeAt(0) === 0x5b) {
    const close = text.indexOf(']')
    if (close === -1 || !/^[0-9A-Fa-f:.]+$/.test(text.slice(1, close))) throw badAuthority()
    i = close + 1
  } else {
    while (i < length && text.charCodeAt(i) < 256 && (classes[text.charCodeAt(i)]! & hostChar) !== 0) i++
  }
  if (i === 0 || length > 255 + 6) throw badAuthority()
  if (i < length) {
    if (text.charCodeAt(i) !== 0x3a || length - i < 2 || length - i > 6) throw badAuthority()
    for (let j = i + 1; j < length; j++) {
      const digit = text.charCodeAt(j) - 0x30
      if (digit < 0 || digit > 9) throw badAuthority()
    }
    if (Number(text.slice(i + 1)) > 65_535) throw badAuthority()
  }
  return text.toLowerCase()
}

function badAuthority(): MeshError {
  return new MeshError('BAD_REQUEST', 'invalid Host or authority (RFC 9110 section 7.2)')
}

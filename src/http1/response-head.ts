/** The status line and what follows from the fields for a response (RFC 9112 section 4 and 6.3). */
import { MeshError } from '../base/errors.ts'
import type { Headers } from '../base/exchange.ts'
import { classes, fieldValueChar } from './chars.ts'
import { type FieldRules, parseFields } from './fields.ts'
import type { Http1Limits } from './limits.ts'

/** Framing of a response body: bytes to count, or one of these. */
export const chunkedBody = -1
export const untilClose = -2

export interface ParsedResponse {
  readonly status: number
  readonly reason: string
  readonly headers: Headers
  /** Bytes, `chunkedBody` or `untilClose`. */
  readonly bodyLength: number
  readonly keepAlive: boolean
  /** Protocol of a 101, as the upstream spelled it. */
  readonly upgrade: string | undefined
  /** Seconds that the upstream says it keeps an idle connection; -1 if it does not. */
  readonly keepAliveTimeout: number
}

export function responseRules(limits: Http1Limits, options: { readonly dropReserved: boolean }): FieldRules {
  return {
    fieldsMax: limits.fieldsMax,
    malformed: 'UPSTREAM_PROTOCOL',
    tooMany: 'UPSTREAM_PROTOCOL',
    dropReserved: options.dropReserved,
  }
}

/** Parses one response head to a request of `method`. Throws MeshError UPSTREAM_PROTOCOL. */
export function parseResponseHead(text: string, end: number, method: string, rules: FieldRules): ParsedResponse {
  const minor11 = text.startsWith('HTTP/1.1 ')
  if (!minor11 && !text.startsWith('HTTP/1.0 ')) throw bad('malformed status line')
  const d1 = text.charCodeAt(9) - 0x30
  const d2 = text.charCodeAt(10) - 0x30
  const d3 = text.charCodeAt(11) - 0x30
  if (!(d1 >= 1 && d1 <= 9 && d2 >= 0 && d2 <= 9 && d3 >= 0 && d3 <= 9)) throw bad('malformed status code')
  const status = d1 * 100 + d2 * 10 + d3
  let pos = 12
  let reason = ''
  let c = text.charCodeAt(pos)
  if (c === 0x20) {
    const start = ++pos
    c = text.charCodeAt(pos)
    while (c < 256 && (classes[c]! & fieldValueChar) !== 0) c = text.charCodeAt(++pos)
    reason = text.slice(start, pos)
  }
  if (c !== 0x0d || text.charCodeAt(pos + 1) !== 0x0a) throw bad('malformed status line')
  const fields = parseFields(text, pos + 2, end + 2, rules)
  if (fields.transferEncoding && fields.contentLength !== -1) throw bad('both Transfer-Encoding and Content-Length')
  if (fields.transferEncoding && !minor11) throw bad('Transfer-Encoding in HTTP/1.0')
  if (status === 101 && !minor11) throw bad('status 101 in HTTP/1.0')

  let bodyLength: number
  if (method === 'HEAD' || status === 304) {
    // The length tells what a GET would have had; it frames nothing here.
    if (fields.contentLength !== -1) fields.headers.push('content-length', String(fields.contentLength))
    bodyLength = 0
  } else if (status < 200 || status === 204) {
    if (fields.chunked || fields.contentLength > 0) throw bad(`status ${status} with a body`)
    bodyLength = 0
  } else if (fields.chunked) {
    bodyLength = chunkedBody
  } else if (fields.contentLength !== -1) {
    bodyLength = fields.contentLength
  } else {
    bodyLength = untilClose
  }
  const persistent = minor11 ? !fields.close : fields.keepAlive && !fields.close
  return {
    status,
    reason,
    headers: fields.headers,
    bodyLength,
    keepAlive: persistent && bodyLength !== untilClose,
    upgrade: fields.connectionUpgrade ? fields.upgrade : undefined,
    keepAliveTimeout: fields.keepAliveTimeout,
  }
}

function bad(message: string): MeshError {
  return new MeshError('UPSTREAM_PROTOCOL', `upstream answered garbage: ${message}`)
}

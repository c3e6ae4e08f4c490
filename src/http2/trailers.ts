/** Trailer sections (RFC 9113 section 8.1): what may stand there goes on, the rest is dropped. */
import type { Headers } from '../base/exchange.ts'
import { mayBeTrailer } from '../http1/fields.ts'
import { isConnectionField, MalformedMessage } from './request-head.ts'

/** Throws MalformedMessage. */
export function parseTrailerFields(fields: Headers): Headers | undefined {
  const kept: Headers = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!
    if (name.charCodeAt(0) === 0x3a) throw new MalformedMessage('a pseudo-header field among trailers')
    if (isConnectionField(name)) throw new MalformedMessage('a field of connections (RFC 9113 section 8.2.2)')
    if (mayBeTrailer(name)) kept.push(name, fields[at + 1]!)
  }
  return kept.length > 0 ? kept : undefined
}

/**
 * Field lines of a head (RFC 9112 section 5, RFC 9110 section 5): one strict pass that keeps the end-to-end
 * fields in wire order and sorts out those that belong to the engine.
 */
import { MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Headers } from '../base/exchange.ts'
import { classes, fieldValueChar, token } from './chars.ts'

export class Fields {
  /** End-to-end fields. */
  headers: Headers = []
  host: string | undefined = undefined
  contentLength = -1
  chunked = false
  /** A Transfer-Encoding was there at all. */
  transferEncoding = false
  close = false
  keepAlive = false
  connectionUpgrade = false
  upgrade: string | undefined = undefined
  expect: string | undefined = undefined
  /** Seconds from `Keep-Alive: timeout=N` of an upstream; -1 if absent. */
  keepAliveTimeout = -1
  /** Names that Connection nominates, lower case. */
  nominated: string[] | undefined = undefined
}

/** What the parse of one section depends on. */
export interface FieldRules {
  readonly fieldsMax: number
  /** Code of a malformed section: BAD_REQUEST from a client, UPSTREAM_PROTOCOL from a server. */
  readonly malformed: MeshErrorCode
  readonly tooMany: MeshErrorCode
  /** Drop all of `x-outrigger-*`: only a peer that proved itself may say such things, and only those that sidecars say. */
  readonly dropReserved: boolean
}

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SP = 0x20
const COLON = 0x3a

/**
 * Parses field lines of `text` from `pos` to `end`, where `end` is the position of the CRLF of the empty line.
 * Throws MeshError with the codes of `rules`.
 */
export function parseFields(text: string, pos: number, end: number, rules: FieldRules): Fields {
  const fields = new Fields()
  const headers = fields.headers
  let count = 0
  while (pos < end) {
    if (++count > rules.fieldsMax) throw new MeshError(rules.tooMany, `more than ${rules.fieldsMax} header fields`)
    // field-name: no empty name, no space before the colon (RFC 9112 5.1), no folding (5.2): a line that begins
    // with SP or HTAB fails here because neither is a token character.
    const nameStart = pos
    let c = text.charCodeAt(pos)
    while ((classes[c]! & token) !== 0 && c < 256) c = text.charCodeAt(++pos)
    if (c !== COLON || pos === nameStart) throw malformedField(rules, text, nameStart, count)
    const name = text.slice(nameStart, pos)
    pos++
    c = text.charCodeAt(pos)
    while (c === SP || c === TAB) c = text.charCodeAt(++pos)
    const valueStart = pos
    while ((classes[c]! & fieldValueChar) !== 0 && c < 256) c = text.charCodeAt(++pos)
    // The value ends at CRLF and nowhere else: a bare CR, a bare LF, NUL or another control is an error (RFC 9110 5.5).
    if (c !== CR || text.charCodeAt(pos + 1) !== LF) throw malformedField(rules, text, nameStart, count)
    let valueEnd = pos
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--
    const value = text.slice(valueStart, valueEnd)
    pos += 2
    if (!takeSpecial(fields, name, value, rules)) headers.push(name, value)
  }
  if (fields.nominated !== undefined) dropNominated(fields, fields.nominated)
  return fields
}

function isBlank(c: number): boolean {
  return c === SP || c === TAB
}

/** A client may see its own line again; what an upstream said may be for other eyes, so its line has a number only. */
function malformedField(rules: FieldRules, text: string, at: number, count: number): MeshError {
  if (rules.malformed !== 'BAD_REQUEST')
    return new MeshError(rules.malformed, `malformed header field, number ${count}`)
  const line = text.slice(at, at + 40).replace(/[^\x20-\x7e]/g, '?')
  return new MeshError(rules.malformed, `malformed header field at '${line}'`)
}

/** True if the field is the engine's own business. Sorted by length first: most names fail on one comparison. */
function takeSpecial(fields: Fields, name: string, value: string, rules: FieldRules): boolean {
  switch (name.length) {
    case 2:
      // TE is hop-by-hop; trailers are always relayed, so nothing has to be asked for.
      return name.toLowerCase() === 'te'
    case 4:
      if (name.toLowerCase() !== 'host') return false
      if (fields.host !== undefined) throw new MeshError(rules.malformed, 'more than one Host field (RFC 9112 3.2)')
      fields.host = value
      return true
    case 6:
      if (name.toLowerCase() !== 'expect') return false
      fields.expect = fields.expect === undefined ? value : `${fields.expect}, ${value}`
      return true
    case 7:
      if (name.toLowerCase() !== 'upgrade') return false
      fields.upgrade = fields.upgrade === undefined ? value : `${fields.upgrade}, ${value}`
      return true
    case 10: {
      const lower = name.toLowerCase()
      if (lower === 'connection') {
        takeConnection(fields, value, rules)
        return true
      }
      if (lower === 'keep-alive') {
        const match = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(value)
        if (match !== null) fields.keepAliveTimeout = Number(match[1])
        return true
      }
      return false
    }
    case 14: {
      const lower = name.toLowerCase()
      if (lower === 'content-length') {
        takeContentLength(fields, value, rules)
        return true
      }
      refuseTwin(lower, rules)
      return lower === 'http2-settings' || isReserved(name, rules)
    }
    case 16:
      return name.toLowerCase() === 'proxy-connection' || isReserved(name, rules)
    case 17:
      if (name.toLowerCase() !== 'transfer-encoding') {
        refuseTwin(name.toLowerCase(), rules)
        return isReserved(name, rules)
      }
      // Exactly `chunked`, once: every other spelling has been read two ways by two parsers (RFC 9112 6.1).
      if (fields.transferEncoding) throw new MeshError(rules.malformed, 'more than one Transfer-Encoding field')
      fields.transferEncoding = true
      if (value.toLowerCase() !== 'chunked') {
        const code =
          rules.malformed === 'BAD_REQUEST' && /^[A-Za-z-]+$/.test(value) ? 'NOT_IMPLEMENTED' : rules.malformed
        throw new MeshError(code, `Transfer-Encoding other than 'chunked' (RFC 9112 section 6.1)`)
      }
      fields.chunked = true
      return true
    case 19:
      return name.toLowerCase() === 'proxy-authorization' || isReserved(name, rules)
    default:
      return name.length > 12 && isReserved(name, rules)
  }
}

/** True for what is dropped: names of the mesh's own. Throws for what imitates them. Names of at least 12 characters. */
export function isReserved(name: string, rules: FieldRules): boolean {
  if (name.length === 23) {
    const lower = name.toLowerCase()
    // Who the peer is, is for nobody to say: no sidecar sends it, so a peer of the mesh that does is hostile (Envoy SANITIZE).
    if (lower === 'x-forwarded-client-cert') return true
    if (/^x[^a-z0-9]forwarded[^a-z0-9]client[^a-z0-9]cert$/.test(lower)) throw imitation(rules)
  }
  if ((name.charCodeAt(0) | 0x20) !== 0x78 || (name.charCodeAt(2) | 0x20) !== 0x6f) return false
  const lower = name.toLowerCase()
  if (lower.startsWith('x-outrigger-')) return rules.dropReserved || !isSaidByPeers(lower, rules)
  // CGI-like servers make an underscore of whatever is no letter or digit, and so the reserved name of this one.
  if (/^x[^a-z0-9]outrigger[^a-z0-9]/.test(lower)) throw imitation(rules)
  return false
}

/** Which try a request is, and how many an answer took; why a sidecar refused. */
function isSaidByPeers(lower: string, rules: FieldRules): boolean {
  return lower === 'x-outrigger-attempt' || (lower === 'x-outrigger-reason' && rules.malformed === 'UPSTREAM_PROTOCOL')
}

function imitation(rules: FieldRules): MeshError {
  return new MeshError(rules.malformed, 'header field name imitates a reserved one, or one of framing')
}

/** Likewise: to such a server a second framing would stand in the head. */
export function refuseTwin(lower: string, rules: FieldRules): void {
  if (rules.malformed === 'BAD_REQUEST' && /^(content[^a-z0-9]length|transfer[^a-z0-9]encoding)$/.test(lower))
    throw imitation(rules)
}

function takeContentLength(fields: Fields, value: string, rules: FieldRules): void {
  // One field, digits only (RFC 9110 8.6). Equal duplicates may be accepted by the RFC; we do not.
  if (fields.contentLength !== -1) throw new MeshError(rules.malformed, 'more than one Content-Length field')
  if (value.length === 0 || value.length > 15) throw new MeshError(rules.malformed, 'invalid Content-Length')
  let length = 0
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) throw new MeshError(rules.malformed, 'invalid Content-Length')
    length = length * 10 + digit
  }
  fields.contentLength = length
}

function takeConnection(fields: Fields, value: string, rules: FieldRules): void {
  // What nearly everybody says, without the work of a list.
  if (value === 'keep-alive' || value === 'Keep-Alive') {
    fields.keepAlive = true
    return
  }
  for (const part of value.split(',')) {
    // OWS only: trim() would take a no-break space too, which others read as part of the name.
    const option = part.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase()
    switch (option) {
      case '':
      case 'te':
      case 'trailer':
      case 'http2-settings':
      case 'transfer-encoding':
        if (option === 'transfer-encoding')
          throw new MeshError(rules.malformed, 'Connection nominates Transfer-Encoding')
        break
      case 'close':
        fields.close = true
        break
      case 'keep-alive':
        fields.keepAlive = true
        break
      case 'upgrade':
        fields.connectionUpgrade = true
        break
      default:
        // Nominating what framing, routing or identity rests on is an attack (RFC 9110 7.6.1 forbids it).
        if (
          option === 'host' ||
          option.startsWith('content-') ||
          option.startsWith('x-outrigger-') ||
          !isToken(option)
        ) {
          throw new MeshError(
            rules.malformed,
            rules.malformed === 'BAD_REQUEST'
              ? `Connection may not nominate '${option.replace(/[^\x20-\x7e]/g, '?').slice(0, 40)}'`
              : 'Connection nominates what it may not',
          )
        }
        if (fields.nominated === undefined) fields.nominated = [option]
        else fields.nominated.push(option)
    }
  }
}

function dropNominated(fields: Fields, names: readonly string[]): void {
  // A head has room for tens of thousands of names and a thousand fields: they must not multiply.
  const nominated = new Set(names)
  const kept: Headers = []
  const headers = fields.headers
  for (let i = 0; i < headers.length; i += 2) {
    if (!nominated.has(headers[i]!.toLowerCase())) kept.push(headers[i]!, headers[i + 1]!)
  }
  fields.headers = kept
}

/** RFC 9110 5.6.2. */
export function isToken(text: string): boolean {
  if (text.length === 0) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c > 255 || (classes[c]! & token) === 0) return false
  }
  return true
}

/** Fields that a trailer section may not carry (RFC 9110 6.5.1): framing, routing, conditions, authentication, ours. */
const notInTrailers = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'host',
  'max-forwards',
  'proxy-authenticate',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'www-authenticate',
  'age',
  'date',
  'expires',
  'location',
  'vary',
  'range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-client-cert',
])

/** Of a name in lower case. */
export function mayBeTrailer(lower: string): boolean {
  return !notInTrailers.has(lower) && !lower.startsWith('x-outrigger-')
}

/** Parses a trailer section; what may not stand there is dropped, never merged into the head. */
export function parseTrailers(text: string, end: number, rules: FieldRules): Headers | undefined {
  const fields = parseFields(text, 0, end, rules)
  const kept: Headers = []
  for (let i = 0; i < fields.headers.length; i += 2) {
    if (mayBeTrailer(fields.headers[i]!.toLowerCase())) kept.push(fields.headers[i]!, fields.headers[i + 1]!)
  }
  return kept.length > 0 ? kept : undefined
}

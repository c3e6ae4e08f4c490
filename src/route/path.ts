import { MeshError } from '../base/errors.ts'

/**
 * The normal form of an origin-form target (RFC 3986 sections 6.2.2 and 5.2.4): escapes of unreserved characters
 * decoded, dot segments removed, bytes above 0x7E escaped. What is evaluated is what is forwarded. Every other escape
 * stays byte for byte (`%2f` too: clients sign what they send), and so do `;` and `//`: only the application knows what
 * they mean (see `PathReadings`). The query is checked, not changed. A target that is normal already comes back as the
 * same string. `*` and '' (CONNECT) pass. Throws BAD_REQUEST for what no two parsers read alike: no leading slash, NUL,
 * control characters, spaces, `\`, `#`, broken escapes.
 */
export function normalizeTarget(target: string): string {
  if (target === '*' || target === '') return target
  if (target.charCodeAt(0) !== slash) throw refused('the path does not start with "/"')
  const length = target.length
  let before = slash
  let i = 1
  for (; i < length; i++) {
    const code = target.charCodeAt(i)
    if (code === questionMark) break
    if (code > 0x7f || plain[code] === 0 || (code === dot && before === slash)) return slow(target)
    before = code
  }
  if (i < length) checkQuery(target, i + 1)
  return target
}

/** The path of a target as it is compared: without its query, hexadecimal digits in upper case (RFC 3986 section 6.2.2.1). */
export function pathOf(target: string): string {
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  return path.includes('%') ? path.replaceAll(lowerCaseEscape, upperCase) : path
}

/** A path that a policy or a route names, as requests are compared: what is no escape yet is escaped, the rest as in `pathOf`. */
export function literalPath(text: string): string {
  const escapedText = text.replaceAll(mustBeEscaped, (character) => encodeURIComponent(character))
  return escapedText.replaceAll(anyEscape, (triplet) => {
    const byte = Number.parseInt(triplet.slice(1), 16)
    return isUnreserved(byte) ? String.fromCharCode(byte) : triplet.toUpperCase()
  })
}

const lowerCaseEscape = /%(?:[a-f][0-9A-Fa-f]|[0-9A-F][a-f])/g
const anyEscape = /%[0-9A-Fa-f]{2}/g
/** Characters that are in no path of a request (surrogate pairs are one). */
const mustBeEscaped = /[^!-~]|[\\#?]/gu
const upperCase = (triplet: string): string => triplet.toUpperCase()

const slash = 0x2f
const dot = 0x2e
const questionMark = 0x3f

/** 1 for a byte that may stand in a normal path. The dot needs a look at its neighbour as well. */
const plain = new Uint8Array(128)
for (let code = 0x21; code < 0x7f; code++) plain[code] = 1
for (const code of Buffer.from('%\\#')) plain[code] = 0

function slow(target: string): string {
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  if (mark !== -1) checkQuery(target, mark + 1)
  const normal = removeDotSegments(decodeUnreserved(path))
  return mark === -1 ? normal : normal + target.slice(mark)
}

/** Throws BAD_REQUEST for what no path may hold. */
export function decodeUnreserved(path: string): string {
  let normal = ''
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i)
    if (code === 0x25) {
      const high = hex(path.charCodeAt(i + 1))
      const low = hex(path.charCodeAt(i + 2))
      if (high === -1 || low === -1) throw refused('the path has a "%" without two hexadecimal digits')
      const byte = high * 16 + low
      checkEscaped(byte)
      normal += isUnreserved(byte) ? String.fromCharCode(byte) : path.slice(i, i + 3)
      i += 2
    } else if (code > 0x7e) {
      if (code === 0x7f) throw refused('the path has a control character')
      if (code > 0xff) throw refused('the path has a character that is not a byte')
      normal += percent(code)
    } else if (plain[code] === 0) {
      if (code === 0x5c) throw refused('the path has a "\\"')
      if (code === 0x23) throw refused('the path has a "#"')
      throw refused('the path has a control character or a space')
    } else normal += path[i]
  }
  return normal
}

function checkEscaped(byte: number): void {
  if (byte === 0) throw refused('the path has a "%00"')
  if (byte < 0x20 || byte === 0x7f) throw refused('the path has an escaped control character')
}

function percent(byte: number): string {
  return `%${byte < 16 ? '0' : ''}${byte.toString(16).toUpperCase()}`
}

/** RFC 3986 section 2.3. */
function isUnreserved(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2d ||
    byte === dot ||
    byte === 0x5f ||
    byte === 0x7e
  )
}

function hex(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

/** RFC 3986 section 5.2.4 for a path that starts with a slash. */
export function removeDotSegments(path: string): string {
  if (!path.includes('/.')) return path
  const output: string[] = []
  const segments = path.split('/')
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i]!
    const last = i === segments.length - 1
    if (segment === '..') output.pop()
    if (segment === '.' || segment === '..') {
      if (last) output.push('')
    } else output.push(segment)
  }
  return '/' + output.join('/')
}

function checkQuery(target: string, from: number): void {
  for (let i = from; i < target.length; i++) {
    const code = target.charCodeAt(i)
    if (code <= 0x20 || code === 0x7f) throw refused('the query has a control character or a space')
    if (code === 0x23) throw refused('the query has a "#"')
  }
}

function refused(what: string): MeshError {
  return new MeshError('BAD_REQUEST', what)
}

import { MeshError } from '../base/errors.ts'

/**
 * The normal form of an origin-form target (RFC 3986 sections 6.2.2 and 5.2.4): escapes of unreserved characters
 * decoded, the others in upper case, dot segments removed, bytes above 0x7E escaped. What is evaluated is what is
 * forwarded. `%2F`, `;` and `//` stay: only the application knows what they mean (see `policyPath`). The query is
 * checked, not changed. A target that is normal already comes back as the same string. `*` and '' (CONNECT) pass.
 * Throws BAD_REQUEST for what no two parsers read alike: no leading slash, NUL, control characters, spaces, `\`,
 * `%5C`, `#`, broken escapes.
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

/** What AuthorizationPolicy compares, and whether the request's path can be read in another way. */
export interface PolicyPath {
  readonly path: string
  /**
   * The application may see another path than this one: `//`, `%2F`, `;parameters`, a double escape or bytes that are
   * not UTF-8 were there. Where a policy names paths, such a request is refused.
   */
  readonly ambiguous: boolean
}

/**
 * The path as the most eager application would read it: `%2F` decoded, `;parameters` cut, slashes merged, dot
 * segments removed once more (Istio's order: decode, RFC 3986, merge). `path` is in normal form, without query.
 */
export function policyPath(path: string): PolicyPath {
  if (!path.includes('%') && !path.includes(';') && !path.includes('//')) return { path, ambiguous: false }
  let eager = path
  if (eager.includes('%2F')) eager = eager.replaceAll('%2F', '/')
  if (eager.includes(';')) eager = eager.replaceAll(/;[^/]*/g, '')
  if (eager.includes('//')) eager = eager.replaceAll(/\/{2,}/g, '/')
  if (eager !== path) eager = removeDotSegments(eager)
  return { path: eager, ambiguous: eager !== path || doubleEscape.test(path) || !escapesUtf8(path) }
}

const slash = 0x2f
const dot = 0x2e
const questionMark = 0x3f
const doubleEscape = /%25[0-9A-Fa-f]{2}/

/** 1 for a byte that may stand in a normal path. The dot needs a look at its neighbour as well. */
const plain = new Uint8Array(128)
for (let code = 0x21; code < 0x7f; code++) plain[code] = 1
for (const code of Buffer.from('%\\#')) plain[code] = 0

function slow(target: string): string {
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  if (mark !== -1) checkQuery(target, mark + 1)
  const normal = removeDotSegments(normalizeEscapes(path))
  return mark === -1 ? normal : normal + target.slice(mark)
}

function normalizeEscapes(path: string): string {
  let normal = ''
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i)
    if (code === 0x25) {
      const high = hex(path.charCodeAt(i + 1))
      const low = hex(path.charCodeAt(i + 2))
      if (high === -1 || low === -1) throw refused('the path has a "%" without two hexadecimal digits')
      normal += escaped(high * 16 + low)
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

function escaped(byte: number): string {
  if (byte === 0) throw refused('the path has a "%00"')
  if (byte === 0x5c) throw refused('the path has a "%5C"')
  if (byte < 0x20 || byte === 0x7f) throw refused('the path has an escaped control character')
  return isUnreserved(byte) ? String.fromCharCode(byte) : percent(byte)
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
function removeDotSegments(path: string): string {
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

function escapesUtf8(path: string): boolean {
  if (!path.includes('%')) return true
  try {
    // Refuses overlong forms such as %C0%AF, which some decoders read as a slash.
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

function refused(what: string): MeshError {
  return new MeshError('BAD_REQUEST', what)
}

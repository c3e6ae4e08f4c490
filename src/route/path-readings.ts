import { decodeUnreserved, pathOf, removeDotSegments } from './path.ts'

/** More readings than this mean that somebody is playing; real paths have one, with an escaped slash two. */
const readingsMax = 16
/** A path that can be read in several ways and is longer is not read at all: each reading costs a pass over it. */
const ambiguousBytesMax = 4_096

/**
 * What applications may take a path for. Only the application knows whether `%2F` is a slash to it, whether `;x` belongs to a
 * segment, whether `//` is `/`: so policy looks at every reading. What refuses holds if any reading meets it, what permits
 * only if all of them do.
 */
export class PathReadings {
  /** The path itself comes first. Empty: it cannot be read (escapes that are not UTF-8, or no end of readings). */
  readonly all: readonly string[]
  #folded: readonly string[] | undefined

  /** `path` as `pathOf` gives it; '' where a connection has none. */
  constructor(path: string) {
    const seen = look(path)
    this.all = (seen & ambiguous) === 0 ? [path] : readingsOf(path)
    // Nearly every path.
    if (seen === 0) this.#folded = this.all
  }

  get unreadable(): boolean {
    return this.all.length === 0
  }

  /**
   * The readings as applications see them that do not care for case, for dots and spaces at the end of a segment (Windows), or
   * for a slash at the end. For what refuses only: to permit `/Public` is not to permit `/public`.
   */
  get folded(): readonly string[] {
    this.#folded ??= foldedOf(this.all)
    return this.#folded
  }
}

const ambiguous = 1
const foldable = 2

/** In one pass: whether the path could be read in another way (`%`, `;`, `//`), and whether folding would change it. */
function look(path: string): number {
  let seen = 0
  let before = 0
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i)
    if (code === 0x25 || code === 0x3b) seen |= ambiguous | foldable
    else if (code === 0x2f) {
      if (before === 0x2f) seen |= ambiguous | foldable
      else if (before === 0x2e) seen |= foldable
    } else if (code >= 0x41 && code <= 0x5a) seen |= foldable
    before = code
  }
  return before === 0x2e || before === 0x2f ? seen | foldable : seen
}

/** What one more pass of some parser makes of a path, each on its own; the same string if it finds nothing to do. */
const steps: readonly ((path: string) => string)[] = [
  // Decoded before the path is split into segments; a backslash is a slash to Windows.
  (path) => path.replaceAll('%2F', '/'),
  (path) => path.replaceAll('%5C', '/'),
  (path) => path.replaceAll('%3B', ';'),
  // Decoded before the query and the fragment are split off (CVE-2020-8595, CVE-2021-32779).
  (path) => upTo(path, '%3F'),
  (path) => upTo(path, '%23'),
  // Parameters of a segment (RFC 3986 section 3.3), which servlets cut off: `/admin;x`, `/x/..;/admin`.
  (path) => (path.includes(';') ? path.replaceAll(/;[^/]*/g, '') : path),
  (path) => (path.includes('//') ? path.replaceAll(/\/{2,}/g, '/') : path),
  withoutAuthority,
  // Decoded twice. Its escapes are checked as those of any path.
  (path) => (path.includes('%25') ? pathOf(decodeUnreserved(path.replaceAll(percentOfEscape, '%'))) : path),
]

/** Whether a step finds anything to do. */
const anyStep = /;|\/\/|%(?:2[F35]|3[BF]|5C)/

const percentOfEscape = /%25(?=[0-9A-Fa-f]{2})/g

function upTo(path: string, mark: string): string {
  const at = path.indexOf(mark)
  return at === -1 ? path : path.slice(0, at)
}

/** `//host/path`, taken for a URL without its scheme. */
function withoutAuthority(path: string): string {
  if (!path.startsWith('//')) return path
  const at = path.indexOf('/', 2)
  return at === -1 ? '/' : path.slice(at)
}

/** All readings, the path first; none if one of them is no path, or there are too many. */
function readingsOf(path: string): readonly string[] {
  if (!escapesUtf8(path)) return []
  if (!anyStep.test(path)) return [path]
  if (path.length > ambiguousBytesMax) return []
  const found = new Set([path])
  for (const known of found) {
    for (const step of steps) {
      let next: string
      try {
        next = step(known)
        if (next === known) continue
        next = removeDotSegments(next)
      } catch {
        return []
      }
      if (found.has(next)) continue
      if (!escapesUtf8(next) || found.size === readingsMax) return []
      found.add(next)
    }
  }
  return [...found]
}

/** Refuses overlong forms such as %C0%AF, which some decoders read as a slash; others drop what they cannot read. */
function escapesUtf8(path: string): boolean {
  if (!path.includes('%')) return true
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

function foldedOf(readings: readonly string[]): readonly string[] {
  const folded = new Set<string>()
  for (const reading of readings) {
    const lower = reading.toLowerCase()
    addWithoutSlash(folded, lower)
    if (hasEnds(lower)) addWithoutSlash(folded, trimmedSegments(lower))
  }
  return [...folded]
}

function addWithoutSlash(folded: Set<string>, path: string): void {
  folded.add(path)
  if (path.length > 1 && path.endsWith('/')) folded.add(path.slice(0, -1))
}

/** Whether a segment ends in what Windows drops. */
function hasEnds(lower: string): boolean {
  return lower.endsWith('.') || lower.endsWith('%20') || lower.includes('./') || lower.includes('%20/')
}

function trimmedSegments(lower: string): string {
  return lower.split('/').map(trimmedEnd).join('/')
}

function trimmedEnd(segment: string): string {
  let end = segment.length
  for (;;) {
    if (end > 0 && segment.charCodeAt(end - 1) === 0x2e) end--
    else if (segment.endsWith('%20', end)) end -= 3
    else return segment.slice(0, end)
  }
}

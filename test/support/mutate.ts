/** Changes that parsers have been fooled by: bytes, pieces of HTTP/1.1's syntax, lines. */

/** A number in [0, n). */
export type Chance = (n: number) => number

/** A small seeded generator (mulberry32): numbers in [0, n). */
export function chance(seed: number): Chance {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * n)
  }
}

/** Pieces on which parsers have differed. */
const pieces = [
  '\r\n',
  '\n',
  '\r',
  '\r\r\n',
  '\n\r',
  '\r\n\r\n',
  '\n\n',
  '\r\n ',
  '\r\n\t',
  ' ',
  '\t',
  '\x0b',
  '\x0c',
  '\0',
  '\x7f',
  '\x80',
  '\xa0',
  '\x85',
  '\xff',
  ':',
  ' :',
  ': ',
  ',',
  ', ',
  ';',
  ';a',
  ';a="',
  '"',
  '\\',
  '=',
  '/',
  '//',
  '?',
  '#',
  '*',
  '%00',
  '%0d%0a',
  '@',
  '0',
  '1',
  '9',
  '00',
  '0x',
  '+',
  '-',
  '_',
  '.',
  'a',
  'f',
  'chunked',
  'identity',
  'gzip',
  'close',
  'keep-alive',
  'upgrade',
  '100-continue',
  'HTTP/1.1',
  'HTTP/1.0',
  'GET ',
  'HEAD ',
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'Host: app.test\r\n',
  'X-A: b\r\n',
  'TE: trailers\r\n',
  'Trailer: X-A\r\n',
  '0\r\n\r\n',
  '3\r\nabc\r\n',
  '3\r\nabc\r\n0\r\n\r\n',
  'GET /two HTTP/1.1\r\nHost: app.test\r\n\r\n',
] as const

export const one = <T>(list: readonly T[], pick: Chance): T => list[pick(list.length)]!

/** One change. Most fall where parsers look: line ends, colons, digits, blanks. `others`: what a part may be taken from. */
export function change(text: string, others: readonly string[], pick: Chance): string {
  const at = pick(4) === 0 ? pick(text.length + 1) : placeOfInterest(text, pick)
  switch (pick(9)) {
    case 0:
      return text.slice(0, at) + one(pieces, pick) + text.slice(at)
    case 1:
      return text.slice(0, at) + text.slice(at + 1 + pick(3))
    case 2:
      return text.slice(0, at) + one(pieces, pick) + text.slice(at + 1)
    case 3:
      return text.slice(0, at) + String.fromCharCode((text.charCodeAt(at) ^ (1 << pick(8))) & 0xff) + text.slice(at + 1)
    case 4:
      return text.slice(0, at) + String.fromCharCode(pick(256)) + text.slice(at)
    case 5:
      return text.slice(0, at) + text.slice(at, at + 2 + pick(12)) + text.slice(at)
    case 6: {
      const lines = text.split('\r\n')
      const from = pick(lines.length)
      const to = pick(lines.length)
      const moved = lines[from]!
      if (pick(2) === 0) lines[from] = lines[to]!
      lines[to] = moved
      return lines.join('\r\n')
    }
    case 7: {
      // The head of one, the rest of another.
      const other = one(others, pick)
      return text.slice(0, at) + other.slice(placeOfInterest(other, pick))
    }
    default:
      return text + one(pieces, pick)
  }
}

function placeOfInterest(text: string, pick: Chance): number {
  const from = pick(text.length + 1)
  for (let at = from; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c === 13 || c === 10 || c === 58 || c === 32 || (c >= 48 && c <= 57)) return at
  }
  return from
}

/** Requests near the edge, without end: the vectors, changed by bytes, by pieces of syntax and by lines; and fast-check's. */
import fc from 'fast-check'
import { vectors } from '../../attack/vectors.ts'
import { requestBytes } from '../../fuzz/inputs.ts'

/** A small seeded generator (mulberry32): numbers in [0, n). */
export function chance(seed: number): (n: number) => number {
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

const short = vectors.filter(({ bytes }) => bytes.length <= 1_500)
const seeds = short.map(({ bytes }) => bytes)
/** What is legal is worth more changes: what comes of it may still be accepted, and then five others must read it as we do. */
const legal = short.filter(({ verdict }) => verdict === 'served').map(({ bytes }) => bytes)

type Chance = (n: number) => number
const one = <T>(list: readonly T[], pick: Chance): T => list[pick(list.length)]!

/** One change. Most fall where parsers look: line ends, colons, digits, blanks. */
function change(text: string, pick: Chance): string {
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
      const other = one(seeds, pick)
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

/** `count` requests, the same for the same seed: three of four are changed vectors, the fourth is fast-check's. */
export function* mutants(seed: number, count: number): Generator<string> {
  const pick = chance(seed)
  let made: readonly Buffer[] = []
  let used = 0
  for (let i = 0; i < count; i++) {
    if (i % 4 === 3) {
      if (used === made.length) {
        made = fc.sample(requestBytes, { numRuns: 500, seed: pick(2 ** 31) })
        used = 0
      }
      yield made[used++]!.latin1Slice()
      continue
    }
    let text = one(pick(3) > 0 ? legal : seeds, pick)
    for (let changes = 1 + pick(pick(3) + 1); changes > 0; changes--) text = change(text, pick)
    yield text.slice(0, 8_000)
  }
}

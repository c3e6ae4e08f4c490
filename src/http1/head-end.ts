/** Finds the end of a head: the empty line (RFC 9112 section 2.1), and what will never have one. */

const CR = 0x0d
const LF = 0x0a
const terminator: Buffer = Buffer.from('\r\n\r\n')

/**
 * Position of the CRLFCRLF at or after `from`; -1 if there is a bare LF or CR before it comes (nobody agrees on
 * what follows), -2 if it is not here yet. Looks no further than `bytesMax` past `start`.
 */
export function findHeadEnd(chunk: Buffer, start: number, from: number, bytesMax: number): number {
  const at = chunk.indexOf(terminator, from)
  if (at !== -1) return at - start > bytesMax ? -2 : at
  let lf = chunk.indexOf(LF, from)
  while (lf !== -1) {
    if (lf === 0 || chunk[lf - 1] !== CR) return -1
    lf = chunk.indexOf(LF, lf + 1)
  }
  let cr = chunk.indexOf(CR, from)
  while (cr !== -1 && cr + 1 < chunk.length) {
    if (chunk[cr + 1] !== LF) return -1
    cr = chunk.indexOf(CR, cr + 1)
  }
  return -2
}

/**
 * The same in a text that is here already: an end at `from` or behind it, else -2. A bare LF before it is for the parser
 * of the lines to refuse.
 */
export function findHeadEndIn(text: string, start: number, bytesMax: number): number {
  const at = text.indexOf('\r\n\r\n', start)
  return at === -1 || at - start > bytesMax ? -2 : at
}

/** False if the request line is here and names no version (RFC 9112 section 3): the rest of such a head is awaited in vain. */
export function mayBecomeRequest(chunk: Buffer, start: number): boolean {
  const lf = chunk.indexOf(LF, start)
  return lf === -1 || / HTTP\/\d\.\d\r\n$/.test(chunk.toString('latin1', Math.max(start, lf - 10), lf + 1))
}

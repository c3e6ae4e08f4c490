/** What makes a field malformed by itself (RFC 9113 8.2.1, RFC 9110 5.1 and 5.5). The reasons never repeat a byte of the peer. */
import { classes, fieldValueChar, token } from '../../http1/chars.ts'

const COLON = 0x3a
const HTAB = 0x09
const SP = 0x20

/** A token without upper case. */
const lowerToken = 1
const valueChar = 2
const upperCase = 4

const bits = new Uint8Array(256)
for (let c = 0; c < 256; c++) {
  const isUpper = c >= 0x41 && c <= 0x5a
  if ((classes[c]! & token) !== 0 && !isUpper) bits[c]! |= lowerToken
  if ((classes[c]! & fieldValueChar) !== 0) bits[c]! |= valueChar
  if (isUpper) bits[c]! |= upperCase
}

/** Why `bytes` [pos, end) are no field name; undefined: they are one. A colon may come first, of a pseudo-header field. */
export function nameFault(bytes: Uint8Array, pos: number, end: number): string | undefined {
  const start = pos < end && bytes[pos] === COLON ? pos + 1 : pos
  if (start >= end) return 'empty field name'
  let all = lowerToken
  for (let i = start; i < end; i++) all &= bits[bytes[i]!]!
  if (all !== 0) return undefined
  for (let i = start; i < end; i++) if ((bits[bytes[i]!]! & upperCase) !== 0) return 'upper case in a field name'
  return 'forbidden character in a field name'
}

/** Why `bytes` [pos, end) are no field value. */
export function valueFault(bytes: Uint8Array, pos: number, end: number): string | undefined {
  if (pos >= end) return undefined
  let all = valueChar
  for (let i = pos; i < end; i++) all &= bits[bytes[i]!]!
  if (all === 0) return 'forbidden character in a field value'
  return isBlank(bytes[pos]!) || isBlank(bytes[end - 1]!) ? 'a field value begins or ends with a blank' : undefined
}

function isBlank(c: number): boolean {
  return c === SP || c === HTAB
}

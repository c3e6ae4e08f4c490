import { preface } from '../http2/frames.ts'

/** What the first bytes of a connection say it speaks. */
export type Protocol = 'http1' | 'h2' | 'tls' | 'opaque'

/** `need-more`: every byte so far fits some protocol that we know, and none is complete. */
export type Detection = Protocol | 'need-more'

/** RFC 9113 section 3.4. */
export const h2Preface = Buffer.from(preface, 'latin1')

/**
 * `detect` never answers `need-more` to this many bytes or more: what looks like a request line and is longer goes to
 * the HTTP/1 engine, which is strict and refuses, where an opaque relay would carry it past every policy.
 */
export const detectBytesMax = 2_048

/** Longer than any registered method (RFC 9110 section 16.1.1); no other text protocol has a longer first word either. */
const methodBytesMax = 32

/**
 * Pure decision over the bytes so far. Opaque at the first byte that excludes everything else, so that a protocol
 * that is not ours waits for nothing. HTTP/1 is taken widely on purpose (empty lines first, odd white space,
 * unknown methods): whatever a lenient server would read as a request must meet the strict engine.
 */
export function detect(bytes: Buffer): Detection {
  if (bytes.length === 0) return 'need-more'
  if (bytes[0] === 0x16) return detectTls(bytes)
  if (isPrefixOf(bytes, h2Preface)) return bytes.length >= h2Preface.length ? 'h2' : 'need-more'
  return detectHttp1(bytes)
}

/**
 * For bytes that are still undecided when the wait is over. None: the server speaks first, so opaque. Otherwise the
 * protocol that they are a beginning of, because its engine knows how long to wait for a slow head and how to
 * refuse; opaque would let whoever sends `G`, waits, and sends the rest past every HTTP policy.
 */
export function detectLate(bytes: Buffer): Protocol {
  const detection = detect(bytes)
  if (detection !== 'need-more') return detection
  if (bytes.length === 0) return 'opaque'
  if (bytes[0] === 0x16) return 'tls'
  return bytes.length >= 4 && isPrefixOf(bytes, h2Preface) ? 'h2' : 'http1'
}

/** A TLS record that opens with a ClientHello (RFC 8446 sections 4 and 5.1). */
function detectTls(bytes: Buffer): Detection {
  if (bytes.length > 1 && bytes[1] !== 0x03) return 'opaque'
  if (bytes.length > 2 && bytes[2]! > 0x04) return 'opaque'
  if (bytes.length < 5) return 'need-more'
  const length = bytes.readUInt16BE(3)
  if (length === 0 || length > 16_384) return 'opaque'
  if (bytes.length < 6) return 'need-more'
  return bytes[5] === 0x01 ? 'tls' : 'opaque'
}

function isPrefixOf(bytes: Buffer, whole: Buffer): boolean {
  const length = Math.min(bytes.length, whole.length)
  return bytes.compare(whole, 0, length, 0, length) === 0
}

/**
 * The common methods decide at once, at the white space behind them. Any other first word must show `HTTP/` in its
 * line, which tells a request from `EHLO host`, an SSH banner with a comment, RTSP or SIP.
 */
const decisiveMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH'])

function detectHttp1(bytes: Buffer): Detection {
  let at = 0
  while (at < bytes.length && (bytes[at] === 0x0d || bytes[at] === 0x0a)) at++
  const methodAt = at
  while (at < bytes.length && isTokenChar(bytes[at]!)) at++
  if (at - methodAt > methodBytesMax) return 'opaque'
  if (at === bytes.length) return bytes.length >= detectBytesMax ? 'http1' : 'need-more'
  if (at === methodAt || !isBlank(bytes[at]!)) return 'opaque'
  if (decisiveMethods.has(bytes.latin1Slice(methodAt, at))) return 'http1'
  return detectRequestLine(bytes, at)
}

function detectRequestLine(bytes: Buffer, from: number): Detection {
  for (let at = from + 1; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === 0x2f && at - from > 4 && isBlank(bytes[at - 5]!) && bytes.latin1Slice(at - 4, at) === 'HTTP') {
      return 'http1'
    }
    if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) return 'opaque'
  }
  return bytes.length >= detectBytesMax ? 'http1' : 'need-more'
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09
}

/** tchar of RFC 9110 section 5.6.2. */
function isTokenChar(byte: number): boolean {
  return tokenChars[byte] === 1
}

const tokenChars = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  tokenChars[char.charCodeAt(0)] = 1
}

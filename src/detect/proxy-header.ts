/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): how a load balancer that copies bytes says
 * whose connection it is. Pure; who may say so is for `Workload.proxy_protocol` to tell.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { ipv6Text } from '../base/address-text.ts'
import { crc32c } from './crc32c.ts'

/** A whole header. */
export interface ProxyHeader {
  readonly is: 'header'
  /** Length of the header. */
  readonly bytes: number
  /** The client; undefined where the header names none that is an IP address: the connection's own peer counts. */
  readonly client: { readonly address: string; readonly port: number } | undefined
}

/** Bytes that can be no beginning of a header, or a header that breaks a rule. */
export interface NoProxyHeader {
  readonly is: 'refused'
  readonly reason: string
}

/** Section 2.1: with the optional fields of UNKNOWN, CRLF included. */
export const proxyLineBytesMax = 107

/**
 * Addresses take at most 216 bytes; the rest is for TLVs, which may hold a client's certificate. The length field could
 * say 64 KiB, and nobody has been identified yet.
 */
export const proxyHeaderBytesMax = 4_096

const lineStart = Buffer.from('PROXY ', 'latin1')
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** Reads a header; undefined: more bytes are needed. A verdict stands whatever comes after it. */
export function proxyHeader(bytes: Buffer): ProxyHeader | NoProxyHeader | undefined {
  if (startsAs(bytes, lineStart)) return bytes.length <= lineStart.length ? undefined : lineHeader(bytes)
  if (startsAs(bytes, signature)) return binaryHeader(bytes)
  return refused('it does not begin with a PROXY header')
}

function startsAs(bytes: Buffer, whole: Buffer): boolean {
  const length = Math.min(bytes.length, whole.length)
  return bytes.compare(whole, 0, length, 0, length) === 0
}

function refused(reason: string): NoProxyHeader {
  return { is: 'refused', reason }
}

// ------------------------------------------------------------------ version 1 (section 2.1)

function lineHeader(bytes: Buffer): ProxyHeader | NoProxyHeader | undefined {
  const head = bytes.subarray(0, proxyLineBytesMax)
  const end = head.findIndex((byte) => byte === 0x0d || byte === 0x0a)
  if (end === -1) {
    return head.length < proxyLineBytesMax ? undefined : refused('its PROXY line does not end within 107 bytes')
  }
  // A line that breaks off at its very last byte has no room for a CRLF either.
  if (end === head.length - 1 && head[end] === 0x0d && head.length < proxyLineBytesMax) return undefined
  if (head[end] !== 0x0d || head[end + 1] !== 0x0a) return refused('its PROXY line is not ended by CRLF')
  const line = head.latin1Slice(lineStart.length, end)
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN ')) return { is: 'header', bytes: end + 2, client: undefined }
  const fields = line.split(' ')
  const [family, source = '', destination = '', sourcePort = '', destinationPort = ''] = fields
  if (fields.length !== 5) return refused('its PROXY line has not six words')
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : undefined
  if (isAddress === undefined) return refused('its PROXY line is neither of TCP4 nor TCP6 nor UNKNOWN')
  if (!isAddress(source) || !isAddress(destination)) return refused('its PROXY line has an address that is none')
  if (!isPortText(sourcePort) || !isPortText(destinationPort)) return refused('its PROXY line has a port that is none')
  const address = family === 'TCP4' ? source : ipv6Text(groupsOf(source))
  return { is: 'header', bytes: end + 2, client: { address, port: Number(sourcePort) } }
}

/** Hexadecimal groups only: no dotted part, no zone. */
function isPlainIPv6(text: string): boolean {
  return /^[0-9a-fA-F:]+$/.test(text) && isIPv6(text)
}

/** From 0 to 65535, without leading zeros. */
function isPortText(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}

/** The eight groups of an address that `isPlainIPv6` found well. */
function groupsOf(text: string): number[] {
  const [front = '', back] = text.split('::')
  const groups = (part: string): number[] =>
    part.split(':').flatMap((word) => (word === '' ? [] : [parseInt(word, 16)]))
  const [first, last] = [groups(front), groups(back ?? '')]
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last]
}

// ------------------------------------------------------------------ version 2 (section 2.2)

const fixedBytes = 16
/** Of both addresses, with the ports where there are some; by address family. */
const addressBytes: Readonly<Record<number, number>> = { 1: 12, 2: 36, 3: 216 }
const stream = 1
const crcType = 0x03

function binaryHeader(bytes: Buffer): ProxyHeader | NoProxyHeader | undefined {
  if (bytes.length <= signature.length) return undefined
  const command = bytes[12]! & 0x0f
  if (bytes[12]! >> 4 !== 2) return refused('its PROXY header is not of version 2')
  if (command > 1) return refused('its PROXY header has a command that is none')
  if (bytes.length < fixedBytes) return undefined
  const length = fixedBytes + bytes.readUInt16BE(14)
  if (length > proxyHeaderBytesMax) return refused(`its PROXY header is longer than ${proxyHeaderBytesMax} bytes`)
  if (bytes.length < length) return undefined
  const header = bytes.subarray(0, length)
  // LOCAL: a connection of the load balancer's own. Whatever else it says is ignored, the family included.
  if (command === 0) return { is: 'header', bytes: length, client: undefined }
  const family = header[13]! >> 4
  const transport = header[13]! & 0x0f
  if (family > 3 || transport > 2) return refused('its PROXY header has a family or transport that is none')
  const address = addressBytes[family]
  // AF_UNSPEC: what follows has no form that could be checked.
  if (address === undefined) return { is: 'header', bytes: length, client: undefined }
  if (length < fixedBytes + address) return refused('its PROXY header is too short for its addresses')
  const fault = tlvFault(header, fixedBytes + address)
  if (fault !== undefined) return refused(fault)
  return { is: 'header', bytes: length, client: transport === stream ? clientOf(header, family) : undefined }
}

function clientOf(header: Buffer, family: number): ProxyHeader['client'] {
  if (family === 1) {
    const address = `${header[16]}.${header[17]}.${header[18]}.${header[19]}`
    return { address, port: header.readUInt16BE(24) }
  }
  if (family !== 2) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => header.readUInt16BE(16 + 2 * i))
  return { address: ipv6Text(groups), port: header.readUInt16BE(48) }
}

/** TLVs are passed over, but they must fill what is left exactly, and a checksum must be right (section 2.2.3). */
function tlvFault(header: Buffer, from: number): string | undefined {
  let checksumAt = 0
  for (let at = from; at < header.length; ) {
    if (at + 3 > header.length) return 'its PROXY header ends in the middle of a TLV'
    const length = header.readUInt16BE(at + 1)
    if (at + 3 + length > header.length) return 'its PROXY header ends in the middle of a TLV'
    if (header[at] === crcType) {
      if (length !== 4 || checksumAt !== 0) return 'its PROXY header has a checksum that is none'
      checksumAt = at + 3
    }
    at += 3 + length
  }
  if (checksumAt === 0) return undefined
  const zeroed = Buffer.from(header)
  zeroed.fill(0, checksumAt, checksumAt + 4)
  return crc32c(zeroed) === header.readUInt32BE(checksumAt) ? undefined : 'the checksum of its PROXY header is wrong'
}

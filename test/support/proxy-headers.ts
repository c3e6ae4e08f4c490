/** PROXY headers of version 2, byte by byte. */
import { crc32c } from '../../src/detect/crc32c.ts'

export const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** `command`: version and command, such as 0x21. `family`: family and transport, such as 0x11. */
export function binary(command: number, family: number, ...parts: readonly Buffer[]): Buffer {
  const block = Buffer.concat(parts)
  const fixed = Buffer.from([command, family, block.length >> 8, block.length & 0xff])
  return Buffer.concat([signature, fixed, block])
}

/** One TLV; `value` is latin1. */
export function tlv(type: number, value = ''): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), Buffer.from(value, 'latin1')])
}

/** The same header, its checksum TLV (which must be zeroed, and be the first `03 00 04` behind the addresses) filled in. */
export function withChecksum(header: Buffer): Buffer {
  const at = header.indexOf(tlv(3, '\0\0\0\0'), 28) + 3
  const filled = Buffer.from(header)
  filled.writeUInt32BE(crc32c(header), at)
  return filled
}

/** A header of version 2 for a TCP connection over IPv4. */
export function tcp4(client: string, port: number): Buffer {
  const addresses = Buffer.from([...client.split('.').map(Number), 127, 0, 0, 1, port >> 8, port & 0xff, 0, 80])
  return binary(0x21, 0x11, addresses)
}

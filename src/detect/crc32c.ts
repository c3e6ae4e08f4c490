/** Polynomial 0x1edc6f41, bits reversed (RFC 4960 appendix B). `zlib.crc32` has another one. */
const polynomial = 0x82f63b78

const table = new Uint32Array(256)
for (let byte = 0; byte < 256; byte++) {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1
  table[byte] = value
}

/** CRC32c of bytes. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

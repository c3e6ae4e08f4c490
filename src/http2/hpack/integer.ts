/** Integers of HPACK (RFC 7541 5.1), written. The decoder reads them in place. */

/** One character for each byte. */
export const octets: readonly string[] = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte))

/** `value` behind the bits of `first` that are not of the prefix; `prefixMax` is 2^bits - 1. */
export function integer(first: number, prefixMax: number, value: number): string {
  if (value < prefixMax) return octets[first | value]!
  let text = octets[first | prefixMax]!
  for (value -= prefixMax; value >= 0x80; value = Math.floor(value / 0x80)) text += octets[0x80 | (value & 0x7f)]!
  return text + octets[value]!
}

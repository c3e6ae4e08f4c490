/** Integers of HPACK (RFC 7541 5.1), written. The decoder reads them in place. */
import { chars } from '../octets.ts'

/** `value` behind the bits of `first` that are not of the prefix; `prefixMax` is 2^bits - 1. */
export function integer(first: number, prefixMax: number, value: number): string {
  if (value < prefixMax) return chars[first | value]!
  let text = chars[first | prefixMax]!
  for (value -= prefixMax; value >= 0x80; value = Math.floor(value / 0x80)) text += chars[0x80 | (value & 0x7f)]!
  return text + chars[value]!
}

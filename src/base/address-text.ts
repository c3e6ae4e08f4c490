/** Ports, address ranges, interface names, and lists of them, as people write them in flags and annotations. */
import { isIP } from 'node:net'

/** A decimal number from 1 to 65535. */
export function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

/** The range with its prefix length, that of one address when none is written (`10.1.2.3` is `10.1.2.3/32`). */
export function addressRange(text: string): string | undefined {
  const [address = '', length, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return undefined
  const most = family === 6 ? 128 : 32
  if (length === undefined) return `${address}/${most}`
  return /^\d{1,3}$/.test(length) && Number(length) <= most ? text : undefined
}

/** The items of a comma separated list, without the space around them. */
export function commaList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** As Linux has them, at most 15 characters, or all that begin so (`eth+`), as iptables writes it. */
export function isInterfaceName(text: string): boolean {
  return /^[A-Za-z0-9._@][A-Za-z0-9._@-]{0,14}\+?$/.test(text)
}

/**
 * Text of an IPv6 address of eight groups, as RFC 5952 has it: lower case, the longest run of two or more zero groups as
 * `::`. A v4-mapped one is IPv4: to whoever compares addresses it must be the same peer.
 */
export function ipv6Text(groups: readonly number[]): string {
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.')
  }
  let bestAt = -1
  let bestLength = 1
  for (let at = 0; at < 8; at++) {
    let length = 0
    while (at + length < 8 && groups[at + length] === 0) length++
    if (length > bestLength) {
      bestAt = at
      bestLength = length
    }
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':')
  return bestAt < 0 ? text(0, 8) : `${text(0, bestAt)}::${text(bestAt + bestLength, 8)}`
}

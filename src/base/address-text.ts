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

/** As Linux has them, at most 15 characters, or all that begin so (`eth+`), as iptables writes it. */
export function isInterfaceName(text: string): boolean {
  return /^[A-Za-z0-9._@][A-Za-z0-9._@-]{0,14}\+?$/.test(text)
}

import { BlockList, isIP } from 'node:net'

/**
 * Whether an address is in any of the blocks (`10.0.0.0/8`, `192.0.2.7`, `fd00::/8`). Throws an Error that names a block that
 * is none; what it returns throws for what is no address.
 */
export function addressBlocks(blocks: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const block of blocks) addBlock(list, block)
  return (text) => {
    const address = plainAddress(text)
    const family = isIP(address)
    if (family === 0) throw new Error(`"${text}" is not an IP address`)
    return list.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** An IPv4 peer of a dual-stack socket is an IPv4 peer; a zone (`%eth0`) is no part of the address. */
function plainAddress(address: string): string {
  if (address.startsWith('::ffff:') && isIP(address.slice(7)) === 4) return address.slice(7)
  const zone = address.indexOf('%')
  return zone === -1 ? address : address.slice(0, zone)
}

function addBlock(list: BlockList, block: string): void {
  const [address = '', length, more] = block.split('/')
  const family = isIP(address)
  const bits = family === 6 ? 128 : 32
  const prefix = length === undefined ? bits : /^[0-9]{1,3}$/.test(length) ? Number(length) : -1
  if (family === 0 || more !== undefined || prefix < 0 || prefix > bits) {
    throw new Error(`"${block}" is not an address block such as 10.0.0.0/8`)
  }
  list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4')
}

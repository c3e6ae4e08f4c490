import { connect, createServer, type Socket } from 'node:net'
import { ipv6Text } from '../base/address-text.ts'

export interface Destination {
  /** IPv4 or IPv6 text; never v4-mapped. */
  readonly address: string
  readonly port: number
}

/** Where the peer of a redirected connection meant to go; undefined if the kernel does not know it as redirected. */
export type OriginalDestination = (socket: Socket) => Destination | undefined

const remedy = 'use explicit capture (--capture explicit), or run on a Linux host with netfilter'

/** getsockopt(fd, level, option, value, length); 0, or the errno. */
type GetSockOpt = (fd: number, level: number, option: number, value: Buffer, length: Buffer) => number

const SOL_IP = 0
const SOL_IPV6 = 41
/** SO_ORIGINAL_DST of linux/netfilter_ipv4.h and IP6T_SO_ORIGINAL_DST of netfilter_ipv6/ip6_tables.h. */
const SO_ORIGINAL_DST = 80
const AF_INET = 2
const AF_INET6 = 10
const ENOENT = 2

/**
 * Loads the one native call that redirect capture needs (koffi; not loaded in explicit mode) and proves on a
 * loopback connection that it works here. Rejects with what is missing and what to do instead.
 */
export async function loadOriginalDestination(): Promise<OriginalDestination> {
  const getSockOpt = await loadGetSockOpt()
  await selfTest(getSockOpt)
  const value = Buffer.alloc(28)
  const length = Buffer.alloc(4)
  return (socket) => {
    const fd = fileDescriptor(socket)
    const remote = socket.remoteAddress
    if (fd === undefined || remote === undefined) return undefined
    // A v4 client of a dual-stack listener has a v6 socket, but its translation stands in the v4 table.
    const v6 = remote.includes(':') && !remote.startsWith('::ffff:')
    length.writeInt32LE(v6 ? 28 : 16)
    if (getSockOpt(fd, v6 ? SOL_IPV6 : SOL_IP, SO_ORIGINAL_DST, value, length) !== 0) return undefined
    return parseSockAddr(value)
  }
}

/** Reads a `sockaddr_in` or `sockaddr_in6`; undefined for another family. The family is in host order, the rest in network order. */
export function parseSockAddr(bytes: Buffer): Destination | undefined {
  const family = bytes.readUInt16LE(0)
  const port = bytes.readUInt16BE(2)
  if (family === AF_INET) return { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port }
  if (family !== AF_INET6) return undefined
  const groups: number[] = []
  for (let at = 8; at < 24; at += 2) groups.push(bytes.readUInt16BE(at))
  return { address: ipv6Text(groups), port }
}

/** Undocumented but present on every accepted TCP socket until it is destroyed; the self-test watches over it. */
function fileDescriptor(socket: Socket): number | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

async function loadGetSockOpt(): Promise<GetSockOpt> {
  if (process.platform !== 'linux') {
    throw new Error(`redirect capture: needs Linux, this is ${process.platform}; ${remedy}`)
  }
  try {
    const koffi = (await import('koffi')).default
    const libc = koffi.load(null)
    const call = libc.func('int getsockopt(int, int, int, void *, void *)')
    return (fd, level, option, value, length) => (call(fd, level, option, value, length) === 0 ? 0 : koffi.errno())
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`redirect capture: the package koffi cannot be loaded (${why}); run npm ci, or ${remedy}`, {
      cause: error,
    })
  }
}

/** A connection that nobody redirected must answer with its own address, or ENOENT while no NAT rule stands. */
async function selfTest(getSockOpt: GetSockOpt): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as { port: number }
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const client = connect(port, '127.0.0.1').on('error', () => {})
  const socket = await accepted
  try {
    const fd = fileDescriptor(socket)
    if (fd === undefined) {
      throw new Error(`redirect capture: this Node (${process.version}) does not show a socket's descriptor; ${remedy}`)
    }
    const value = Buffer.alloc(28)
    const length = Buffer.alloc(4)
    length.writeInt32LE(16)
    const errno = getSockOpt(fd, SOL_IP, SO_ORIGINAL_DST, value, length)
    if (errno === ENOENT) return
    if (errno !== 0) {
      throw new Error(
        `redirect capture: the kernel refuses SO_ORIGINAL_DST (errno ${errno}): no connection tracking, or a sandbox forbids it; ${remedy}`,
      )
    }
    const found = parseSockAddr(value)
    if (found?.port !== port || found.address !== '127.0.0.1') {
      throw new Error(
        `redirect capture: SO_ORIGINAL_DST answers nonsense (${found?.address}:${found?.port}); ${remedy}`,
      )
    }
  } finally {
    socket.destroy()
    client.destroy()
    server.close()
  }
}

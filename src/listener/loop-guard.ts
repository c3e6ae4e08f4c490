import { isIPv6, type Socket, SocketAddress } from 'node:net'
import { networkInterfaces } from 'node:os'
import { deliverySource } from './capture-rules.ts'
import type { Destination } from './original-destination.ts'

/**
 * Why a captured connection must be dropped. `direct`: it was not redirected, somebody dialled the capture port.
 * `own-listener`: it was meant for a port on which this proxy listens. `own-socket`: this proxy dialled it itself,
 * so its traffic is not excluded from capture (wrong uid, missing capability) and every hop would make another.
 */
export type Loop = 'direct' | 'own-listener' | 'own-socket'

interface Bound {
  getsockname(out: { address?: string; port?: number }): number
}

/** Keeps a proxy from talking to itself under redirect capture. Counts what it finds. */
export class LoopGuard {
  readonly #ports: Set<number>
  readonly #dialled = new Set<string>()
  readonly found: Record<Loop, number> = { direct: 0, 'own-listener': 0, 'own-socket': 0 }

  /** `ports`: every port on which this proxy listens. */
  constructor(ports: Iterable<number>) {
    this.#ports = new Set(ports)
  }

  addPort(port: number): void {
    this.#ports.add(port)
  }

  /** Our own connections that are open now. */
  get dialled(): number {
    return this.#dialled.size
  }

  /**
   * Remembers both ends of a connection that we make. Call it right after `net.connect` or `tls.connect`, before
   * anything is awaited: the kernel may hand us its other end before it tells us that it is connected.
   */
  track(socket: Socket): void {
    const remember = (address: string | undefined, port: number | undefined) => {
      const handle = (socket as unknown as { _handle?: Bound | null })._handle
      const name: { address?: string; port?: number } = {}
      // Not socket.localPort: that would be cached before the port is chosen.
      if (handle == null || handle.getsockname(name) !== 0 || !name.port) return
      const key = `${endKey(name.address, name.port)} ${endKey(shortForm(address), port)}`
      if (this.#dialled.has(key)) return
      this.#dialled.add(key)
      socket.once('close', () => this.#dialled.delete(key))
    }
    if (socket.connecting) {
      socket.on('connectionAttempt', (address, port) => process.nextTick(remember, address, port))
      socket.once('connect', () => remember(socket.remoteAddress, socket.remotePort))
    } else {
      remember(socket.remoteAddress, socket.remotePort)
    }
  }

  /**
   * Undefined: go on. `destination`: its original destination, as `OriginalDestination` found it. `direction`: of the
   * listener that accepted it.
   */
  check(socket: Socket, destination: Destination | undefined, direction: 'outbound' | 'inbound'): Loop | undefined {
    const loop = this.#look(socket, destination, direction)
    if (loop !== undefined) this.found[loop]++
    return loop
  }

  #look(socket: Socket, destination: Destination | undefined, direction: 'outbound' | 'inbound'): Loop | undefined {
    if (destination === undefined) return 'direct'
    // Both ends: the kernel gives an application the port that one of our own connections has, if they lead elsewhere.
    const ends = `${endKey(socket.remoteAddress, socket.remotePort)} ${endKey(destination.address, destination.port)}`
    // Inbound, a connection of our own is an application that calls its own Service, unless it is the delivery to it.
    if (this.#dialled.has(ends) && (direction === 'outbound' || isDelivery(socket.remoteAddress))) return 'own-socket'
    if (!this.#ports.has(destination.port)) return undefined
    if (destination.port === socket.localPort && destination.address === plainAddress(socket.localAddress)) {
      return 'direct'
    }
    return isOwnAddress(destination.address) ? 'own-listener' : undefined
  }
}

function endKey(address: string | undefined, port: number | undefined): string {
  return `${plainAddress(address)} ${port}`
}

/** IPv6 as the kernel prints it; what is dialled may be written in another way. */
function shortForm(address: string | undefined): string | undefined {
  return address === undefined || !isIPv6(address) ? address : new SocketAddress({ address, family: 'ipv6' }).address
}

function isDelivery(address: string | undefined): boolean {
  return Object.values(deliverySource).includes(plainAddress(address))
}

/** v4-mapped addresses of dual-stack sockets as plain IPv4. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return ''
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** Asked only for our own port numbers, so hardly ever: no cache that could grow stale. */
function isOwnAddress(address: string): boolean {
  if (address.startsWith('127.') || address === '::1' || address === '0.0.0.0' || address === '::') return true
  return Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === address))
}

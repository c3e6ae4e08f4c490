/** A connection that comes in for the application: where it meant to go, whose it is, and from where it is delivered. */
import net, { type Socket } from 'node:net'
import type { Downstream } from './base/exchange.ts'
import { deliverySource } from './listener/capture-rules.ts'
import { plainAddress } from './listener/loop-guard.ts'
import type { ProxyOptions } from './options.ts'
import type { Destination } from './upstream/connect.ts'

/** A connection between its acceptance and the decision what it is. */
export interface Arrival {
  readonly app: Destination
  readonly address: string
  readonly port: number
  /** Whose connection it is, by a PROXY header that is believed; undefined: its own far end's. */
  readonly client?: { readonly address: string; readonly port: number } | undefined
}

/** Under redirect, what we deliver to the application must not be captured again: it comes from an address of its own. */
export function deliveryAddress({ capture }: ProxyOptions, address: string): string | undefined {
  if (capture !== 'redirect') return undefined
  return net.isIPv6(address) ? deliverySource.ipv6 : deliverySource.ipv4
}

export function downstreamOf(socket: Socket, arrival: Arrival, identity: string | undefined): Downstream {
  const { client } = arrival
  const peer = { address: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 }
  return {
    direction: 'inbound',
    remoteAddress: client?.address ?? peer.address,
    remotePort: client?.port ?? peer.port,
    proxy: client === undefined ? undefined : peer,
    localAddress: arrival.address,
    localPort: arrival.port,
    identity,
    tls: identity !== undefined,
    captured: false,
  }
}

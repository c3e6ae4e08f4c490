import type { TcpStats } from '../admin/stats.ts'
import type { Metrics } from './metrics.ts'
import type { Direction, TrafficBook } from './traffic.ts'

/** Counts one opaque connection; its slots are resolved when it opens. */
export interface TcpConnection {
  /** Bytes relayed since the last call, towards the upstream and from it. Long connections call it as they go. */
  relayed(sent: number, received: number): void
  /** Once. */
  closed(): void
}

/** Opaque connections, in the metrics and in `GET /stats`. */
export class TcpBook {
  readonly #metrics: Metrics
  readonly #traffic: TrafficBook
  readonly #totals = { opened: 0, closed: 0, sent: 0, received: 0 }

  constructor(metrics: Metrics, traffic: TrafficBook) {
    this.#metrics = metrics
    this.#traffic = traffic
  }

  open(direction: Direction, service: string, identity: string, workload: string, revision: string): TcpConnection {
    const metrics = this.#metrics
    const totals = this.#totals
    const peer =
      direction === 'inbound'
        ? { ...this.#traffic.inboundPeer(identity), service, protocol: 'tcp' as const }
        : this.#traffic.outboundPeer(service, workload, revision, identity, 'tcp')
    const values = metrics.peerValues(peer)
    const sentSlot = metrics.tcpSent.slot(values)
    const receivedSlot = metrics.tcpReceived.slot(values)
    metrics.tcpOpened.count(values)
    totals.opened++
    return {
      relayed(sent, received) {
        metrics.tcpSent.add(sentSlot, sent)
        metrics.tcpReceived.add(receivedSlot, received)
        totals.sent += sent
        totals.received += received
      },
      closed() {
        metrics.tcpClosed.count(values)
        totals.closed++
      },
    }
  }

  stats(): TcpStats {
    return { ...this.#totals }
  }
}

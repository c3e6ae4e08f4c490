import type { SourceStats } from '../admin/stats.ts'
import type { Exchange } from '../base/exchange.ts'
import { isServerError } from '../base/grpc.ts'
import { parseSpiffeId } from '../base/spiffe.ts'
import type { Metrics, Peer } from './metrics.ts'
import type { Result } from './result.ts'
import { Traffic } from './totals.ts'

/** Which way a request crosses the sidecar. */
export type Direction = 'outbound' | 'inbound'

/** Whose traffic it is. */
export interface Workload {
  readonly namespace: string
  /** The Pod's name. */
  readonly name: string
  readonly serviceAccount: string
  readonly canonicalService: string
  readonly revision: string
}

/** All that counting one request touches, resolved once per (service, workload, version, identity). */
interface Series {
  readonly revision: string
  readonly identity: string
  readonly traffic: Traffic
  readonly source: { requests: number; failures: number } | undefined
  readonly values: readonly string[]
  readonly durationSlot: number
  /** By status, of gRPC calls by both, for requests without flags: nearly all of them. */
  readonly plainSlots: Map<number, number>
}

/** Endpoints come and go; past this many the cache starts afresh (the slots behind it stay). */
const seriesCachedMax = 4_096
const upstreamsMax = 1_000
const sourcesMax = 200

/** Counts each finished exchange, once, in the metrics and in the totals of `GET /stats`. */
export class TrafficBook {
  readonly inbound = new Traffic()
  readonly upstreams = new Map<string, Traffic>()
  readonly #sources = new Map<string, { requests: number; failures: number }>()
  /** Service, then workload (outbound) or identity (inbound). */
  readonly #series = {
    outbound: { http: new Map<string, Map<string, Series>>(), grpc: new Map<string, Map<string, Series>>() },
    inbound: { http: new Map<string, Map<string, Series>>(), grpc: new Map<string, Map<string, Series>>() },
  }
  #cached = 0
  readonly #metrics: Metrics
  #self: Workload
  readonly #identity: () => string

  /** `identity` is the workload's own SPIFFE id; '' before it has one. */
  constructor(metrics: Metrics, self: Workload, identity: () => string) {
    this.#metrics = metrics
    this.#self = self
    this.#identity = identity
  }

  /** The workload is called differently from now on; what was counted stays where it was. */
  rename(self: Workload): void {
    this.#self = self
    this.#forget()
  }

  add(direction: Direction, exchange: Exchange, result: Result, durationMs: number): void {
    const series = this.#seriesOf(direction, exchange)
    const attempts = exchange.attempts
    const retries = attempts.length > 1 ? this.#countTries(exchange) : 0
    series.traffic.add(result, durationMs, retries)
    const source = series.source
    if (source !== undefined) {
      source.requests++
      if (result.failed) source.failures++
    }
    const metrics = this.#metrics
    const { status, grpcStatus, flags } = result
    const key = status + (grpcStatus + 1) * 1_000
    let slot = flags === '-' ? series.plainSlots.get(key) : undefined
    if (slot === undefined) {
      const call = grpcStatus === -1 ? '' : String(grpcStatus)
      slot = metrics.requests.slot([...series.values, String(status), flags, call])
      if (flags === '-') series.plainSlots.set(key, slot)
    }
    metrics.requests.add(slot, 1)
    metrics.duration.observe(series.durationSlot, durationMs / 1_000)
    if (attempts.length > 1 || result.flags !== '-') this.#countFaults(exchange)
  }

  sources(): SourceStats[] {
    return Array.from(this.#sources, ([source, { requests, failures }]) => ({ source, requests, failures }))
  }

  /** The totals of a service; those past the limit share one. */
  upstream(service: string): Traffic {
    const known = this.upstreams.get(service)
    if (known !== undefined) return known
    const name = this.upstreams.size < upstreamsMax ? service : 'other'
    const traffic = this.upstreams.get(name) ?? new Traffic()
    this.upstreams.set(name, traffic)
    return traffic
  }

  /**
   * Two lookups by strings whose hashes are known already (names from policy, the identity of a connection) cost a
   * fifth of one by a key that is joined for each request.
   */
  #seriesOf(direction: Direction, exchange: Exchange): Series {
    const attempts = exchange.attempts
    const last = direction === 'inbound' ? undefined : attempts[attempts.length - 1]
    const identity = direction === 'inbound' ? (exchange.downstream.identity ?? '') : (last?.identity ?? '')
    const revision = last?.revision ?? ''
    const protocol = exchange.isGrpc ? 'grpc' : 'http'
    const peer = direction === 'inbound' ? identity : (last?.workload ?? '')
    const services = this.#series[direction][protocol]
    const known = services.get(exchange.service)?.get(peer)
    // A workload that came back as another version or under another identity takes the place of the old one.
    if (known !== undefined && known.revision === revision && known.identity === identity) return known
    const series = this.#resolve(direction, exchange.service, peer, revision, identity, protocol)
    // The workload's own identity is a label under mTLS: before it is known nothing may be remembered.
    if (direction === 'inbound' || identity === '' || this.#identity() !== '') {
      if (this.#cached++ >= seriesCachedMax) this.#forget()
      const peers = services.get(exchange.service)
      if (peers === undefined) services.set(exchange.service, new Map([[peer, series]]))
      else peers.set(peer, series)
    }
    return series
  }

  #resolve(
    direction: Direction,
    service: string,
    workload: string,
    revision: string,
    identity: string,
    protocol: Peer['protocol'],
  ): Series {
    const isInbound = direction === 'inbound'
    const values = this.#metrics.peerValues(
      isInbound
        ? { ...this.inboundPeer(identity), service, protocol }
        : this.outboundPeer(service, workload, revision, identity, protocol),
    )
    return {
      revision,
      identity,
      traffic: isInbound ? this.inbound : this.upstream(service === '' ? 'unknown' : service),
      source: isInbound ? this.#source(identity === '' ? 'plaintext' : identity) : undefined,
      values,
      durationSlot: this.#metrics.duration.slot(values),
      plainSlots: new Map(),
    }
  }

  #forget(): void {
    this.#cached = 0
    for (const protocols of Object.values(this.#series))
      for (const services of Object.values(protocols)) services.clear()
  }

  outboundPeer(
    service: string,
    workload: string,
    revision: string,
    identity: string,
    protocol: Peer['protocol'],
  ): Peer {
    const mtls = identity !== ''
    return {
      reporter: 'source',
      sourceWorkload: workloadName(this.#self),
      sourceNamespace: this.#self.namespace,
      sourcePrincipal: mtls ? this.#identity() : '',
      service,
      destinationWorkload: workload,
      destinationVersion: revision,
      protocol,
      mtls,
    }
  }

  /** mTLS proves a service account, not a Pod: its name stands for the source workload. */
  inboundPeer(identity: string): Omit<Peer, 'service' | 'protocol'> {
    const id = identity === '' ? undefined : parseSpiffeId(identity)
    return {
      reporter: 'destination',
      sourceWorkload: id?.serviceAccount ?? '',
      sourceNamespace: id?.namespace ?? '',
      sourcePrincipal: identity,
      destinationWorkload: workloadName(this.#self),
      destinationVersion: this.#self.revision,
      mtls: identity !== '',
    }
  }

  #source(name: string): { requests: number; failures: number } {
    const known = this.#sources.get(name)
    if (known !== undefined) return known
    const kept = this.#sources.size < sourcesMax ? name : 'other'
    const source = this.#sources.get(kept) ?? { requests: 0, failures: 0 }
    this.#sources.set(kept, source)
    return source
  }

  /** Counts the tries after the first; returns how many of them were retries. */
  #countTries(exchange: Exchange): number {
    const service = exchange.service === '' ? 'unknown' : exchange.service
    let retries = 0
    for (const { number, hedge, error, status, grpcStatus } of exchange.attempts) {
      if (number === 1) continue
      const superseded = error?.code === 'SUPERSEDED'
      const outcome = superseded
        ? 'superseded'
        : error === undefined && status < 500 && !isServerError(grpcStatus)
          ? 'success'
          : 'failure'
      if (hedge) this.#metrics.hedges.count([service, outcome])
      // A retry beside which a hedge was answered first brought nothing.
      else this.#metrics.retries.count([service, outcome === 'success' ? 'success' : 'failure'])
      if (!hedge) retries++
    }
    return retries
  }

  #countFaults(exchange: Exchange): void {
    let inAttempts = false
    for (const attempt of exchange.attempts) {
      if (attempt.faultDelayMs > 0) this.#metrics.faultInjected('delay', exchange.service)
      if (attempt.error?.code !== 'FAULT_ABORTED') continue
      inAttempts = true
      this.#metrics.faultInjected(attempt.error.reset ? 'reset' : 'abort', exchange.service)
    }
    // Inbound faults happen where there are no tries.
    const error = exchange.error
    if (inAttempts || error?.code !== 'FAULT_ABORTED') return
    this.#metrics.faultInjected(error.reset ? 'reset' : 'abort', exchange.service)
  }
}

function workloadName(self: Workload): string {
  return self.canonicalService === '' ? self.name : self.canonicalService
}

/** What takes traffic: the listeners, the two paths behind them, and what these share. Knows no control plane. */
import type { Socket } from 'node:net'
import type { Stats } from './admin/stats.ts'
import type { Resource } from './api/gen/outrigger_pb.ts'
import { deliveryAddress } from './arrival.ts'
import { BackendRegistry, type ServiceSnapshot } from './balance/backends.ts'
import type { Transition } from './balance/breaker.ts'
import type { Ejection } from './balance/outlier.ts'
import { type Clock, sleep, type Timer } from './base/clock.ts'
import type { Live } from './base/live.ts'
import type { Log } from './base/log.ts'
import { SharedCount, type SharedTable } from './base/shared-table.ts'
import type { PolicySource } from './control/policy-source.ts'
import { checkResource, Destinations } from './destinations.ts'
import type { Credentials } from './identity/credentials.ts'
import { Inbound } from './inbound.ts'
import { checkWorkload } from './inbound-policy.ts'
import { Listener } from './listener/listener.ts'
import { LoopGuard } from './listener/loop-guard.ts'
import { loadOriginalDestination, type OriginalDestination } from './listener/original-destination.ts'
import type { HostPort, ProxyOptions } from './options.ts'
import { Outbound } from './outbound.ts'
import { describeTo, OwnPolicy } from './own-policy.ts'
import type { InboundEnv, OutboundEnv, PolicyEvent } from './policy/env.ts'
import { OwnInFlight } from './policy/in-flight.ts'
import { MemoryBound } from './policy/memory-bound.ts'
import { Overload } from './policy/overload.ts'
import { SharedInFlight } from './policy/shared-limits.ts'
import type { Runtime } from './runtime.ts'
import type { BackendFacts, Telemetry } from './telemetry/telemetry.ts'
import { attemptSpanId, traceHeaderLines } from './telemetry/trace-context.ts'
import { Connector } from './upstream/connect.ts'
import type { PoolShares } from './upstream/pool-share.ts'
import { type PoolSize, Pools } from './upstream/pools.ts'

/** Requests under way in one sidecar, both directions (Linkerd 100,000 a direction). */
export const requestsInFlightMax = 50_000

/**
 * Connections that callers are opening as a drain begins are taken still: those that the kernel has accepted and we have
 * not would be reset with their request. Less than the grace of idle connections (http1/server.ts), which then ends them.
 */
const acceptGraceMs = 200

/** How soon the look at the event loop's delay begins and ends with traffic. */
const watchMs = 500

export interface DataPlaneParts {
  readonly options: ProxyOptions
  readonly clock: Clock
  readonly log: Log
  readonly telemetry: Telemetry
  readonly credentials: Live<Credentials | undefined>
  readonly source: PolicySource
  readonly onTransition: (transition: Transition) => void
  readonly onEjection: (ejection: Ejection) => void
  /** In a thread: what it shares with the others. */
  readonly shares?: PoolShares | undefined
}

/** Whose connections: of the workload's callers, or its own. */
export type Way = 'inbound' | 'outbound'

/** A listener to be. */
export interface Door {
  readonly way: Way
  /** `outbound0`, `inbound0`, `upstream0` ... */
  readonly name: string
  readonly at: HostPort
  /** Position in its list of the options. */
  readonly index: number
}

/** Every address on which traffic is to come in. */
export function doorsOf({ capture, outbound, inbound, inboundCapture, upstreams }: ProxyOptions): Door[] {
  const all = (way: Way, name: string, addresses: readonly HostPort[]): Door[] =>
    addresses.map((at, index) => ({ way, name: `${name}${index}`, at, index }))
  const captured = capture === 'redirect'
  return [
    ...all('outbound', 'outbound', outbound),
    ...all('inbound', 'inbound', captured ? inboundCapture : inbound.map(({ at }) => at)),
    ...all('outbound', 'upstream', captured ? [] : upstreams.map(({ at }) => at)),
  ]
}

/** What `GET /backends` says. */
export interface BackendsReport {
  readonly services: readonly ServiceSnapshot[]
  /** To endpoints, and to the application. */
  readonly pools: readonly PoolSize[]
  readonly local: readonly PoolSize[]
}

export class DataPlane {
  readonly own: OwnPolicy
  /** Bound addresses by role and position. */
  readonly addresses = new Map<string, HostPort>()
  readonly #parts: DataPlaneParts
  readonly #shared: SharedTable | undefined
  readonly #guard = new LoopGuard([])
  readonly #backends: BackendRegistry
  readonly #pools: Pools
  readonly #localPools: Pools
  readonly #outboundEnv: OutboundEnv
  readonly #inboundEnv: InboundEnv
  readonly #destinations: Destinations
  readonly #outbound: Outbound
  readonly #inbound: Inbound
  readonly #watch: Timer
  readonly #overload: Overload
  readonly #listeners: Record<Way, Listener[]> = { inbound: [], outbound: [] }

  constructor(parts: DataPlaneParts) {
    this.#parts = parts
    const { options, clock, log, telemetry, credentials, source, onTransition, onEjection, shares } = parts
    this.#shared = shares?.table
    const { namespace, workload } = options
    const by = `${namespace}/${workload}`
    this.own = new OwnPolicy(source, by)
    describeTo(telemetry, this.own, credentials)
    this.#watch = clock.every(watchMs, () => telemetry.watchLoop())
    // Our own sockets are remembered, so that captured traffic never loops.
    const connector = new Connector(clock, credentials, (socket) => this.track(socket))
    this.#pools = new Pools(connector, clock, { shares })
    this.#localPools = new Pools(connector, clock, {
      localAddress: (to) => deliveryAddress(options, to.address),
      shares,
    })
    this.#backends = new BackendRegistry({ clock, onTransition, onEjection, shared: this.#shared })
    this.#outboundEnv = {
      clock,
      backends: this.#backends,
      onEvent: (event) => countEvent(telemetry, event, 'outbound'),
      onAttempt: (exchange, attempt) => {
        attempt.spanId = attemptSpanId(exchange)
      },
      send: (exchange, attempt, target, limits) => {
        let lines = traceHeaderLines(exchange, attempt)
        // Lets an inner sidecar's layers see that an outer one retries already.
        if (attempt.number > 1 && target.identity !== '') lines += `x-outrigger-attempt: ${attempt.number}\r\n`
        return this.#pools.pool(target, limits, exchange.http2).send(exchange, lines)
      },
    }
    this.#inboundEnv = { clock, onEvent: (event) => countEvent(telemetry, event, 'inbound') }
    this.#destinations = new Destinations({
      source,
      namespace,
      env: this.#outboundEnv,
      backends: this.#backends,
      clock,
    })
    const inFlight = new MemoryBound(
      this.#shared === undefined
        ? new OwnInFlight(requestsInFlightMax)
        : new SharedInFlight(this.#shared, requestsInFlightMax),
    )
    const runtime: Runtime = {
      options,
      clock,
      log,
      telemetry,
      credentials,
      mesh: this.own.mesh,
      connector,
      inFlight,
      guard: this.#guard,
      by,
    }
    this.#outbound = new Outbound(runtime, {
      destinations: this.#destinations,
      backends: this.#backends,
      pools: this.#pools,
      ownPorts: () => this.addresses.values().map(({ port }) => port),
    })
    this.#inbound = new Inbound(runtime, this.#localPools, this.#inboundEnv, this.own.workload)
    this.#overload = new Overload({
      clock,
      inFlight,
      onKeepAlive: (off) => {
        for (const { http } of [this.#outbound, this.#inbound]) http.crowded = off
      },
      warn: (message) => log.warn(message),
    })
    telemetry.watchOverload(this.#overload)
  }

  /** Throws if a part that will use the resource cannot compile it. */
  check(resource: Resource): void {
    checkResource(resource, this.#parts.options.namespace, this.#outboundEnv)
    if (resource.body.case === 'workload') checkWorkload(resource.body.value, this.#inboundEnv)
  }

  /** A socket that this process has dialled itself. */
  track(socket: Socket): void {
    this.#guard.track(socket)
  }

  /** An address of this process: of a port that is no door for traffic, where nothing that comes in may lead, or of another thread's. */
  reserve(name: string, at: HostPort): void {
    this.addresses.set(name, at)
  }

  /** Binds every listener and accepts. Rejects with one line that names the remedy. */
  async listen(): Promise<void> {
    const { options } = this.#parts
    const original = options.capture === 'redirect' ? await loadOriginalDestination() : undefined
    for (const door of doorsOf(options)) await this.#open(door, this.#acceptor(door, original))
  }

  /** It is up to the process. */
  unready(): undefined {}

  /** A change is in force as soon as it is accepted. */
  whenInForce(): undefined {}

  /** The log is the process's own. */
  setLogLevel(): void {}

  /** Inbound answers send callers elsewhere; everything is served on. */
  retire(): void {
    this.#inbound.http.retire()
  }

  /** Stops accepting on one side and lets what is open there end, for at most `timeoutMs`. */
  async drain(way: Way, timeoutMs: number): Promise<void> {
    const { clock } = this.#parts
    const endsAt = clock.now() + timeoutMs
    const listeners = this.#listeners[way]
    const { http } = way === 'inbound' ? this.#inbound : this.#outbound
    http.drain()
    if (way === 'inbound' && listeners.length > 0) await sleep(clock, Math.min(acceptGraceMs, timeoutMs))
    await Promise.all(
      listeners.map((listener) => listener.drain(Math.max(0, endsAt - clock.now()), () => http.close())),
    )
  }

  close(): void {
    this.#watch.cancel()
    this.#overload.close()
    this.#destinations.close()
    this.#outbound.http.close()
    this.#inbound.close()
    this.#pools.close()
    this.#localPools.close()
    for (const listener of [...this.#listeners.inbound, ...this.#listeners.outbound]) listener.close()
  }

  backends(): BackendsReport {
    return {
      services: this.#backends.snapshot(),
      pools: this.#pools.sizes(),
      local: this.#localPools.sizes(),
    }
  }

  stats(ready: { readonly ready: boolean; readonly reason: string }): Stats {
    return this.#parts.telemetry.stats(ready, this.#facts())
  }

  scrape(): Promise<string> {
    return this.#parts.telemetry.scrape()
  }

  /** One for each Service that is called. */
  *#facts(): Iterable<BackendFacts> {
    for (const { service, backends: ports } of this.#backends.snapshot()) {
      const endpoints = ports.flatMap((port) => port.endpoints)
      yield {
        service,
        endpoints: new Set(endpoints.map((endpoint) => endpoint.endpoint)).size,
        inFlight: endpoints.reduce((sum, endpoint) => sum + endpoint.inFlight, 0),
      }
    }
  }

  /** What is done with a connection that comes in by that door. */
  #acceptor({ way, name, index }: Door, original: OriginalDestination | undefined): (socket: Socket) => void {
    const inbound = this.#inbound
    const outbound = this.#outbound
    if (original !== undefined) {
      const path = way === 'inbound' ? inbound : outbound
      return (socket) => path.acceptCaptured(socket, original)
    }
    const { options } = this.#parts
    if (way === 'inbound') {
      const { app } = options.inbound[index]!
      return (socket) => inbound.acceptExplicit(socket, app)
    }
    if (name.startsWith('outbound')) return (socket) => outbound.acceptExplicit(socket)
    const { service } = options.upstreams[index]!
    return (socket) => outbound.acceptFor(socket, service)
  }

  async #open({ way, name, at }: Door, onConnection: (socket: Socket) => void): Promise<void> {
    const { clock, log } = this.#parts
    const shared = this.#shared && new SharedCount(this.#shared, this.#shared.claim('counts', `listener ${name}`), 0)
    // Where any port will do, the first thread has found one.
    const port = this.addresses.get(name)?.port ?? at.port
    const refusing = (): boolean => this.#overload.refuses()
    const listener = new Listener({ name, host: at.host, port, clock, onConnection, shared, refusing })
    let bound: HostPort
    try {
      bound = await listener.listen()
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code
      // A host without IPv6 has no IPv6 traffic to capture either.
      if (at.host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error
      log.info(`${name}: no IPv6 on this host, listening on IPv4 only`)
      return
    }
    this.addresses.set(name, bound)
    this.#guard.addPort(bound.port)
    this.#listeners[way].push(listener)
  }
}

function countEvent(telemetry: Telemetry, event: PolicyEvent, direction: Way): void {
  const { metrics } = telemetry
  switch (event.outcome) {
    case 'allowed':
    case 'denied':
      metrics.authorized(event.outcome === 'allowed' ? 'allow' : 'deny', event.shadow ? 'shadow' : 'enforce')
      return
    case 'delayed':
      // Outbound faults are found in the exchange's attempts.
      if (direction === 'inbound' && !event.shadow) metrics.faultInjected('delay', '')
      return
    case 'budget-exhausted':
      metrics.retryWithheld('', 'budget')
      return
    default:
  }
}

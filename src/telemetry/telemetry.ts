import type { BreakerState, BreakerStats, RejectedResource, SourceStats, Stats, UpstreamStats } from '../admin/stats.ts'
import type { Telemetry as TelemetryPolicy } from '../api/gen/outrigger_pb.ts'
import type { Clock } from '../base/clock.ts'
import type { Completion, Exchange, Trace } from '../base/exchange.ts'
import type { Log } from '../base/log.ts'
import { AccessLog, type AccessLogFormat } from './access-log.ts'
import { Exporter } from './exporter.ts'
import { Exposition } from './exposition.ts'
import { type ByteSink, LineWriter } from './line-writer.ts'
import { LoopDelay } from './loop-delay.ts'
import { type Counted, merged } from './merged.ts'
import { Metrics, type OverloadReading } from './metrics.ts'
import { resultOf } from './result.ts'
import { RpcBook } from './rpc.ts'
import { readTracingSettings } from './settings.ts'
import { spansOf } from './spans.ts'
import { TcpBook, type TcpConnection } from './tcp.ts'
import { Traffic } from './totals.ts'
import { childOf, takeParent } from './trace-context.ts'
import { type Direction, TrafficBook, type Workload } from './traffic.ts'
import { WallTime } from './wall-time.ts'

export type { Direction, Workload } from './traffic.ts'

export interface TelemetryOptions {
  readonly clock: Clock
  readonly workload: Workload
  /** OTLP/HTTP address of the control plane's store, used when no OTEL_* variable names a collector. */
  readonly tracesEndpoint: string | undefined
  /** What the sidecar's own settings say; a TelemetryPolicy overrides it. */
  readonly accessLog: AccessLogFormat
  /** Where access log lines go: `descriptorSink(1)`. */
  readonly stdout: ByteSink
  readonly log?: Log | undefined
  /** `cluster.local` unless the mesh says otherwise. */
  readonly clusterDomain?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** What threads have counted (`counted`): a scrape adds it. */
  readonly others?: (() => Iterable<Counted>) | undefined
}

/** A circuit breaker changed; `endpoint` is '' for the breaker of the whole service. */
export interface BreakerChange {
  readonly service: string
  readonly endpoint: string
  readonly from: BreakerState
  readonly to: BreakerState
  readonly cause: string
  /** Unix milliseconds. */
  readonly at: number
}

/** What balancing and pools know of one backend now. */
export interface BackendFacts {
  readonly service: string
  readonly endpoints: number
  readonly inFlight: number
}

/** Breakers and ejections that are kept for the scrape; policy sets few, endpoints come and go. */
const breakersMax = 2_000

/** Metrics, spans, access log and `GET /stats` of one sidecar. */
export class Telemetry {
  readonly metrics: Metrics
  readonly #clock: Clock
  #workload: Workload
  readonly #startedAt: number
  readonly #wall: WallTime
  readonly #traffic: TrafficBook
  readonly #rpc: RpcBook
  readonly #tcp: TcpBook
  readonly #exposition: Exposition
  readonly #exporter: Exporter
  readonly #writer: LineWriter
  readonly #accessLog: AccessLog
  readonly #ownAccessLog: AccessLogFormat
  readonly #ownSamplingPpm: number
  readonly #breakers = new Map<string, Map<string, BreakerStats>>()
  readonly #ejected = new Map<string, Set<string>>()
  #breakerCount = 0
  #samplingPpm: number
  readonly #loopDelay: LoopDelay
  #inFlight = 0
  /** Requests and opaque bytes at the last look. */
  #seen = 0
  #begun = 0
  #overload: OverloadReading | undefined
  #certificate: { spiffeId: string; expiresAtMs: number } | null = null
  #watch = { connected: false, revision: 0 }
  #rejected: readonly RejectedResource[] = []

  constructor(options: TelemetryOptions) {
    const { clock, workload, stdout, accessLog, log } = options
    this.#clock = clock
    this.#workload = workload
    this.#startedAt = clock.now()
    this.#wall = new WallTime(clock)
    const settings = readTracingSettings(options.env ?? process.env, options.tracesEndpoint)
    this.#exporter = new Exporter({ settings, resource: resourceOf(workload), clock, log })
    this.#ownSamplingPpm = settings.samplingPpm
    this.#samplingPpm = settings.samplingPpm
    this.#writer = new LineWriter(stdout, clock)
    this.#ownAccessLog = accessLog
    this.#accessLog = new AccessLog(this.#writer, accessLog, serviceName(workload))
    this.metrics = new Metrics(
      {
        certificateExpirySeconds: () =>
          this.#certificate === null ? undefined : (this.#certificate.expiresAtMs - clock.wall()) / 1_000,
        watchConnected: () => this.#watch.connected,
        rejected: () => this.#rejected.length,
        revision: () => this.#watch.revision,
        inFlight: () => this.#inFlight,
        resources: () => process.getActiveResourcesInfo(),
        overload: () => this.#overload,
        spansExported: () => this.#exporter.exported,
        spansDropped: () => this.#exporter.dropped,
        logDropped: () => this.#writer.dropped,
        breakers: () => this.#breakerReadings(),
        ejections: () => Array.from(this.#ejected, ([service, endpoints]) => [[service], endpoints.size] as const),
      },
      options.clusterDomain ?? 'cluster.local',
    )
    this.#loopDelay = new LoopDelay(clock, this.metrics.loopDelay)
    this.#traffic = new TrafficBook(this.metrics, workload, () => this.#certificate?.spiffeId ?? '')
    this.#rpc = new RpcBook(this.metrics)
    this.#tcp = new TcpBook(this.metrics, this.#traffic)
    const { others } = options
    const { families } = this.metrics
    this.#exposition = new Exposition(others === undefined ? families : families.map((one) => merged(one, others)))
  }

  /** Takes the message that is in force for this workload; undefined when no TelemetryPolicy applies. */
  update(policy: TelemetryPolicy | undefined): void {
    this.#samplingPpm = policy === undefined ? this.#ownSamplingPpm : Math.min(policy.samplingPpm, 1_000_000)
    const format = policy?.accessLog
    this.#accessLog.format = format === 'off' || format === 'text' || format === 'json' ? format : this.#ownAccessLog
  }

  /** What the control plane says about this workload; until then it goes by its Pod's name. */
  workloadChanged(facts: Pick<Workload, 'serviceAccount' | 'canonicalService' | 'revision'>): void {
    const { serviceAccount, canonicalService, revision } = facts
    this.#workload = { ...this.#workload, serviceAccount, canonicalService, revision }
    this.#traffic.rename(this.#workload)
    this.#accessLog.service = serviceName(this.#workload)
    this.#exporter.describe(resourceOf(this.#workload))
  }

  /** Gives the exchange its trace context. The first thing that happens to a request. */
  begin(exchange: Exchange): void {
    this.#inFlight++
    this.#begun++
    const parent = takeParent(exchange.request.headers)
    if (!this.#exporter.enabled) {
      // Nothing is recorded here, so the next hop stays a child of whoever called us.
      exchange.trace = parent === undefined ? childOf(undefined, false) : passedOn(childOf(parent, false))
      return
    }
    const trace = childOf(parent, parent?.sampled === undefined && this.#samplesRoot())
    exchange.trace = trace
    if (trace.sampled) exchange.decisions = []
  }

  /** Counts, logs and traces a finished exchange. Exactly once per `begin`. */
  complete(direction: Direction, exchange: Exchange, completion: Completion, headerReason: string): void {
    this.#inFlight--
    const endedAt = this.#clock.now()
    const durationMs = endedAt - exchange.startedAt
    const result = resultOf(exchange, completion, headerReason)
    this.#traffic.add(direction, exchange, result, durationMs)
    const rpcMethod = result.grpcStatus === -1 ? '' : this.#rpc.add(direction, exchange, result, durationMs)
    if (this.#accessLog.format !== 'off') {
      const startedAtMs = this.#wall.at(exchange.startedAt)
      this.#accessLog.add({ exchange, completion, result, startedAtMs, durationMs })
    }
    if (exchange.decisions === undefined) return
    this.#exporter.add(spansOf({ exchange, completion, result, rpcMethod, endedAt, wall: (at) => this.#wall.at(at) }))
  }

  /** An opaque connection was opened. `identity` is the peer's under mTLS, '' otherwise; `service` '' when unknown. */
  tcpOpened(direction: Direction, service: string, identity: string, workload = '', revision = ''): TcpConnection {
    return this.#tcp.open(direction, service, identity, workload, revision)
  }

  breakerChanged(change: BreakerChange): void {
    const scope = change.endpoint === '' ? 'service' : change.endpoint
    this.metrics.transitions.count([change.service, change.endpoint === '' ? 'service' : 'endpoint', change.to])
    let scopes = this.#breakers.get(change.service)
    if (scopes?.has(scope) !== true) {
      if (this.#breakerCount >= breakersMax) return
      this.#breakerCount++
    }
    if (scopes === undefined) this.#breakers.set(change.service, (scopes = new Map()))
    scopes.set(scope, { scope, state: change.to, since: change.at })
  }

  /** The breaker is no more: its endpoint left, or policy dropped it. */
  breakerRemoved(service: string, endpoint: string): void {
    const scopes = this.#breakers.get(service)
    if (scopes?.delete(endpoint === '' ? 'service' : endpoint) === true) this.#breakerCount--
    if (scopes?.size === 0) this.#breakers.delete(service)
  }

  /** Outlier detection took an endpoint (`ip:port`) out, or let it back. */
  ejectionChanged(service: string, endpoint: string, ejected: boolean): void {
    let endpoints = this.#ejected.get(service)
    if (endpoints === undefined) this.#ejected.set(service, (endpoints = new Set()))
    if (ejected) endpoints.add(endpoint)
    else endpoints.delete(endpoint)
  }

  /** The workload's certificate; null when it has none. */
  certificateChanged(certificate: { readonly spiffeId: string; readonly expiresAtMs: number } | null): void {
    this.#certificate = certificate
  }

  /** Where the readings of memory and event loop come from. */
  watchOverload(overload: OverloadReading): void {
    this.#overload = overload
  }

  watchChanged(connected: boolean, revision: number): void {
    this.#watch = { connected, revision }
  }

  rejectedChanged(rejected: readonly RejectedResource[]): void {
    this.#rejected = rejected
  }

  /** Called twice a second: the delay of the event loop is looked at while there is traffic. */
  watchLoop(): void {
    const { sent, received } = this.#tcp.stats()
    const seen = this.#begun + sent + received
    this.#loopDelay.watch(seen !== this.#seen || this.#inFlight > 0)
    this.#seen = seen
  }

  /** What a thread has counted, for the process to add up. */
  counted(): Counted {
    return Object.fromEntries(
      this.metrics.families.filter(({ spec }) => spec.once !== true).map((one) => [one.spec.name, one.rows()]),
    )
  }

  /** Text for Prometheus. */
  scrape(): Promise<string> {
    return this.#exposition.scrape()
  }

  /** `GET /stats`. Readiness and backends are known to the wiring, not to telemetry. */
  stats(ready: { readonly ready: boolean; readonly reason: string }, backends: Iterable<BackendFacts>): Stats {
    return {
      workload: `${this.#workload.namespace}/${this.#workload.name}`,
      uptimeMs: Math.round(this.#clock.now() - this.#startedAt),
      ready: ready.ready,
      readyReason: ready.ready ? '' : ready.reason,
      controlPlane: this.#watch,
      certificate: this.#certificate,
      rejected: this.#rejected,
      upstreams: this.#upstreams(backends),
      inbound: { ...this.#traffic.inbound.stats(), bySource: this.#sources() },
      tcp: this.#tcp.stats(),
    }
  }

  /** Writes what is buffered and sends what is queued; two seconds at most for a collector that hangs. */
  async close(): Promise<void> {
    this.#loopDelay.stop()
    await Promise.all([this.#exporter.close(), this.#writer.flushed()])
  }

  #samplesRoot(): boolean {
    return this.#samplingPpm > 0 && this.#clock.random() * 1_000_000 < this.#samplingPpm
  }

  #sources(): SourceStats[] {
    return this.#traffic.sources()
  }

  #upstreams(backends: Iterable<BackendFacts>): UpstreamStats[] {
    const facts = new Map(Array.from(backends, (backend) => [backend.service, backend]))
    const names = new Set([...this.#traffic.upstreams.keys(), ...facts.keys(), ...this.#breakers.keys()])
    return Array.from(names, (service) => {
      const traffic = this.#traffic.upstreams.get(service) ?? noTraffic
      return {
        service,
        ...traffic.stats(),
        retries: traffic.retries,
        breakers: [...(this.#breakers.get(service)?.values() ?? [])],
        ejected: [...(this.#ejected.get(service) ?? [])],
        endpoints: facts.get(service)?.endpoints ?? 0,
        inFlight: facts.get(service)?.inFlight ?? 0,
      }
    })
  }

  *#breakerReadings(): Iterable<readonly [values: readonly string[], value: number]> {
    for (const [service, scopes] of this.#breakers) {
      for (const { scope, state } of scopes.values()) {
        yield [[service, scope === 'service' ? '' : scope], breakerValues[state]]
      }
    }
  }
}

const noTraffic = new Traffic()
const breakerValues = { closed: 0, 'half-open': 1, open: 2 } as const

function passedOn(trace: Trace): Trace {
  return { ...trace, spanId: trace.parentSpanId }
}

function serviceName(workload: Workload): string {
  return workload.canonicalService === '' ? workload.name : workload.canonicalService
}

function resourceOf(workload: Workload): Record<string, string> {
  const { namespace, name, revision } = workload
  const attributes: Record<string, string> = {
    'service.name': serviceName(workload),
    'service.namespace': namespace,
    'service.instance.id': `${namespace}/${name}`,
  }
  if (revision !== '') attributes['service.version'] = revision
  return attributes
}

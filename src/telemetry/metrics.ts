import type { MeshErrorCode } from '../base/errors.ts'
import { loopDelayBoundsSeconds } from './loop-delay.ts'
import { Counters, type Family, Histograms, type MetricSpec, Readings } from './series.ts'

/** Istio's names for who called whom (its standard metrics), so that dashboards written for it can be kept. */
const peerLabels = [
  'reporter',
  'source_workload',
  'source_workload_namespace',
  'source_principal',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'destination_workload',
  'destination_version',
  'request_protocol',
  'connection_security_policy',
] as const

/**
 * Every metric of a sidecar; src/telemetry/README.md documents each. The series add up to 5,000 lines of a scrape at
 * most (a histogram's label set is 17 lines), whatever the traffic holds.
 */
export const metricList = {
  requests: {
    name: 'outrigger_requests_total',
    type: 'counter',
    help: 'Requests that are over, by caller, callee and how they ended.',
    labels: [...peerLabels, 'response_code', 'response_flags', 'grpc_response_status'],
    seriesMax: 1_240,
  },
  duration: {
    name: 'outrigger_request_duration_seconds',
    type: 'histogram',
    help: 'From the first byte of a request to the last byte of its answer.',
    labels: peerLabels,
    seriesMax: 100,
  },
  rpcCalls: {
    name: 'outrigger_rpc_calls_total',
    type: 'counter',
    help: 'gRPC calls that are over, by method and status.',
    labels: ['reporter', 'destination_service', 'rpc_method', 'rpc_response_status_code'],
    seriesMax: 150,
  },
  rpcDuration: {
    name: 'outrigger_rpc_call_duration_seconds',
    type: 'histogram',
    help: 'From the first byte of a gRPC call to the last byte of its answer, by method.',
    labels: ['reporter', 'destination_service', 'rpc_method'],
    seriesMax: 40,
  },
  retries: {
    name: 'outrigger_retries_total',
    type: 'counter',
    help: 'Tries after the first (success, failure), and those that were not made (budget, body, ...).',
    labels: ['destination_service', 'outcome'],
    seriesMax: 200,
  },
  circuitState: {
    name: 'outrigger_circuit_state',
    type: 'gauge',
    help: 'Circuit breakers: 0 closed, 1 half-open, 2 open (rejecting). No endpoint: the breaker of the service.',
    labels: ['service', 'endpoint'],
    seriesMax: 300,
    once: true,
  },
  circuitTransitions: {
    name: 'outrigger_circuit_transitions_total',
    type: 'counter',
    help: 'Changes of circuit breakers, by the state they went to.',
    labels: ['service', 'scope', 'to'],
    seriesMax: 150,
  },
  ejections: {
    name: 'outrigger_outlier_ejections_active',
    type: 'gauge',
    help: 'Endpoints that outlier detection keeps out of load balancing now.',
    labels: ['service'],
    seriesMax: 100,
    once: true,
  },
  faults: {
    name: 'outrigger_faults_injected_total',
    type: 'counter',
    help: 'Faults that FaultInjection policies put into traffic, by type: delay, abort or reset.',
    labels: ['type', 'destination_service'],
    seriesMax: 100,
  },
  authorizations: {
    name: 'outrigger_authz_decisions_total',
    type: 'counter',
    help: 'Decisions of AuthorizationPolicy: action allow or deny, mode enforce or shadow.',
    labels: ['action', 'mode'],
    seriesMax: 10,
  },
  hedges: {
    name: 'outrigger_hedges_total',
    type: 'counter',
    help: 'Tries that hedging began beside a slow one, by outcome: success, failure, or superseded by another.',
    labels: ['destination_service', 'outcome'],
    seriesMax: 60,
  },
  tcpOpened: tcp('connections_opened', 'Opaque connections that were opened.'),
  tcpClosed: tcp('connections_closed', 'Opaque connections that have ended.'),
  tcpSent: tcp('sent_bytes', 'Bytes of opaque connections towards the upstream.'),
  tcpReceived: tcp('received_bytes', 'Bytes of opaque connections from the upstream.'),
  certificateExpiry: gauge('outrigger_cert_expiry_seconds', "Seconds until the workload's certificate expires."),
  watchConnected: gauge('outrigger_watch_connected', '1 while the control stream is up.'),
  policyRejected: gauge('outrigger_policy_rejected', 'Resources that were refused and are not in force as written.'),
  policyRevision: gauge('outrigger_policy_revision', 'Revision of the control plane that was acknowledged last.'),
  refused: {
    name: 'outrigger_downstream_refused_total',
    type: 'counter',
    help: 'Requests that the parser refused before any layer saw them, by error code.',
    labels: ['code'],
    seriesMax: 40,
  },
  unknownDestination: {
    name: 'outrigger_unknown_destination_total',
    type: 'counter',
    help: 'Requests and connections to an address that no Service names, by what the outbound policy did with them.',
    labels: ['action'],
    seriesMax: 10,
  },
  memoryPressure: gauge(
    'outrigger_memory_pressure_ratio',
    'Share of the heap, or of the memory of the container, that is used; requests are refused from 0.9 on.',
  ),
  stalls: counter('outrigger_event_loop_stalls_total', 'Times that the event loop stood still for a second or more.'),
  stalled: counter('outrigger_event_loop_stalled_seconds_total', 'How long it stood still in those times.'),
  inFlight: {
    name: 'outrigger_requests_in_flight',
    type: 'gauge',
    help: 'Requests that run now, both directions.',
    labels: [],
    seriesMax: 1,
  },
  loopDelay: {
    name: 'outrigger_event_loop_delay_seconds',
    type: 'histogram',
    help: 'How late the event loop comes to what is due, looked at 50 times a second while there is traffic.',
    labels: [],
    seriesMax: 1,
  },
  resources: {
    name: 'outrigger_active_resources',
    type: 'gauge',
    help: "Sockets, listeners and what else keeps the process alive, by Node's names.",
    labels: ['type'],
    seriesMax: 30,
  },
  spansExported: counter('outrigger_spans_exported_total', 'Spans that the collector took.'),
  spansDropped: counter('outrigger_spans_dropped_total', 'Spans that were lost: queue full or export failed.'),
  logDropped: counter('outrigger_access_log_dropped_total', 'Access log lines that were lost: stdout did not keep up.'),
  workerRestarts: counter('outrigger_worker_restarts_total', 'Threads that died and were replaced (--workers).'),
  overflow: counter(
    'outrigger_metric_overflow_total',
    "Label sets that got no series of their own and count as 'other'.",
  ),
} as const satisfies Record<string, MetricSpec>

function tcp(what: string, help: string): MetricSpec {
  return { name: `outrigger_tcp_${what}_total`, type: 'counter', help, labels: peerLabels, seriesMax: 50 }
}

function gauge(name: string, help: string): MetricSpec {
  return { name, type: 'gauge', help, labels: [], seriesMax: 1, once: true }
}

function counter(name: string, help: string): MetricSpec {
  return { name, type: 'counter', help, labels: [], seriesMax: 1 }
}

/** OpenTelemetry's advice for durations of HTTP requests and RPC calls, in seconds. */
export const durationBoundsSeconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** Names that are resolved when traffic is first seen. `peerLabels` in this order. */
export interface Peer {
  readonly reporter: 'source' | 'destination'
  readonly sourceWorkload: string
  readonly sourceNamespace: string
  readonly sourcePrincipal: string
  /** "ns/name"; '' when no Service was meant. */
  readonly service: string
  readonly destinationWorkload: string
  readonly destinationVersion: string
  readonly protocol: 'http' | 'grpc' | 'tcp'
  readonly mtls: boolean
}

/** How near the process is to its limits. */
export interface OverloadReading {
  readonly pressure: number
  readonly stalls: number
  readonly stalledMs: number
}

/** Values that live elsewhere; undefined ones are left out of the scrape. */
export interface MetricSources {
  certificateExpirySeconds(): number | undefined
  watchConnected(): boolean
  rejected(): number
  revision(): number
  inFlight(): number
  /** Names as process.getActiveResourcesInfo() gives them, one for each. */
  resources(): readonly string[]
  /** undefined before there are listeners. */
  overload(): OverloadReading | undefined
  spansExported(): number
  spansDropped(): number
  logDropped(): number
  breakers(): Iterable<readonly [values: readonly string[], value: number]>
  ejections(): Iterable<readonly [values: readonly string[], value: number]>
}

const alone: readonly string[] = []

/** The families behind `metricList`, and the counting of what happens seldom. */
export class Metrics {
  readonly requests = new Counters(metricList.requests)
  readonly duration = new Histograms(metricList.duration, durationBoundsSeconds)
  readonly rpcCalls = new Counters(metricList.rpcCalls)
  readonly rpcDuration = new Histograms(metricList.rpcDuration, durationBoundsSeconds)
  readonly retries = new Counters(metricList.retries)
  readonly hedges = new Counters(metricList.hedges)
  readonly transitions = new Counters(metricList.circuitTransitions)
  readonly tcpOpened = new Counters(metricList.tcpOpened)
  readonly tcpClosed = new Counters(metricList.tcpClosed)
  readonly tcpSent = new Counters(metricList.tcpSent)
  readonly tcpReceived = new Counters(metricList.tcpReceived)
  readonly workerRestarts = new Counters(metricList.workerRestarts)
  readonly loopDelay = new Histograms(metricList.loopDelay, loopDelayBoundsSeconds)
  readonly families: readonly Family[]
  readonly #faults = new Counters(metricList.faults)
  readonly #authorizations = new Counters(metricList.authorizations)
  readonly #refused = new Counters(metricList.refused)
  readonly #unknown = new Counters(metricList.unknownDestination)
  readonly #clusterDomain: string

  constructor(sources: MetricSources, clusterDomain: string) {
    this.#clusterDomain = clusterDomain
    const counted = [
      this.requests,
      this.duration,
      this.rpcCalls,
      this.rpcDuration,
      this.retries,
      this.hedges,
      this.transitions,
      this.#faults,
      this.#authorizations,
      this.tcpOpened,
      this.tcpClosed,
      this.tcpSent,
      this.tcpReceived,
      this.#refused,
      this.#unknown,
      this.workerRestarts,
    ]
    const one = (spec: MetricSpec, read: () => number | undefined): Family =>
      new Readings(spec, () => {
        const value = read()
        return value === undefined ? [] : [[alone, value]]
      })
    this.families = [
      ...counted,
      new Readings(metricList.circuitState, () => sources.breakers()),
      new Readings(metricList.ejections, () => sources.ejections()),
      one(metricList.certificateExpiry, () => sources.certificateExpirySeconds()),
      one(metricList.watchConnected, () => Number(sources.watchConnected())),
      one(metricList.policyRejected, () => sources.rejected()),
      one(metricList.policyRevision, () => sources.revision()),
      one(metricList.inFlight, () => sources.inFlight()),
      this.loopDelay,
      new Readings(metricList.resources, () => countByName(sources.resources())),
      one(metricList.memoryPressure, () => sources.overload()?.pressure),
      one(metricList.stalls, () => sources.overload()?.stalls),
      one(metricList.stalled, () => {
        const overload = sources.overload()
        return overload === undefined ? undefined : overload.stalledMs / 1_000
      }),
      one(metricList.spansExported, () => sources.spansExported()),
      one(metricList.spansDropped, () => sources.spansDropped()),
      one(metricList.logDropped, () => sources.logDropped()),
      one(metricList.overflow, () => counted.reduce((sum, family) => sum + family.overflowed, 0)),
    ]
  }

  /** Values of `peerLabels`; absent ones read `unknown`, as Istio writes them. */
  peerValues(peer: Peer): string[] {
    const slash = peer.service.indexOf('/')
    const namespace = slash === -1 ? '' : peer.service.slice(0, slash)
    const name = slash === -1 ? peer.service : peer.service.slice(slash + 1)
    const host = slash === -1 ? name : `${name}.${namespace}.svc.${this.#clusterDomain}`
    return [
      peer.reporter,
      peer.sourceWorkload,
      peer.sourceNamespace,
      peer.sourcePrincipal,
      host,
      name,
      namespace,
      workloadOfPod(peer.destinationWorkload),
      peer.destinationVersion,
      peer.protocol,
      peer.mtls ? 'mutual_tls' : 'none',
    ].map((value) => (value === '' ? 'unknown' : value))
  }

  /** One decision of an AuthorizationPolicy layer. */
  authorized(action: 'allow' | 'deny', mode: 'enforce' | 'shadow'): void {
    this.#authorizations.count([action, mode])
  }

  /** One request that the parser refused. */
  downstreamRefused(code: MeshErrorCode): void {
    this.#refused.count([code])
  }

  /** One request or connection to a destination that no Service names. */
  unknownDestination(action: 'allow' | 'refuse'): void {
    this.#unknown.count([action])
  }

  /** One injected fault. Those of outbound tries are found in the exchange; an inbound delay has to be told. */
  faultInjected(type: 'delay' | 'abort' | 'reset', service: string): void {
    this.#faults.count([type, service === '' ? 'unknown' : service])
  }

  /** A retry that the policy wanted and that was not made. */
  retryWithheld(service: string, outcome: 'budget' | 'body' | 'deadline' | 'unsafe'): void {
    this.retries.count([service === '' ? 'unknown' : service, outcome])
  }
}

function countByName(names: readonly string[]): (readonly [values: readonly string[], value: number])[] {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return Array.from(counts, ([name, count]) => [[name], count] as const)
}

/**
 * The Deployment that a Pod's name comes from: `orders-5d9c7b8f4-x2k8z` -> `orders`. Pod names change with every
 * rollout, so as labels they would grow without end. The letters are those of Kubernetes' SafeEncodeString.
 */
export function workloadOfPod(pod: string): string {
  const match = /^(.+)-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/.exec(pod)
  return match?.[1] ?? pod
}

/**
 * What `GET /stats` of a sidecar says. Every count is cumulative since the process started: readers that want rates
 * (`outrigger up`, `outrigger status`) take the difference of two answers.
 */
export interface Stats {
  /** "namespace/name". */
  readonly workload: string
  readonly uptimeMs: number
  readonly ready: boolean
  /** Why it is not ready; '' when it is. */
  readonly readyReason: string
  readonly controlPlane: { readonly connected: boolean; readonly revision: number }
  /** undefined is written as null: no certificate yet. */
  readonly certificate: { readonly spiffeId: string; readonly expiresAtMs: number } | null
  /** Resources that were refused; an older version, or none, is in force. */
  readonly rejected: readonly RejectedResource[]
  readonly upstreams: readonly UpstreamStats[]
  readonly inbound: InboundStats
  readonly tcp: TcpStats
}

export interface RejectedResource {
  readonly resource: string
  readonly version: string
  readonly reason: string
}

/** Requests that went one way, and how they ended. */
export interface TrafficStats {
  readonly requests: number
  /** 5xx, refused by the mesh, or broken off by the upstream. */
  readonly failures: number
  /** Error code of src/base/errors.ts -> responses that carried it. */
  readonly refusedByReason: Readonly<Record<string, number>>
  /** The whole `x-outrigger-reason` of the last refusal. */
  readonly lastReason: string | null
  /** Upper bounds in milliseconds; the last count is of those above all of them. */
  readonly latencyBucketsMs: readonly number[]
  readonly latencyCounts: readonly number[]
}

/** One called service, as this workload sees it. */
export interface UpstreamStats extends TrafficStats {
  /** "namespace/name"; "unknown" when the request never got as far as a service. */
  readonly service: string
  /** Tries after the first. */
  readonly retries: number
  readonly breakers: readonly BreakerStats[]
  /** `ip:port` of the endpoints that outlier detection has ejected. */
  readonly ejected: readonly string[]
  /** Endpoints known now. */
  readonly endpoints: number
  /** Requests that run now. */
  readonly inFlight: number
}

export interface BreakerStats {
  /** `service`, or the `ip:port` of one endpoint. */
  readonly scope: string
  readonly state: BreakerState
  /** Unix milliseconds of the last transition. */
  readonly since: number
}

export type BreakerState = 'closed' | 'open' | 'half-open'

export interface InboundStats extends TrafficStats {
  readonly bySource: readonly SourceStats[]
}

export interface SourceStats {
  /** SPIFFE id that mTLS proved; "plaintext" for the others. */
  readonly source: string
  readonly requests: number
  readonly failures: number
}

/** Opaque connections. */
export interface TcpStats {
  readonly opened: number
  readonly closed: number
  /** Bytes to the upstream. */
  readonly sent: number
  /** Bytes from the upstream. */
  readonly received: number
}

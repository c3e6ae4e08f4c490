/** Limits of one pool. Envoy: circuit_breakers.thresholds, max_requests_per_connection, idle_timeout. */
export interface PoolLimits {
  readonly connectionsMax: number
  /** Requests that wait for a connection. */
  readonly pendingRequestsMax: number
  /** Requests under way, waiting ones included. */
  readonly requestsMax: number
  readonly requestsPerConnectionMax: number
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
}

export const defaultPoolLimits: PoolLimits = {
  connectionsMax: 1_024,
  pendingRequestsMax: 1_024,
  requestsMax: Number.POSITIVE_INFINITY,
  requestsPerConnectionMax: Number.POSITIVE_INFINITY,
  // Envoy's default of a cluster; a machine that is busy with starting Pods takes seconds for a handshake.
  connectTimeoutMs: 5_000,
  // Below the 60 s that common servers keep an idle connection.
  idleTimeoutMs: 55_000,
}

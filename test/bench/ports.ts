/** Loopback ports of the bench. Fixed, so that the peers' configurations can be read and run as they stand. */
export const port = {
  backend: 19000,
  sink: 19001,
  /** Of the backend: one request in five fails. */
  faulty: 19002,
  hold: 19003,
  /** Of the backend: HTTP/2 without TLS. */
  backendHttp2: 19004,
  /** A server of gRPC. */
  backendGrpc: 19005,
  envoyRouter: 19010,
  envoyFeatures: 19011,
  envoyInbound: 19012,
  envoyOutbound: 19013,
  envoyTcp: 19014,
  haproxy: 19020,
  originateMtls: 19021,
  originateMtlsHttp2: 19023,
  haproxyTcp: 19022,
  nginx: 19030,
  httpProxy3: 19040,
  fastProxy: 19041,
  nodeHttp2: 19042,
  outbound: 19050,
  outboundAdmin: 19051,
  outboundMetrics: 19052,
  outboundHealth: 19053,
  outboundTcp: 19054,
  inbound: 19060,
  inboundAdmin: 19061,
  inboundMetrics: 19062,
  inboundHealth: 19063,
  inboundOutbound: 19064,
  control: 19070,
  controlAdmin: 19071,
  controlMetrics: 19072,
} as const

/** Of the cells with ten sidecars. */
export const manySidecars = Array.from({ length: 10 }, (_, i) => {
  const first = 19100 + 4 * i
  return { outbound: first, admin: first + 1, metrics: first + 2, health: first + 3 }
})

export const everyPort: readonly number[] = [...Object.values(port), ...manySidecars.flatMap(Object.values)]

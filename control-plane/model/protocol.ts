import { Protocol } from '../../src/api/gen/outrigger_pb.ts'

/** `Service.spec.ports[].appProtocol` (Kubernetes' standard names, Istio's, and WebSocket) and port name prefixes. */
const protocols: Readonly<Record<string, Protocol>> = {
  http: Protocol.HTTP1,
  'kubernetes.io/ws': Protocol.HTTP1,
  h2c: Protocol.HTTP2,
  http2: Protocol.HTTP2,
  grpc: Protocol.HTTP2,
  'kubernetes.io/h2c': Protocol.HTTP2,
  tcp: Protocol.TCP,
  mongo: Protocol.TCP,
  mysql: Protocol.TCP,
  redis: Protocol.TCP,
  postgres: Protocol.TCP,
  tls: Protocol.TLS,
  https: Protocol.TLS,
  'kubernetes.io/wss': Protocol.TLS,
}

/**
 * What a port declares: `appProtocol` first, then the prefix of its name up to the first dash (`http-admin`, `grpc`),
 * as in Istio. Unspecified = the sidecar detects it.
 */
export function declaredProtocol(appProtocol: string | undefined, portName: string | undefined): Protocol {
  // An appProtocol that we do not know says only that the name was not meant as a hint.
  if (appProtocol !== undefined && appProtocol !== '') return lookUp(appProtocol)
  return lookUp(portName?.split('-', 1)[0] ?? '')
}

function lookUp(word: string): Protocol {
  const key = word.toLowerCase()
  return Object.hasOwn(protocols, key) ? protocols[key]! : Protocol.UNSPECIFIED
}

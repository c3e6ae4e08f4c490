/** The kubelet has no certificate: its probes go to the sidecar's own port, which asks the application (Istio does the same). */
import type { AppProbe } from '../../src/api/app-probe.ts'
import type { Container, Probe } from './pod.ts'

/** Where the sidecar answers for the application; never captured. */
const probePort = 15_020

export interface RewrittenProbes {
  readonly containers: readonly Container[]
  /** What the sidecar does for each path. */
  readonly probes: Readonly<Record<string, AppProbe>>
}

const kinds = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const

/** Turns HTTP, TCP and gRPC probes to the sidecar. `exec` probes run inside the container and stay. */
export function rewriteProbes(containers: readonly Container[]): RewrittenProbes {
  const probes: Record<string, AppProbe> = {}
  const rewritten = containers.map((container) => {
    const changed: Record<string, Probe> = {}
    for (const field of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
      const probe = container[field]
      const meant = probe === undefined ? undefined : appProbe(container, probe)
      if (probe === undefined || meant === undefined) continue
      const path = `/app-health/${container.name}/${kinds[field]}`
      probes[path] = meant
      const { httpGet: _http, tcpSocket: _tcp, grpc: _grpc, ...timing } = probe
      changed[field] = { ...timing, httpGet: { path, port: probePort, scheme: 'HTTP' } }
    }
    return { ...container, ...changed }
  })
  return { containers: rewritten, probes }
}

function appProbe(container: Container, probe: Probe): AppProbe | undefined {
  // The kubelet's own answer would time out first otherwise, with a reason that helps nobody.
  const timeoutMs = Math.max(1, probe.timeoutSeconds ?? 1) * 1_000
  if (probe.httpGet !== undefined) {
    const { path = '/', port, host, scheme = 'HTTP', httpHeaders = [] } = probe.httpGet
    const number = portOf(container, port)
    // Another machine's health is not behind this sidecar.
    if (number === undefined || (host !== undefined && host !== '')) return undefined
    const headers = httpHeaders.map(({ name, value }) => [name, value] as const)
    return {
      kind: 'http',
      port: number,
      path: targetOf(path),
      tls: scheme.toUpperCase() === 'HTTPS',
      headers,
      timeoutMs,
    }
  }
  if (probe.tcpSocket !== undefined) {
    const number = portOf(container, probe.tcpSocket.port)
    return number === undefined || probe.tcpSocket.host !== undefined
      ? undefined
      : { kind: 'tcp', port: number, timeoutMs }
  }
  if (probe.grpc !== undefined) {
    return { kind: 'grpc', port: probe.grpc.port, service: probe.grpc.service ?? '', timeoutMs }
  }
  return undefined
}

/** As the kubelet sends it: from the root, and without characters that a request line cannot have. */
function targetOf(path: string): string {
  const url = URL.parse(`http://pod/${path.replace(/^\//, '')}`)
  return url === null ? '/' : `${url.pathname}${url.search}`
}

function portOf(container: Container, port: number | string): number | undefined {
  if (typeof port === 'number') return port
  return container.ports?.find(({ name }) => name === port)?.containerPort
}

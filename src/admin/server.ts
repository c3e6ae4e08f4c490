import type { IncomingMessage } from 'node:http'
import type { AppProbe } from '../api/app-probe.ts'
import type { LogLevel } from '../base/log.ts'
import { type HttpEndpoint, json, type Route, serveHttp, text } from './http-endpoint.ts'
import type { ProbeCall, ProbeResult } from './probe-call.ts'
import type { Stats } from './stats.ts'

/** Where the answers come from: the wiring passes this in, so that nothing here reaches into the mesh. */
export interface AdminSources {
  stats(): Stats | Promise<Stats>
  /** Policy in force, with versions. No secrets. */
  configDump(): unknown
  /** Services, endpoints, their health. */
  backends(): unknown
  ready(): { readonly ready: boolean; readonly reason: string }
  /** No longer ready, and inbound answers send callers elsewhere; everything is served on. */
  retire(): void
  /** Stop accepting, let work end. Returns at once. */
  drain(): void
  setLogLevel(level: LogLevel): void
  /** Prometheus text. */
  metrics(): Promise<string>
  /** The application's probes by path, and how to ask one. */
  readonly appProbes: Readonly<Record<string, AppProbe>>
  probe(probe: AppProbe, call: ProbeCall): Promise<ProbeResult>
}

export interface AdminOptions {
  /** Istio's ports: 15000 loopback admin, 15020 metrics, 15021 health. Port 0 takes any free one; undefined: not served. */
  readonly admin: { readonly address: string; readonly port: number }
  readonly metrics?: { readonly address: string; readonly port: number } | undefined
  readonly health?: { readonly address: string; readonly port: number } | undefined
}

export interface AdminServer {
  readonly admin: HttpEndpoint
  readonly metrics: HttpEndpoint | undefined
  readonly health: HttpEndpoint | undefined
  close(): Promise<void>
}

/** Starts the three endpoints, or none: what was bound already is let go when a later one fails. */
export async function startAdmin(sources: AdminSources, options: AdminOptions): Promise<AdminServer> {
  const open: HttpEndpoint[] = []
  const start = async (name: string, at: { address: string; port: number }, routes: Route[]): Promise<HttpEndpoint> => {
    const endpoint = await serveHttp({ name, routes, ...at })
    open.push(endpoint)
    return endpoint
  }
  const close = async (): Promise<void> => void (await Promise.all(open.map((endpoint) => endpoint.close())))
  try {
    const admin = await start('admin', options.admin, adminRoutes(sources))
    const metrics = options.metrics && (await start('metrics', options.metrics, metricsRoutes(sources)))
    const health = options.health && (await start('health', options.health, healthRoutes(sources)))
    return { admin, metrics, health, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Only ever bound to loopback: it shows policy and takes commands. */
function adminRoutes(sources: AdminSources): Route[] {
  return [
    {
      method: 'GET',
      path: '/stats',
      help: 'counts per service, breakers, certificate (JSON)',
      answer: async () => json(await sources.stats()),
    },
    {
      method: 'GET',
      path: '/config_dump',
      help: 'policy in force, with versions (JSON)',
      answer: () => json(sources.configDump()),
    },
    {
      method: 'GET',
      path: '/backends',
      help: 'services, endpoints and their health (JSON)',
      answer: async () => json(await sources.backends()),
    },
    readyRoute('/ready', sources),
    {
      method: 'POST',
      path: '/retire',
      help: 'not ready from now on, answers say Connection: close; the rest goes on',
      answer: () => {
        sources.retire()
        return text('retired')
      },
    },
    {
      method: 'POST',
      path: '/drain',
      help: 'stop accepting and let running requests end',
      answer: () => {
        sources.drain()
        return text('draining')
      },
    },
    {
      method: 'POST',
      path: '/log-level',
      help: '?level=debug|info|warn|error',
      answer: (query) => setLogLevel(sources, query),
    },
  ]
}

/** Reachable from other machines: metrics, and of the application what the kubelet may ask it. */
function metricsRoutes(sources: AdminSources): Route[] {
  return [
    ...Object.entries(sources.appProbes).map(([path, probe]) => probeRoute(path, probe, sources)),
    {
      method: 'POST',
      path: '/quitquitquit',
      help: 'end this sidecar; for the Pod itself only, such as a Job whose sidecar is an ordinary container',
      answer: (_query, request) => {
        if (!isLoopback(request.socket.remoteAddress)) return text('quitquitquit: only for callers on loopback', 403)
        sources.drain()
        return text('ending')
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      help: 'Prometheus text',
      answer: async () => ({
        status: 200,
        type: 'text/plain; version=0.0.4; charset=utf-8',
        body: await sources.metrics(),
      }),
    },
  ]
}

function probeRoute(path: string, probe: AppProbe, sources: AdminSources): Route {
  return {
    method: 'GET',
    path,
    help: `asks the application: ${probe.kind} on port ${probe.port}`,
    answerMs: probe.timeoutMs,
    answer: async (_query, request) => {
      const { status, reason } = await sources.probe(probe, callOf(request))
      return text(reason, status)
    },
  }
}

/** The address that the kubelet dialled is the Pod's. */
function callOf({ socket, headers }: IncomingMessage): ProbeCall {
  return { address: (socket.localAddress ?? '127.0.0.1').replace(/^::ffff:/, ''), headers }
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\..*)$/.test(address)
}

function healthRoutes(sources: AdminSources): Route[] {
  return [
    readyRoute('/healthz/ready', sources),
    { method: 'GET', path: '/healthz/live', help: 'answers while the process does', answer: () => text('live') },
  ]
}

function readyRoute(path: string, sources: AdminSources): Route {
  return {
    method: 'GET',
    path,
    help: '200 when traffic may come, 503 and the reason otherwise',
    answer: () => {
      const { ready, reason } = sources.ready()
      return ready ? text('ready') : text(`not ready: ${reason}`, 503)
    },
  }
}

const levels: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies LogLevel[]

function setLogLevel(sources: AdminSources, query: URLSearchParams) {
  const level = query.get('level') ?? ''
  if (!levels.includes(level)) return text(`log-level: expected ?level= one of ${levels.join(', ')}`, 400)
  sources.setLogLevel(level as LogLevel)
  return text(`log level is ${level}`)
}

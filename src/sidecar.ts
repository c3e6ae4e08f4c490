/** One sidecar, built in start order. The only place that constructs its parts. */
import { connect, type Socket } from 'node:net'
import { probeApp } from './admin/app-probe.ts'
import { type AdminServer, startAdmin } from './admin/server.ts'
import type { Mesh, Resource, Workload } from './api/gen/outrigger_pb.ts'
import { BackendRegistry } from './balance/backends.ts'
import { type Clock, sleep, systemClock } from './base/clock.ts'
import { Live } from './base/live.ts'
import type { Log, LogLevel } from './base/log.ts'
import type { StateFolder } from './base/state-folder.ts'
import { version } from './base/version.ts'
import { PolicyStore } from './control/policy-store.ts'
import { WatchStream } from './control/watch-stream.ts'
import { checkResource, Destinations } from './destinations.ts'
import { WorkloadCertificate } from './identity/certificate.ts'
import type { Credentials } from './identity/credentials.ts'
import { deliveryAddress, Inbound } from './inbound.ts'
import { checkWorkload } from './inbound-policy.ts'
import { Listener } from './listener/listener.ts'
import { LoopGuard } from './listener/loop-guard.ts'
import { loadOriginalDestination, type OriginalDestination } from './listener/original-destination.ts'
import type { HostPort, ProxyOptions } from './options.ts'
import { Outbound } from './outbound.ts'
import type { InboundEnv, OutboundEnv, PolicyEvent } from './policy/env.ts'
import { InFlight } from './policy/in-flight.ts'
import type { Runtime } from './runtime.ts'
import type { ByteSink } from './telemetry/line-writer.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { attemptSpanId, traceHeaderLines } from './telemetry/trace-context.ts'
import { Connector } from './upstream/connect.ts'
import { Pools } from './upstream/pools.ts'

/** Requests under way in one sidecar, both directions (Linkerd 100,000 a direction). */
const requestsInFlightMax = 50_000

/**
 * Connections that callers are opening as a drain begins are taken still: those that the kernel has accepted and we have
 * not would be reset with their request. Less than the grace of idle connections (http1/server.ts), which then ends them.
 */
const acceptGraceMs = 200

export interface SidecarParts {
  readonly options: ProxyOptions
  readonly log: Log
  readonly setLogLevel: (level: LogLevel) => void
  /** PEM of the root that the control plane is checked against. */
  readonly rootPem: string
  /** Reads it anew: it is replaced while this runs. */
  readonly readRoot?: () => Promise<string>
  readonly token: () => Promise<string | undefined>
  readonly state: StateFolder | undefined
  readonly stdout: ByteSink
  readonly clock?: Clock
  /** Called once when a drain is asked for through the admin API. */
  readonly onDrain?: () => void
}

export interface Sidecar {
  /** Bound addresses by role and position: `outbound0`, `inbound0`, `admin`, ... */
  readonly addresses: ReadonlyMap<string, HostPort>
  readonly telemetry: Telemetry
  readonly credentials: Live<Credentials | undefined>
  ready(): { readonly ready: boolean; readonly reason: string }
  /** Not ready from now on, and inbound answers send callers elsewhere; everything is served on. */
  retire(): void
  /** Stops accepting, lets work end for at most `timeoutMs`, closes everything. */
  drain(timeoutMs: number): Promise<void>
}

/** Builds and starts one sidecar. Rejects with one line that names the remedy if it cannot listen or capture. */
export async function startSidecar(parts: SidecarParts): Promise<Sidecar> {
  const { options, log, state } = parts
  const clock = parts.clock ?? systemClock
  const { namespace, workload } = options
  const by = `${namespace}/${workload}`

  // 1. Who we are.
  const certificate = new WorkloadCertificate({
    clock,
    log,
    controlPlane: options.controlPlane,
    rootPem: parts.rootPem,
    ...(parts.readRoot === undefined ? {} : { readRoot: parts.readRoot }),
    token: parts.token,
    namespace,
    serviceAccount: undefined,
    state,
  })
  // 2. What we obey. A resource is accepted only if every part that will use it can compile it.
  let check: (resource: Resource) => void = () => {}
  const store = new PolicyStore({ clock, log, check: (resource) => check(resource), state })
  const mesh = new Live<Mesh | undefined>(undefined)
  const ownWorkload = new Live<Workload | undefined>(undefined)
  // 3. What we tell.
  const telemetry = new Telemetry({
    clock,
    workload: { namespace, name: workload, serviceAccount: '', canonicalService: workload, revision: 'latest' },
    tracesEndpoint: options.traces,
    accessLog: options.accessLog ?? 'off',
    stdout: parts.stdout,
    log,
  })
  certificate.credentials.subscribe((held) =>
    telemetry.certificateChanged(
      held === undefined ? null : { spiffeId: held.spiffeId, expiresAtMs: held.expiresAtMs },
    ),
  )
  // 4. How we reach others. Our own sockets are remembered, so that captured traffic never loops.
  const guard = new LoopGuard([])
  const connector = new Connector(clock, certificate.credentials, (socket) => guard.track(socket))
  const runtime: Runtime = {
    options,
    clock,
    log,
    telemetry,
    credentials: certificate.credentials,
    mesh,
    connector,
    inFlight: new InFlight(requestsInFlightMax),
    guard,
    by,
  }
  const outboundPools = new Pools(connector, clock)
  const localPools = new Pools(connector, clock, { localAddress: (to) => deliveryAddress(runtime, to.address) })
  const backends = new BackendRegistry({
    clock,
    onTransition: (transition) => {
      if (!transition.shadow) telemetry.breakerChanged(transition)
      stream.report(transition)
      log.info(
        `breaker ${transition.from} > ${transition.to}: ${transition.service} ${transition.endpoint} ${transition.cause}`,
      )
    },
    onEjection: (ejection) => {
      if (!ejection.shadow) telemetry.ejectionChanged(ejection.service, ejection.endpoint, ejection.ejected)
      log.info(
        `endpoint ${ejection.ejected ? 'ejected' : 'back'}: ${ejection.service} ${ejection.endpoint} ${ejection.cause}`,
      )
    },
  })
  const outboundEnv: OutboundEnv = {
    clock,
    backends,
    onEvent: (event) => countEvent(telemetry, event, 'outbound'),
    onAttempt: (exchange, attempt) => {
      attempt.spanId = attemptSpanId(exchange)
    },
    send: (exchange, attempt, target, limits) => {
      let lines = traceHeaderLines(exchange, attempt)
      // Lets an inner sidecar's layers see that an outer one retries already.
      if (attempt.number > 1 && target.identity !== '') lines += `x-outrigger-attempt: ${attempt.number}\r\n`
      return outboundPools.pool(target, limits).send(exchange, lines)
    },
  }
  const inboundEnv: InboundEnv = { clock, onEvent: (event) => countEvent(telemetry, event, 'inbound') }
  check = (resource) => {
    checkResource(resource, namespace, outboundEnv)
    if (resource.body.case === 'workload') checkWorkload(resource.body.value, inboundEnv)
  }
  const destinations = new Destinations({ source: store, namespace, env: outboundEnv, backends, clock })
  // 5. The two paths.
  const addresses = new Map<string, HostPort>()
  const ownPorts = (): Iterable<number> => addresses.values().map(({ port }) => port)
  const outbound = new Outbound(runtime, { destinations, backends, pools: outboundPools, ownPorts })
  const inbound = new Inbound(runtime, localPools, inboundEnv, ownWorkload)
  store.watch('mesh', (resource) => {
    mesh.set(resource?.body.case === 'mesh' ? resource.body.value : undefined)
    telemetry.update(ownWorkload.current?.telemetry ?? mesh.current?.telemetry)
  })
  store.watch(`workload/${by}`, (resource) => {
    const message = resource?.body.case === 'workload' ? resource.body.value : undefined
    ownWorkload.set(message)
    if (message !== undefined) {
      const { serviceAccount, canonicalService, canonicalRevision } = message
      telemetry.workloadChanged({ serviceAccount, canonicalService, revision: canonicalRevision })
    }
    telemetry.update(ownWorkload.current?.telemetry ?? mesh.current?.telemetry)
  })
  const stream = new WatchStream({
    clock,
    log,
    controlPlane: options.controlPlane,
    namespace,
    workload,
    program: `outrigger ${version}`,
    credentials: certificate.credentials,
    store,
    onRetry: () => void certificate.lookForRoots(),
  })
  const sync = clock.every(500, () => {
    const status = store.status()
    // What was kept from the last run may be older than the certificate.
    if (status.connected && mesh.current !== undefined) certificate.trust(mesh.current.trustBundle)
    telemetry.watchChanged(status.connected, status.revision)
    telemetry.rejectedChanged(status.rejected)
  })
  await certificate.start()

  // 6. Doors.
  const listeners: { readonly inbound: Listener[]; readonly outbound: Listener[] } = { inbound: [], outbound: [] }
  let retired = false
  let draining = false
  const ready = (): { ready: boolean; reason: string } => {
    if (draining) return { ready: false, reason: 'draining' }
    if (retired) return { ready: false, reason: 'retired: the Pod is about to end' }
    const held = certificate.status()
    if (held.is === 'waiting')
      return { ready: false, reason: `no certificate: ${held.failure ?? 'waiting for the control plane'}` }
    if (!store.synced)
      return { ready: false, reason: `no policy yet: ${stream.failure ?? 'waiting for the control plane'}` }
    if (ownWorkload.current === undefined && options.inbound.length + (options.capture === 'redirect' ? 1 : 0) > 0) {
      return {
        ready: false,
        reason: `the control plane knows no workload ${by}: is there a Pod document of that name?`,
      }
    }
    return { ready: true, reason: '' }
  }
  const listen = async (
    way: 'inbound' | 'outbound',
    name: string,
    at: HostPort,
    onConnection: (socket: Socket) => void,
  ): Promise<void> => {
    const listener = new Listener({ name, host: at.host, port: at.port, clock, onConnection })
    try {
      addresses.set(name, await listener.listen())
    } catch (error) {
      const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code
      // A host without IPv6 has no IPv6 traffic to capture either.
      if (at.host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error
      log.info(`${name}: no IPv6 on this host, listening on IPv4 only`)
      return
    }
    guard.addPort(addresses.get(name)!.port)
    listeners[way].push(listener)
  }
  /** As inbound delivery does: what comes from the sidecar's ordinary address would be captured as inbound traffic. */
  const dialApp = (host: string, port: number): Socket => {
    const socket = connect({ host, port, localAddress: deliveryAddress(runtime, host) })
    guard.track(socket)
    return socket
  }
  let admin: AdminServer | undefined
  const closeAll = async (): Promise<void> => {
    sync.cancel()
    stream.close()
    certificate.close()
    destinations.close()
    outbound.http.close()
    inbound.close()
    outboundPools.close()
    localPools.close()
    for (const listener of [...listeners.inbound, ...listeners.outbound]) listener.close()
    await store.close()
    await telemetry.close()
    await admin?.close()
  }
  const retire = (): void => {
    if (!retired) log.info('retired: callers are sent elsewhere')
    retired = true
    inbound.http.retire()
  }
  const drain = async (timeoutMs: number): Promise<void> => {
    if (draining) return
    draining = true
    const endsAt = clock.now() + timeoutMs
    const accepting = sleep(clock, Math.min(acceptGraceMs, timeoutMs))
    inbound.http.drain()
    if (listeners.inbound.length > 0) await accepting
    await Promise.all(listeners.inbound.map((listener) => listener.drain(Math.max(0, endsAt - clock.now()))))
    // Only now: to end what came in, the application may have to call others.
    outbound.http.drain()
    await Promise.all(listeners.outbound.map((listener) => listener.drain(Math.max(0, endsAt - clock.now()))))
    await closeAll()
  }
  try {
    const started = await startAdmin(
      {
        stats: () => telemetry.stats(ready(), backendFacts(backends)),
        configDump: () => ({ workload: by, mesh: mesh.current, ...store.status(), resources: store.contents() }),
        backends: () => ({ services: backends.snapshot(), pools: outboundPools.sizes(), local: localPools.sizes() }),
        ready,
        retire,
        drain: () => parts.onDrain?.(),
        setLogLevel: parts.setLogLevel,
        metrics: () => telemetry.scrape(),
        appProbes: options.appProbes,
        probe: (probe, call) => probeApp(probe, call, dialApp, clock),
      },
      {
        admin: { address: options.admin.host, port: options.admin.port },
        metrics: { address: options.metrics.host, port: options.metrics.port },
        health: { address: options.health.host, port: options.health.port },
      },
    )
    admin = started
    for (const name of ['admin', 'metrics', 'health'] as const) {
      const at = started[name]
      if (at !== undefined) addresses.set(name, { host: at.address, port: at.port })
    }
    if (options.capture === 'redirect') {
      const original: OriginalDestination = await loadOriginalDestination()
      for (const [i, at] of options.outbound.entries())
        await listen('outbound', `outbound${i}`, at, (s) => outbound.acceptCaptured(s, original))
      for (const [i, at] of options.inboundCapture.entries())
        await listen('inbound', `inbound${i}`, at, (s) => inbound.acceptCaptured(s, original))
    } else {
      for (const [i, at] of options.outbound.entries())
        await listen('outbound', `outbound${i}`, at, (s) => outbound.acceptExplicit(s))
      for (const [i, { at, app }] of options.inbound.entries())
        await listen('inbound', `inbound${i}`, at, (s) => inbound.acceptExplicit(s, app))
      for (const [i, { at, service }] of options.upstreams.entries())
        await listen('outbound', `upstream${i}`, at, (s) => outbound.acceptFor(s, service))
    }
  } catch (error) {
    await closeAll()
    throw error
  }
  return { addresses, telemetry, credentials: certificate.credentials, ready, retire, drain }
}

function countEvent(telemetry: Telemetry, event: PolicyEvent, direction: 'outbound' | 'inbound'): void {
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

function* backendFacts(backends: BackendRegistry): Iterable<{ service: string; endpoints: number; inFlight: number }> {
  for (const { service, backends: ports } of backends.snapshot()) {
    const endpoints = ports.flatMap((port) => port.endpoints)
    yield {
      service,
      endpoints: new Set(endpoints.map((endpoint) => endpoint.endpoint)).size,
      inFlight: endpoints.reduce((sum, endpoint) => sum + endpoint.inFlight, 0),
    }
  }
}

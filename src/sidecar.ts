/** One sidecar, built in start order: what the process has once. What takes traffic is src/data-plane.ts. */
import { connect, type Socket } from 'node:net'
import { probeApp } from './admin/app-probe.ts'
import { type AdminServer, startAdmin } from './admin/server.ts'
import type { Stats } from './admin/stats.ts'
import type { Resource } from './api/gen/outrigger_pb.ts'
import { deliveryAddress } from './arrival.ts'
import type { Transition } from './balance/breaker.ts'
import type { Ejection } from './balance/outlier.ts'
import { type Clock, systemClock } from './base/clock.ts'
import type { Live } from './base/live.ts'
import type { Log, LogLevel } from './base/log.ts'
import type { StateFolder } from './base/state-folder.ts'
import { version } from './base/version.ts'
import { PolicyStore } from './control/policy-store.ts'
import { WatchStream } from './control/watch-stream.ts'
import { type BackendsReport, DataPlane, type DataPlaneParts, type Way } from './data-plane.ts'
import { WorkloadCertificate } from './identity/certificate.ts'
import type { Credentials } from './identity/credentials.ts'
import type { HostPort, ProxyOptions } from './options.ts'
import type { OwnPolicy } from './own-policy.ts'
import type { ByteSink } from './telemetry/line-writer.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import type { WorkerPlane } from './workers/worker-plane.ts'

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

/** Takes the traffic of this sidecar: here, or in threads. */
export interface Plane {
  readonly own: OwnPolicy
  readonly addresses: ReadonlyMap<string, HostPort>
  check(resource: Resource): void
  track(socket: Socket): void
  reserve(name: string, at: HostPort): void
  listen(): Promise<void>
  /** Why no traffic may come, by what is known here; undefined: it may. */
  unready(): string | undefined
  /** Resolves when all policy that is accepted is in force; undefined: it is. */
  whenInForce(): Promise<void> | undefined
  setLogLevel(level: LogLevel): void
  retire(): void
  drain(way: Way, timeoutMs: number): Promise<void>
  close(): void | Promise<void>
  backends(): BackendsReport | Promise<BackendsReport>
  stats(ready: { readonly ready: boolean; readonly reason: string }): Stats | Promise<Stats>
  /** Text for Prometheus. */
  scrape(): Promise<string>
}

/** Builds and starts one sidecar. Rejects with one line that names the remedy if it cannot listen or capture. */
export async function startSidecar(parts: SidecarParts): Promise<Sidecar> {
  const { options, log, state } = parts
  const clock = parts.clock ?? systemClock
  const { namespace, workload } = options
  const by = `${namespace}/${workload}`

  // Traffic runs here, or in threads whose code is loaded only then.
  const threaded = options.workers > 1

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
  const { credentials } = certificate
  // 2. What we obey. A resource is accepted only if every part that will use it can compile it.
  let check: (resource: Resource) => void = () => {}
  const store = new PolicyStore({ clock, log, check: (resource) => check(resource), state })
  // 3. What we tell.
  const telemetry = new Telemetry({
    clock,
    workload: { namespace, name: workload, serviceAccount: '', canonicalService: workload, revision: 'latest' },
    tracesEndpoint: options.traces,
    accessLog: options.accessLog ?? 'off',
    stdout: parts.stdout,
    log,
    ...(threaded ? { others: () => (plane as WorkerPlane).counted() } : {}),
  })
  const onTransition = (transition: Transition): void => {
    if (!transition.shadow) telemetry.breakerChanged(transition)
    stream.report(transition)
    log.info(
      `breaker ${transition.from} > ${transition.to}: ${transition.service} ${transition.endpoint} ${transition.cause}`,
    )
  }
  const onEjection = (ejection: Ejection): void => {
    if (!ejection.shadow) telemetry.ejectionChanged(ejection.service, ejection.endpoint, ejection.ejected)
    log.info(
      `endpoint ${ejection.ejected ? 'ejected' : 'back'}: ${ejection.service} ${ejection.endpoint} ${ejection.cause}`,
    )
  }
  // 4. What takes traffic: the paths, and how we reach others.
  const made: DataPlaneParts = { options, clock, log, telemetry, credentials, source: store, onTransition, onEjection }
  const plane: Plane = threaded
    ? new (await import('./workers/worker-plane.ts')).WorkerPlane(made, parts.stdout)
    : new DataPlane(made)
  check = (resource) => plane.check(resource)
  const { mesh, workload: ownWorkload } = plane.own
  const stream = new WatchStream({
    clock,
    log,
    controlPlane: options.controlPlane,
    namespace,
    workload,
    program: `outrigger ${version}`,
    credentials,
    store,
    whenInForce: () => plane.whenInForce(),
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

  // 5. Doors.
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
    const reason = plane.unready()
    return { ready: reason === undefined, reason: reason ?? '' }
  }
  /** As inbound delivery does: what comes from the sidecar's ordinary address would be captured as inbound traffic. */
  const dialApp = (host: string, port: number): Socket => {
    const socket = connect({ host, port, localAddress: deliveryAddress(options, host) })
    plane.track(socket)
    return socket
  }
  let admin: AdminServer | undefined
  const closeAll = async (): Promise<void> => {
    sync.cancel()
    stream.close()
    certificate.close()
    await plane.close()
    await store.close()
    await telemetry.close()
    await admin?.close()
  }
  const retire = (): void => {
    if (!retired) log.info('retired: callers are sent elsewhere')
    retired = true
    plane.retire()
  }
  const drain = async (timeoutMs: number): Promise<void> => {
    if (draining) return
    draining = true
    const endsAt = clock.now() + timeoutMs
    await plane.drain('inbound', timeoutMs)
    // Only now: to end what came in, the application may have to call others.
    await plane.drain('outbound', Math.max(0, endsAt - clock.now()))
    await closeAll()
  }
  try {
    const started = await startAdmin(
      {
        stats: () => plane.stats(ready()),
        configDump: () => ({ workload: by, mesh: mesh.current, ...store.status(), resources: store.contents() }),
        backends: () => plane.backends(),
        ready,
        retire,
        drain: () => parts.onDrain?.(),
        setLogLevel: (level) => {
          parts.setLogLevel(level)
          plane.setLogLevel(level)
        },
        metrics: () => plane.scrape(),
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
      if (at !== undefined) plane.reserve(name, { host: at.address, port: at.port })
    }
    await plane.listen()
  } catch (error) {
    await closeAll()
    throw error
  }
  return { addresses: plane.addresses, telemetry, credentials, ready, retire, drain }
}

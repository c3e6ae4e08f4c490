/** What every control plane does, wherever its documents, its key and its proofs of identity come from. */
import type { Clock } from '../src/base/clock.ts'
import type { Log } from '../src/base/log.ts'
import { Metrics, mountMetrics } from './admin/metrics.ts'
import { ModelProblems } from './admin/model-problems.ts'
import { AdminServer } from './admin/server.ts'
import { mountStatus } from './admin/status.ts'
import { TraceStore } from './admin/trace-store.ts'
import { mountTraces } from './admin/traces.ts'
import type { Authority } from './identity/authority.ts'
import type { ServerCertificate } from './identity/server-certificate.ts'
import type { TokenChecker } from './identity/token.ts'
import type { SnapshotCache } from './snapshot/snapshot-cache.ts'
import type { Source } from './sources/source.ts'
import { StreamServer } from './stream/server.ts'

export interface ServiceParts<S extends Source> {
  readonly clock: Clock
  readonly log: Log
  readonly host: string
  readonly adminHost: string
  readonly ports: { readonly stream: number; readonly admin: number }
  readonly program: string
  readonly authority: Authority
  readonly tokens: TokenChecker
  readonly certificate: ServerCertificate
  readonly cache: SnapshotCache
  readonly openSource: () => S
  /** What else keeps it from being ready, in words; undefined: nothing. */
  readonly unready?: () => string | undefined
}

/** What runs. */
export interface Service<S extends Source> {
  readonly stream: StreamServer
  readonly admin: AdminServer
  readonly source: S
  readonly metrics: Metrics
}

/**
 * Starts stream, admin API and source, and publishes what the source says. Each is put on `running` as it starts; a
 * rejection says in one line what is in the way.
 */
export async function startService<S extends Source>(
  running: AsyncDisposableStack,
  parts: ServiceParts<S>,
): Promise<Service<S>> {
  const { clock, log, host, adminHost, ports, authority, tokens, certificate, cache } = parts
  const metrics = new Metrics()
  // Ports before sources: a port in use is said at once, and sidecars that come early wait on an open stream.
  const stream = running.adopt(
    await StreamServer.start({
      clock,
      log,
      host,
      port: ports.stream,
      authority,
      tokens,
      certificate,
      resources: cache,
      observer: metrics,
    }),
    (it) => it.stop(),
  )
  const source = running.adopt(parts.openSource(), (it) => it.stop())
  const model = running.adopt(new ModelProblems(clock, log), (it) => it.stop())
  const admin = running.adopt(new AdminServer({ log, host: adminHost, port: ports.admin }), (it) => it.stop())
  mountStatus(admin, {
    program: parts.program,
    sources: [source],
    model,
    cache,
    stream,
    authority,
    ...(parts.unready === undefined ? {} : { unready: parts.unready }),
  })
  mountMetrics(admin, metrics, { program: parts.program, source, model, cache, stream, authority })
  mountTraces(admin, new TraceStore(clock))
  await admin.start()
  await source.start()
  const publish = (): void => {
    const { documents, blocking } = source.current
    // To publish without a policy that protects would take it from sidecars that have it still.
    if (blocking.length === 0) cache.setDocuments(documents)
    model.check(documents)
  }
  publish()
  running.use(source.subscribe(publish))
  return { stream, admin, source, metrics }
}

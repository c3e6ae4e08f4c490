/** The control plane in a cluster: documents, proofs of identity and the authority's key are the API server's. */
import { hostname } from 'node:os'
import { type Clock, systemClock } from '../src/base/clock.ts'
import { inSystem } from '../src/base/kubernetes-names.ts'
import { type Log, silentLog } from '../src/base/log.ts'
import { addClusterMetrics } from './cluster-metrics.ts'
import { readNamespaceLabels, reviewWith, rootStore, secretStore } from './cluster-stores.ts'
import type { ControlPlaneConfig } from './config.ts'
import { AuthoritySecret } from './identity/authority-secret.ts'
import { RootPublisher } from './identity/root-publisher.ts'
import { ServerCertificate } from './identity/server-certificate.ts'
import { ClusterTokens } from './identity/token-review.ts'
import { CaBundle } from './inject/ca-bundle.ts'
import { Injector } from './inject/server.ts'
import type { Cluster } from './kubernetes/cluster.ts'
import { Events } from './kubernetes/events.ts'
import { Leadership } from './kubernetes/lease.ts'
import { type Service, startService } from './service.ts'
import { SnapshotCache } from './snapshot/snapshot-cache.ts'
import { KubernetesSource } from './sources/kubernetes/source.ts'
import { Peers } from './status/peers.ts'
import { StatusWriter } from './status/writer.ts'

export interface ClusterControlPlaneOptions {
  readonly cluster: Cluster
  readonly config: ControlPlaneConfig
  /** Of the control plane itself. */
  readonly namespace: string
  /** Name of this replica: its Pod's. */
  readonly replica?: string
  /** Default: every address. */
  readonly host?: string
  readonly ports: { readonly stream: number; readonly admin: number; readonly webhook: number }
  readonly program: string
  readonly clock?: Clock
  readonly log?: Log
}

/** A control plane of a cluster that runs. */
export interface ClusterControlPlane extends Service<KubernetesSource> {
  readonly injector: Injector
  readonly leadership: Leadership
  /** What is published, by name. */
  versions(): Iterable<readonly [name: string, version: string]>
  readonly ports: { readonly stream: number; readonly admin: number; readonly webhook: number }
  stop(): Promise<void>
}

/** Streams end within this time when a replica is told to stop: its sidecars are with the others within two seconds. */
const drainMs = 1_500

/**
 * Starts one replica. Rejects with an Error that says in one line what is in the way, and leaves nothing running then. While
 * the API server cannot be reached it waits.
 */
export async function runClusterControlPlane(options: ClusterControlPlaneOptions): Promise<ClusterControlPlane> {
  const clock = options.clock ?? systemClock
  const log = options.log ?? silentLog
  const { cluster, config, namespace } = options
  const host = options.host ?? '0.0.0.0'
  const replica = options.replica ?? hostname()
  const { trustDomain, clusterDomain, outboundPolicy } = config
  const running = new AsyncDisposableStack()
  try {
    const leadership = running.adopt(
      Leadership.start({ api: cluster, namespace, name: inSystem.lease, identity: replica, clock, log }),
      (it) => it.stop(),
    )
    const { secret, managed, announce } = config.authority
    const authoritySecret = running.adopt(
      await AuthoritySecret.open({
        clock,
        log,
        trustDomain,
        certificateLifetimeMs: durationMs(config.certificateLifetime),
        store: secretStore(cluster, clock, namespace, managed ? secret : inSystem.authorityState),
        source: managed ? undefined : secretStore(cluster, clock, namespace, secret),
        announceMs: durationMs(announce),
        isLeader: leadership.held,
      }),
      (it) => it.stop(),
    )
    const { authority } = authoritySecret
    const certificate = running.adopt(
      await ServerCertificate.start(authority, clock, log, [
        `${inSystem.name}.${namespace}.svc`,
        `${inSystem.name}.${namespace}.svc.${clusterDomain}`,
      ]),
      (it) => it.stop(),
    )
    const tokens = new ClusterTokens({
      review: reviewWith(cluster),
      audience: config.tokenAudience,
      wall: () => clock.wall(),
    })
    const cache = new SnapshotCache({
      trustDomain,
      trustBundle: authority.trustBundlePem,
      clusterDomain,
      outboundPolicy,
    })
    const namespaceLabels = new Map<string, Readonly<Record<string, string>>>()
    const injector = running.adopt(
      await Injector.start({
        log,
        host,
        port: options.ports.webhook,
        certificate,
        template: { config, systemNamespace: namespace },
        namespaceLabels: (name) => namespaceLabels.get(name),
        readNamespaceLabels: (name) => readNamespaceLabels(cluster, name),
        events: new Events({ api: cluster, replica, clock, log }),
      }),
      (it) => it.stop(),
    )
    const caBundle = running.use(new CaBundle(cluster, () => authority.trustBundlePem, leadership.held, clock, log))
    const service = await startService(running, {
      clock,
      log,
      host,
      adminHost: host,
      ports: options.ports,
      program: options.program,
      authority,
      tokens,
      certificate,
      cache,
      openSource: () => new KubernetesSource({ api: cluster, server: cluster.server, clock, log }),
      unready: () => caBundle.unready(),
    })
    const roots = running.adopt(
      RootPublisher.start({
        store: rootStore(cluster, () => namespaceLabels.keys()),
        rootPem: () => authority.trustBundlePem,
        isLeader: leadership.held,
        clock,
        log,
      }),
      (it) => it.stop(),
    )
    const peers = running.adopt(
      new Peers({ clock, log, certificate, trustDomain, namespace, replica, port: service.stream.port }),
      (it) => it.stop(),
    )
    running.adopt(
      StatusWriter.start({
        api: cluster,
        source: service.source,
        published: cache,
        sidecars: service.stream.sidecars,
        peers,
        isLeader: leadership.held,
        clock,
        log,
      }),
      (it) => it.stop(),
    )
    const readNamespaces = (): void => {
      namespaceLabels.clear()
      for (const document of service.source.current.documents) {
        if (document.kind === 'Namespace') namespaceLabels.set(document.name, document.value.metadata.labels ?? {})
      }
      roots.changed()
    }
    readNamespaces()
    running.use(service.source.subscribe(readNamespaces))
    running.use(
      authority.current.subscribe(({ trustBundlePem }) => {
        cache.setSettings({ ...cache.settings, trustBundle: trustBundlePem })
        roots.changed()
        caBundle.look()
      }),
    )
    addClusterMetrics(service.metrics, { source: service.source, injector, leadership, authoritySecret })
    log.info(`control plane up: ${replica} serves streams on ${service.stream.port}, the webhook on ${injector.port}`, {
      documents: service.source.current.documents.length,
    })
    const stopping = running.move()
    return {
      ...service,
      injector,
      leadership,
      versions: () => Iterator.from(cache.names()).map((name) => [name, cache.get(name)?.version ?? ''] as const),
      ports: { stream: service.stream.port, admin: service.admin.port, webhook: injector.port },
      stop: async () => {
        await service.stream.drain(drainMs)
        await stopping.disposeAsync()
      },
    }
  } catch (error) {
    await running.disposeAsync()
    throw error
  }
}

/** Of `24h`, `30m`, `90s`: the config's schema lets nothing else through. */
function durationMs(text: string): number {
  const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }
  return Number.parseInt(text, 10) * (units[text.at(-1) ?? ''] ?? 0)
}

/** The control plane in a cluster: documents, proofs of identity and the authority's key are the API server's. */
import { hostname } from 'node:os'
import { type Clock, systemClock, type Timer } from '../src/base/clock.ts'
import { inSystem } from '../src/base/kubernetes-names.ts'
import { type Log, messageOf, silentLog } from '../src/base/log.ts'
import { patchCaBundle, reviewWith, rootStore, secretStore } from './cluster-stores.ts'
import type { ControlPlaneConfig } from './config.ts'
import { authorityFromSecret } from './identity/authority-secret.ts'
import { RootPublisher } from './identity/root-publisher.ts'
import { ServerCertificate } from './identity/server-certificate.ts'
import { ClusterTokens } from './identity/token-review.ts'
import { Injector } from './inject/server.ts'
import type { Cluster } from './kubernetes/cluster.ts'
import { Leadership } from './kubernetes/lease.ts'
import { type Service, startService } from './service.ts'
import { SnapshotCache } from './snapshot/snapshot-cache.ts'
import { KubernetesSource } from './sources/kubernetes/source.ts'

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
  readonly ports: { readonly stream: number; readonly admin: number; readonly webhook: number }
  stop(): Promise<void>
}

/** Somebody may have cleared it (helm upgrade writes what the chart says). */
const caBundleMs = 5_000

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
    const settings = { clock, trustDomain, certificateLifetimeMs: durationMs(config.certificateLifetime) }
    const { secret, managed } = config.authority
    const authority = await authorityFromSecret(settings, secretStore(cluster, namespace, secret), managed)
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
      }),
      (it) => it.stop(),
    )
    const leadership = running.adopt(
      Leadership.start({ api: cluster, namespace, name: inSystem.lease, identity: replica, clock, log }),
      (it) => it.stop(),
    )
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
    })
    const roots = running.adopt(
      RootPublisher.start({
        store: rootStore(cluster, () => namespaceLabels.keys()),
        rootPem: authority.trustBundlePem,
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
      roots.namespacesChanged()
    }
    readNamespaces()
    running.use(service.source.subscribe(readNamespaces))
    running.adopt(keepCaBundle(cluster, authority.trustBundlePem, leadership, clock, log), (timer) => timer.cancel())
    log.info(`control plane up: ${replica} serves streams on ${service.stream.port}, the webhook on ${injector.port}`, {
      documents: service.source.current.documents.length,
    })
    const stopping = running.move()
    return {
      ...service,
      injector,
      leadership,
      ports: { stream: service.stream.port, admin: service.admin.port, webhook: injector.port },
      stop: () => stopping.disposeAsync(),
    }
  } catch (error) {
    await running.disposeAsync()
    throw error
  }
}

/** While this replica leads, the API server trusts the webhook's certificate. */
function keepCaBundle(cluster: Cluster, rootPem: string, leadership: Leadership, clock: Clock, log: Log): Timer {
  let told = ''
  let busy = false
  const look = async (): Promise<void> => {
    if (!leadership.held.current || busy) return
    busy = true
    try {
      const outcome = await patchCaBundle(cluster, inSystem.webhookConfiguration, rootPem)
      if (outcome === 'patched') log.info(`the webhook ${inSystem.webhookConfiguration} has its caBundle`)
      else if (outcome === 'absent' && told !== outcome)
        log.warn(`there is no ${inSystem.webhookConfiguration}: no injection`)
      told = outcome
    } catch (error) {
      log.warn(`the webhook's caBundle cannot be written: ${messageOf(error)}`)
    } finally {
      busy = false
    }
  }
  leadership.held.subscribe(() => void look())
  return clock.every(caBundleMs, () => void look())
}

/** Of `24h`, `30m`, `90s`: the config's schema lets nothing else through. */
function durationMs(text: string): number {
  const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }
  return Number.parseInt(text, 10) * (units[text.at(-1) ?? ''] ?? 0)
}

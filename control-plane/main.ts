import { isIPv4 } from 'node:net'
import { type Clock, systemClock } from '../src/base/clock.ts'
import { type Log, silentLog } from '../src/base/log.ts'
import { isTrustDomain } from '../src/base/spiffe.ts'
import { StateFolder } from '../src/base/state-folder.ts'
import type { AdminServer } from './admin/server.ts'
import { Authority } from './identity/authority.ts'
import { ServerCertificate } from './identity/server-certificate.ts'
import { Tokens } from './identity/token.ts'
import { startService } from './service.ts'
import { SnapshotCache } from './snapshot/snapshot-cache.ts'
import { FilesSource } from './sources/files.ts'
import type { StreamServer } from './stream/server.ts'

export interface ControlPlaneOptions {
  /** Folders of documents. At least one. */
  readonly folders: readonly string[]
  /** Laid over them, in order: a document replaces the one of the same kind, namespace and name. */
  readonly overlays?: readonly string[]
  /** Authority, token key and the last good documents; locked while this runs. */
  readonly stateDir: string
  /** Address of the policy stream. Default 127.0.0.1. */
  readonly host?: string
  /** Address of status and traces. Default: `host` if that is loopback, else 127.0.0.1. */
  readonly adminHost?: string
  /** 0: any that is free; `ControlPlane.ports` tells which. Default 15012 and 15014. */
  readonly ports?: { readonly stream?: number; readonly admin?: number }
  readonly trustDomain?: string
  readonly clusterDomain?: string
  /** Default 24 h. */
  readonly certificateLifetimeMs?: number
  /** What happens to a destination that no Service names. Default ALLOW_ANY. */
  readonly outboundPolicy?: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  /** Name and version of this program, for status. */
  readonly program?: string
  readonly clock?: Clock
  readonly log?: Log
}

/** A control plane that runs. */
export interface ControlPlane {
  readonly host: string
  readonly adminHost: string
  /** The real ones. */
  readonly ports: { readonly stream: number; readonly admin: number }
  /** PEM of the root: what a sidecar pins. The same as root.pem in the state folder. */
  readonly trustBundlePem: string
  readonly trustDomain: string
  /** Makes join tokens; needs no access to files. */
  readonly tokens: Tokens
  readonly cache: SnapshotCache
  readonly stream: StreamServer
  readonly admin: AdminServer
  stop(): Promise<void>
}

const certificateLifetimeDefaultMs = 24 * 3_600_000

/**
 * Starts a control plane in this process. Rejects with an Error that says in one line what is in the way (a port in use, a state folder
 * that is locked or not ours, no documents to read) and leaves nothing running then.
 */
export async function runControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const clock = options.clock ?? systemClock
  const log = options.log ?? silentLog
  const trustDomain = options.trustDomain ?? 'cluster.local'
  const host = options.host ?? '127.0.0.1'
  const adminHost = options.adminHost ?? (isLoopback(host) ? host : '127.0.0.1')
  const lifetimeMs = options.certificateLifetimeMs ?? certificateLifetimeDefaultMs
  checkOptions(options, trustDomain, lifetimeMs)

  // In start order; stopped in reverse. Each line needs only the ones above it.
  const running = new AsyncDisposableStack()
  try {
    // The lock comes first: two authorities on one folder would sign for two roots.
    const state = running.use(StateFolder.open(options.stateDir))
    const authority = await Authority.open({ clock, state, trustDomain, certificateLifetimeMs: lifetimeMs })
    const tokens = await Tokens.open(state, clock)
    const certificate = running.adopt(await ServerCertificate.start(authority, clock, log), (it) => it.stop())
    const cache = new SnapshotCache({
      trustDomain,
      trustBundle: authority.trustBundlePem,
      clusterDomain: options.clusterDomain ?? 'cluster.local',
      outboundPolicy: options.outboundPolicy ?? 'ALLOW_ANY',
    })
    const { stream, admin, source } = await startService(running, {
      clock,
      log,
      host,
      adminHost,
      ports: { stream: options.ports?.stream ?? 15_012, admin: options.ports?.admin ?? 15_014 },
      program: options.program ?? 'outrigger',
      authority,
      tokens,
      certificate,
      cache,
      openSource: () =>
        new FilesSource({ folders: [...options.folders, ...(options.overlays ?? [])], clock, state, log }),
    })
    log.info(`control plane up: stream ${host}:${stream.port}, status ${adminHost}:${admin.port}`, {
      documents: source.current.documents.length,
      problems: source.current.problems.length,
    })
    const stopping = running.move()
    return {
      host,
      adminHost,
      ports: { stream: stream.port, admin: admin.port },
      trustBundlePem: authority.trustBundlePem,
      trustDomain,
      tokens,
      cache,
      stream,
      admin,
      stop: () => stopping.disposeAsync(),
    }
  } catch (error) {
    await running.disposeAsync()
    throw error
  }
}

function checkOptions(options: ControlPlaneOptions, trustDomain: string, lifetimeMs: number): void {
  if (options.folders.length === 0) throw new Error('no folder of documents: name one with -f DIR')
  if (!isTrustDomain(trustDomain)) {
    throw new Error(
      `'${trustDomain}' is no trust domain: expected lower-case letters, digits, dots and hyphens, as in cluster.local`,
    )
  }
  if (!(lifetimeMs >= 1_000)) throw new Error('certificates must live for a second at least')
}

function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || (isIPv4(host) && host.startsWith('127.'))
}

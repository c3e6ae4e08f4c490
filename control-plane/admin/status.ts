import type { SnapshotCache } from '../snapshot/snapshot-cache.ts'
import type { Source } from '../sources/source.ts'
import type { StreamServer } from '../stream/server.ts'
import type { SidecarStatus } from '../stream/sidecars.ts'
import { type AdminServer, json } from './server.ts'

/** `GET /status`. Times are Unix milliseconds. */
export interface ControlPlaneStatus {
  readonly program: string
  /** Grows with each change of policy; 0 until the sources were read. */
  readonly revision: number
  readonly synced: boolean
  readonly trustDomain: string
  readonly rootExpiresAt: number
  readonly sources: readonly SourceStatus[]
  readonly sidecars: readonly SidecarStatus[]
  /** Requests for certificates that were refused, by cause, since the start. */
  readonly certificateRefusals: Readonly<Record<string, number>>
}

export interface SourceStatus {
  readonly name: string
  readonly documents: number
  /** What is written but not in force, and where; the last good version of it stays. */
  readonly problems: readonly {
    readonly severity: 'error' | 'warning'
    readonly code: string
    readonly file: string
    readonly line: number
    readonly column: number
    readonly path: string
    readonly message: string
    readonly expected?: string | undefined
    readonly suggestion?: string | undefined
    readonly since: number
  }[]
}

export interface StatusOptions {
  readonly program: string
  readonly sources: readonly Source[]
  readonly cache: SnapshotCache
  readonly stream: StreamServer
  readonly rootExpiresAtMs: number
}

/** Mounts `GET /healthz` (200 once all sources were read, else 503) and `GET /status`. */
export function mountStatus(admin: AdminServer, options: StatusOptions): void {
  admin.route('GET', '/healthz', (_request, response) => {
    json(response, { ready: options.cache.synced }, options.cache.synced ? 200 : 503)
  })
  admin.route('GET', '/status', (_request, response) => json(response, statusOf(options)))
}

function statusOf({ program, sources, cache, stream, rootExpiresAtMs }: StatusOptions): ControlPlaneStatus {
  return {
    program,
    revision: Number(cache.revision),
    synced: cache.synced,
    trustDomain: cache.settings.trustDomain,
    rootExpiresAt: rootExpiresAtMs,
    sources: sources.map((source) => ({
      name: source.name,
      documents: source.current.documents.length,
      problems: source.current.problems.map(({ problem, sinceMs }) => ({ ...problem, since: sinceMs })),
    })),
    sidecars: stream.sidecars.list(),
    certificateRefusals: Object.fromEntries(stream.identity.refusals),
  }
}

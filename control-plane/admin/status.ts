import { formatProblem } from '../../src/api/documents/format-problem.ts'
import type { Authority } from '../identity/authority.ts'
import type { SnapshotCache } from '../snapshot/snapshot-cache.ts'
import type { HeldProblem, Source } from '../sources/source.ts'
import type { StreamServer } from '../stream/server.ts'
import type { SidecarStatus } from '../stream/sidecars.ts'
import type { ModelProblems } from './model-problems.ts'
import { type AdminServer, json } from './server.ts'

/** `GET /status`. Times are Unix milliseconds. */
export interface ControlPlaneStatus {
  readonly program: string
  /** Grows with each change of policy; 0 until the sources were read. */
  readonly revision: number
  readonly synced: boolean
  /** Why nothing is published although all was read: one line each, with its place. Sidecars keep what they have. */
  readonly blocked: readonly string[]
  readonly trustDomain: string
  readonly rootExpiresAt: number
  /** Each source; and, as the last, the model: what is wrong between documents that are each in order. */
  readonly sources: readonly SourceStatus[]
  readonly sidecars: readonly SidecarStatus[]
  /** Requests for certificates that were refused, by cause, since the start. */
  readonly certificateRefusals: Readonly<Record<string, number>>
}

export interface SourceStatus {
  readonly name: string
  readonly documents: number
  /**
   * Of a source: what is written but not in force, and where; the last good version of it stays. Of the model: which part
   * of a document has no effect.
   */
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
  readonly model: ModelProblems
  readonly cache: SnapshotCache
  readonly stream: StreamServer
  readonly authority: Authority
  /** What else keeps it from being ready; undefined: nothing. */
  readonly unready?: () => string | undefined
}

/** Mounts `GET /healthz` (200 once all sources were read and nothing keeps them from being published or used, else 503) and `GET /status`. */
export function mountStatus(admin: AdminServer, options: StatusOptions): void {
  admin.route(
    'GET',
    '/healthz',
    (_request, response) => {
      const waiting = options.unready?.()
      if (options.cache.synced && waiting === undefined) return json(response, { ready: true })
      if (options.cache.synced) return json(response, { ready: false, reason: waiting }, 503)
      const [first, ...others] = blockedOf(options.sources)
      const more = others.length === 0 ? '' : ` (and ${others.length} more, see /status)`
      json(
        response,
        { ready: false, reason: first === undefined ? 'not every source has been read yet' : first + more },
        503,
      )
    },
    true,
  )
  admin.route('GET', '/status', (_request, response) => json(response, statusOf(options)))
}

function statusOf({ program, sources, model, cache, stream, authority }: StatusOptions): ControlPlaneStatus {
  return {
    program,
    revision: Number(cache.revision),
    synced: cache.synced,
    blocked: blockedOf(sources),
    trustDomain: cache.settings.trustDomain,
    rootExpiresAt: authority.rootExpiresAtMs,
    sources: [
      ...sources.map(({ name, current }) => sourceStatus(name, current.documents.length, current.problems)),
      sourceStatus('model', 0, model.current),
    ],
    sidecars: stream.sidecars.list(),
    certificateRefusals: Object.fromEntries(stream.identity.refusals),
  }
}

function sourceStatus(name: string, documents: number, problems: readonly HeldProblem[]): SourceStatus {
  return { name, documents, problems: problems.map(({ problem, sinceMs }) => ({ ...problem, since: sinceMs })) }
}

function blockedOf(sources: readonly Source[]): string[] {
  return sources.flatMap(({ current }) => current.blocking.map((problem) => formatProblem(problem)))
}

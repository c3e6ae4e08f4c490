import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Authority } from '../identity/authority.ts'
import type { SnapshotCache } from '../snapshot/snapshot-cache.ts'
import type { Source } from '../sources/source.ts'
import type { StreamServer } from '../stream/server.ts'
import type { StreamObserver } from '../stream/session.ts'
import type { ModelProblems } from './model-problems.ts'
import type { AdminServer } from './server.ts'

interface MetricText {
  readonly help: string
  readonly labels: readonly string[]
}

const prefix = 'outrigger_control_plane_'

/** Every metric of a control plane; control-plane/README.md documents each. */
export const controlPlaneMetrics = {
  outrigger_control_plane_build_info: { help: 'Always 1; the program that runs.', labels: ['program'] },
  outrigger_control_plane_synced: { help: '1 once policy was published, 0 before.', labels: [] },
  outrigger_control_plane_revision: { help: 'Grows with each change of policy in this replica.', labels: [] },
  outrigger_control_plane_documents: { help: 'Documents in force, by kind.', labels: ['kind'] },
  outrigger_control_plane_problems: {
    help: 'What is wrong with documents, by source.',
    labels: ['source', 'severity'],
  },
  outrigger_control_plane_resources: { help: 'Resources that sidecars may ask for.', labels: [] },
  outrigger_control_plane_sidecars_connected: { help: 'Policy streams that are open here.', labels: [] },
  outrigger_control_plane_pushes_total: { help: 'Deltas sent to sidecars.', labels: [] },
  outrigger_control_plane_push_bytes_total: { help: 'Bytes of the resources in them.', labels: [] },
  outrigger_control_plane_ack_duration_seconds: {
    help: 'From a delta to its answer, accepted or not.',
    labels: [],
  },
  outrigger_control_plane_nacks_total: { help: 'Answers in which a sidecar refused resources.', labels: [] },
  outrigger_control_plane_certificates_issued_total: { help: 'By what proved the identity.', labels: ['proof'] },
  outrigger_control_plane_certificates_refused_total: { help: 'By cause.', labels: ['cause'] },
  outrigger_control_plane_root_expiry_timestamp_seconds: { help: 'When what signs certificates ends.', labels: [] },
  outrigger_control_plane_root_rotation: {
    help: '1 for the phase of the rotation: steady, announced, switched. In a cluster.',
    labels: ['phase'],
  },
  outrigger_control_plane_injections_total: {
    help: 'Pods by outcome: injected, skip/CODE, refuse/CODE. In a cluster.',
    labels: ['outcome'],
  },
  outrigger_control_plane_watch_state: {
    help: '1 for how each kind is watched: listing, watching, failing, absent. In a cluster.',
    labels: ['kind', 'state'],
  },
  outrigger_control_plane_watch_lists_total: {
    help: 'Lists of each kind, the first included. In a cluster.',
    labels: ['kind'],
  },
  outrigger_control_plane_leader: { help: '1 in the replica that holds the Lease. In a cluster.', labels: [] },
  outrigger_control_plane_process_cpu_seconds_total: { help: 'User and system time of this process.', labels: [] },
  outrigger_control_plane_process_resident_memory_bytes: { help: 'Memory of this process.', labels: [] },
  outrigger_control_plane_process_heap_bytes: { help: "Of it, V8's heap in use.", labels: [] },
} as const satisfies Readonly<Record<`${typeof prefix}${string}`, MetricText>>

type Name = keyof typeof controlPlaneMetrics

/** Values by labels, as they are when asked for. */
export type Reading = Iterable<readonly [value: number, labels?: Readonly<Record<string, string>>]>

/** What is asked at each scrape. */
export interface MetricParts {
  readonly program: string
  readonly source: Source
  readonly model: ModelProblems
  readonly cache: SnapshotCache
  readonly stream: StreamServer
  readonly authority: Authority
}

/** Some milliseconds in a Pod's own zone, seconds when thousands are told at once. */
const ackBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Metrics of one control plane, in the Prometheus text format. Most are read when they are scraped. */
export class Metrics implements StreamObserver {
  readonly #registry = new Registry()
  readonly #pushes = this.#counter('outrigger_control_plane_pushes_total')
  readonly #bytes = this.#counter('outrigger_control_plane_push_bytes_total')
  readonly #nacks = this.#counter('outrigger_control_plane_nacks_total')
  readonly #acks = new Histogram({
    name: 'outrigger_control_plane_ack_duration_seconds',
    help: controlPlaneMetrics.outrigger_control_plane_ack_duration_seconds.help,
    buckets: ackBuckets,
    registers: [this.#registry],
  })

  pushed(bytes: number): void {
    this.#pushes.inc()
    this.#bytes.inc(bytes)
  }

  answered(ms: number, isRejected: boolean): void {
    this.#acks.observe(ms / 1_000)
    if (isRejected) this.#nacks.inc()
  }

  /** A value that is asked for at each scrape. */
  read(name: Name, ask: () => Reading): void {
    const { help, labels } = controlPlaneMetrics[name]
    const settings = { name, help, labelNames: [...labels], registers: [this.#registry] }
    if (name.endsWith('_total')) {
      const counter = new Counter({
        ...settings,
        collect: () => {
          counter.reset()
          for (const [value, of = {}] of ask()) counter.inc(of, value)
        },
      })
      return
    }
    const gauge = new Gauge({
      ...settings,
      collect: () => {
        gauge.reset()
        for (const [value, of = {}] of ask()) gauge.set(of, value)
      },
    })
  }

  /** Prometheus text format 0.0.4. */
  scrape(): Promise<string> {
    return this.#registry.metrics()
  }

  #counter(name: Name): Counter {
    return new Counter({ name, help: controlPlaneMetrics[name].help, registers: [this.#registry] })
  }
}

/** Mounts `GET /metrics`, for who scrapes from another machine. */
export function mountMetrics(admin: AdminServer, metrics: Metrics, parts: MetricParts): void {
  const { program, source, model, cache, stream, authority } = parts
  metrics.read('outrigger_control_plane_build_info', () => [[1, { program }]])
  metrics.read('outrigger_control_plane_synced', () => [[cache.synced ? 1 : 0]])
  metrics.read('outrigger_control_plane_revision', () => [[Number(cache.revision)]])
  metrics.read('outrigger_control_plane_resources', () => [[Iterator.from(cache.names()).reduce((sum) => sum + 1, 0)]])
  metrics.read('outrigger_control_plane_documents', () =>
    counted(source.current.documents.map(({ kind }) => kind)).map(([kind, count]) => [count, { kind }]),
  )
  metrics.read('outrigger_control_plane_problems', () =>
    [
      { source: 'documents', problems: source.current.problems },
      { source: 'model', problems: model.current },
    ].flatMap((one) =>
      ['error', 'warning'].map(
        (severity) =>
          [
            one.problems.filter(({ problem }) => problem.severity === severity).length,
            { source: one.source, severity },
          ] as const,
      ),
    ),
  )
  metrics.read('outrigger_control_plane_sidecars_connected', () => [
    [Iterator.from(stream.sidecars.sessions()).reduce((sum) => sum + 1, 0)],
  ])
  metrics.read('outrigger_control_plane_certificates_issued_total', () =>
    [...stream.identity.issued].map(([proof, count]) => [count, { proof }]),
  )
  metrics.read('outrigger_control_plane_certificates_refused_total', () =>
    [...stream.identity.refusals].map(([cause, count]) => [count, { cause }]),
  )
  metrics.read('outrigger_control_plane_root_expiry_timestamp_seconds', () => [[authority.rootExpiresAtMs / 1_000]])
  metrics.read('outrigger_control_plane_process_cpu_seconds_total', () => {
    const { user, system } = process.cpuUsage()
    return [[(user + system) / 1e6]]
  })
  metrics.read('outrigger_control_plane_process_resident_memory_bytes', () => [[process.memoryUsage.rss()]])
  metrics.read('outrigger_control_plane_process_heap_bytes', () => [[process.memoryUsage().heapUsed]])
  admin.route(
    'GET',
    '/metrics',
    async (_request, response) => {
      const body = await metrics.scrape()
      response.writeHead(200, {
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        'content-length': Buffer.byteLength(body),
      })
      response.end(body)
    },
    true,
  )
}

function counted(words: readonly string[]): (readonly [string, number])[] {
  return [...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length])
}

import type { Metrics } from './admin/metrics.ts'
import type { AuthoritySecret } from './identity/authority-secret.ts'
import type { Injector } from './inject/server.ts'
import type { Leadership } from './kubernetes/lease.ts'
import type { KubernetesSource } from './sources/kubernetes/source.ts'

interface ClusterParts {
  readonly source: KubernetesSource
  readonly injector: Injector
  readonly leadership: Leadership
  readonly authoritySecret: AuthoritySecret
}

const phases = ['steady', 'announced', 'switched'] as const
const states = ['listing', 'watching', 'failing', 'absent'] as const

/** What only a control plane of a cluster has. */
export function addClusterMetrics(metrics: Metrics, parts: ClusterParts): void {
  const { source, injector, leadership, authoritySecret } = parts
  metrics.read('outrigger_control_plane_root_rotation', () =>
    phases.map((phase) => [phase === authoritySecret.phase ? 1 : 0, { phase }]),
  )
  metrics.read('outrigger_control_plane_injections_total', () =>
    [...injector.outcomes].map(([outcome, count]) => [count, { outcome }]),
  )
  metrics.read('outrigger_control_plane_watch_state', () =>
    [...source.watches()].flatMap((one) =>
      states.map((state) => [state === one.state ? 1 : 0, { kind: one.kind, state }] as const),
    ),
  )
  metrics.read('outrigger_control_plane_watch_lists_total', () =>
    [...source.watches()].map(({ kind, relists }) => [relists, { kind }]),
  )
  metrics.read('outrigger_control_plane_leader', () => [[leadership.held.current ? 1 : 0]])
}

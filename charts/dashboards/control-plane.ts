import { dashboard, type Panel } from './dashboard.ts'
import { rate, total } from './queries.ts'

const pod = '{{pod}}'

function perReplica(title: string, unit: string, metric: string, about?: string): Panel {
  return {
    title,
    ...(about === undefined ? {} : { about }),
    kind: 'timeseries',
    unit,
    queries: [{ expr: `sum by (pod) (${metric})`, legend: pod }],
  }
}

function ack(q: number): string {
  const buckets = rate('outrigger_control_plane_ack_duration_seconds_bucket', '', 'le')
  return `histogram_quantile(${q}, ${buckets})`
}

export const controlPlane = dashboard({
  uid: 'outrigger-control-plane',
  title: 'Outrigger / Control plane',
  description: 'The replicas: what they know, whom they tell, what they sign and inject.',
  variables: [],
  rows: [
    {
      title: 'Now',
      panels: [
        {
          title: 'Replicas that publish policy',
          kind: 'stat',
          unit: 'short',
          red: { below: 1 },
          queries: [{ expr: 'sum(outrigger_control_plane_synced) or vector(0)' }],
        },
        {
          title: 'Leaders',
          about: 'One, but for the moments in which the Lease changes hands.',
          kind: 'stat',
          unit: 'short',
          queries: [{ expr: 'sum(outrigger_control_plane_leader)' }],
        },
        {
          title: 'Sidecars',
          kind: 'stat',
          unit: 'short',
          queries: [{ expr: 'sum(outrigger_control_plane_sidecars_connected)' }],
        },
        {
          title: 'Errors in documents',
          about: 'outrigger status lists them. Every replica counts all of them.',
          kind: 'stat',
          unit: 'short',
          red: { above: 1 },
          queries: [
            {
              expr: 'max(sum by (pod) (outrigger_control_plane_problems{severity="error"}))',
            },
          ],
        },
        {
          title: 'Root expires in',
          kind: 'stat',
          unit: 's',
          queries: [{ expr: 'min(outrigger_control_plane_root_expiry_timestamp_seconds) - time()' }],
        },
      ],
    },
    {
      title: 'Policy',
      panels: [
        perReplica('Sidecars by replica', 'short', 'outrigger_control_plane_sidecars_connected'),
        {
          title: 'Deltas',
          kind: 'timeseries',
          unit: 'ops',
          queries: [
            { expr: total('outrigger_control_plane_pushes_total', ''), legend: 'sent' },
            { expr: total('outrigger_control_plane_nacks_total', ''), legend: 'with resources that were refused' },
          ],
        },
        {
          title: 'From a delta to its answer',
          kind: 'timeseries',
          unit: 's',
          queries: [0.5, 0.9, 0.99].map((q) => ({ expr: ack(q), legend: `p${q * 100}` })),
        },
        {
          title: 'Bytes',
          kind: 'timeseries',
          unit: 'Bps',
          queries: [{ expr: rate('outrigger_control_plane_push_bytes_total', '', 'pod'), legend: pod }],
        },
      ],
    },
    {
      title: 'Documents',
      panels: [
        {
          title: 'In force, by kind',
          kind: 'timeseries',
          unit: 'short',
          queries: [{ expr: 'max by (kind) (outrigger_control_plane_documents)', legend: '{{kind}}' }],
        },
        {
          title: 'Problems',
          kind: 'timeseries',
          unit: 'short',
          queries: [
            {
              expr: 'max by (source, severity) (outrigger_control_plane_problems)',
              legend: '{{severity}} of {{source}}',
            },
          ],
        },
        {
          title: 'Kinds that cannot be watched',
          about: 'failing: the API server refuses or cannot be reached. absent: its CRD is not installed.',
          kind: 'timeseries',
          unit: 'short',
          queries: [
            {
              expr: 'max by (kind, state) (outrigger_control_plane_watch_state{state=~"failing|absent"}) > 0',
              legend: '{{kind}} {{state}}',
            },
          ],
        },
        {
          title: 'Lists',
          about: 'More than the first ones: watches were cut, or their version was too old.',
          kind: 'timeseries',
          unit: 'ops',
          queries: [{ expr: rate('outrigger_control_plane_watch_lists_total', '', 'kind'), legend: '{{kind}}' }],
        },
      ],
    },
    {
      title: 'Identity and injection',
      panels: [
        {
          title: 'Certificates issued, by proof',
          kind: 'timeseries',
          unit: 'ops',
          queries: [
            { expr: rate('outrigger_control_plane_certificates_issued_total', '', 'proof'), legend: '{{proof}}' },
          ],
        },
        {
          title: 'Refused, by cause',
          kind: 'timeseries',
          unit: 'ops',
          queries: [
            { expr: rate('outrigger_control_plane_certificates_refused_total', '', 'cause'), legend: '{{cause}}' },
          ],
        },
        {
          title: 'Rotation of the root',
          kind: 'timeseries',
          unit: 'short',
          max: 1,
          queries: [{ expr: 'max by (phase) (outrigger_control_plane_root_rotation)', legend: '{{phase}}' }],
        },
        {
          title: 'Pods, by what became of them',
          kind: 'timeseries',
          unit: 'ops',
          queries: [{ expr: rate('outrigger_control_plane_injections_total', '', 'outcome'), legend: '{{outcome}}' }],
        },
      ],
    },
    {
      title: 'Processes',
      panels: [
        {
          title: 'CPU',
          kind: 'timeseries',
          unit: 'short',
          queries: [{ expr: rate('outrigger_control_plane_process_cpu_seconds_total', '', 'pod'), legend: pod }],
        },
        perReplica('Memory', 'bytes', 'outrigger_control_plane_process_resident_memory_bytes'),
        perReplica('Heap', 'bytes', 'outrigger_control_plane_process_heap_bytes'),
        perReplica('Resources', 'short', 'outrigger_control_plane_resources', 'What sidecars may ask for.'),
      ],
    },
  ],
})

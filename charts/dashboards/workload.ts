import { dashboard } from './dashboard.ts'
import { failuresByFlag, latency, rate, success, tcpBytes, volume } from './queries.ts'

const inbound = 'reporter="destination", destination_service_namespace="$namespace", destination_workload="$workload"'
const outbound = 'reporter="source", source_workload_namespace="$namespace", source_workload="$workload"'
// Of the Pods, as Prometheus knows them.
const pods = 'namespace="$namespace", pod=~"$workload.*"'
const loopDelay = 'outrigger_event_loop_delay_seconds_bucket'
const to = 'destination_service_namespace, destination_service_name'
const toName = '{{destination_service_namespace}}/{{destination_service_name}}'

export const workload = dashboard({
  uid: 'outrigger-workload',
  title: 'Outrigger / Workload',
  description: 'One workload: what comes in, what goes out, and its sidecars.',
  variables: [
    {
      name: 'namespace',
      label: 'Namespace',
      query: 'label_values(outrigger_requests_total, destination_service_namespace)',
    },
    {
      name: 'workload',
      label: 'Workload',
      query: 'label_values(outrigger_requests_total{destination_service_namespace="$namespace"}, destination_workload)',
    },
  ],
  rows: [
    {
      title: 'In',
      panels: [
        volume('By status', inbound, 'response_code'),
        latency('Duration', inbound),
        volume(
          'By caller',
          inbound,
          'source_workload_namespace, source_workload',
          '{{source_workload_namespace}}/{{source_workload}}',
        ),
        volume('By security of the connection', inbound, 'connection_security_policy'),
      ],
    },
    {
      title: 'Out',
      panels: [
        volume('By service', outbound, to, toName),
        success('Success by service', outbound, to, toName),
        latency('Duration', outbound),
        failuresByFlag(outbound),
      ],
    },
    {
      title: 'Connections that are only relayed',
      panels: [
        tcpBytes('In, by caller', inbound, 'source_workload'),
        tcpBytes('Out, by service', outbound, 'destination_service_name'),
      ],
    },
    {
      title: 'Sidecars',
      panels: [
        {
          title: 'Requests in flight',
          kind: 'timeseries',
          unit: 'short',
          queries: [{ expr: `outrigger_requests_in_flight{${pods}}`, legend: '{{pod}}' }],
        },
        {
          title: 'Event loop late by (p99)',
          kind: 'timeseries',
          unit: 's',
          queries: [{ expr: `histogram_quantile(0.99, ${rate(loopDelay, pods, 'le, pod')})`, legend: '{{pod}}' }],
        },
        {
          title: 'Sockets and listeners',
          kind: 'timeseries',
          unit: 'short',
          queries: [{ expr: `sum by (pod) (outrigger_active_resources{${pods}})`, legend: '{{pod}}' }],
        },
        {
          title: 'Life of the certificate',
          kind: 'timeseries',
          unit: 's',
          queries: [{ expr: `outrigger_cert_expiry_seconds{${pods}}`, legend: '{{pod}}' }],
        },
        {
          title: 'Connected to the control plane',
          kind: 'timeseries',
          unit: 'short',
          max: 1,
          queries: [{ expr: `outrigger_watch_connected{${pods}}`, legend: '{{pod}}' }],
        },
        {
          title: 'Resources that it refused',
          kind: 'timeseries',
          unit: 'short',
          queries: [{ expr: `outrigger_policy_rejected{${pods}}`, legend: '{{pod}}' }],
        },
      ],
    },
  ],
})

import { dashboard } from './dashboard.ts'
import { failuresByFlag, latency, now, quantile, rate, reporter, success, tcpBytes, volume } from './queries.ts'

const of = 'destination_service_namespace="$namespace", destination_service_name="$service"'
const where = `reporter="$reporter", ${of}`
// Breakers, retries and faults name a Service as policies do.
const name = '"$namespace/$service"'
const called = `reporter="$reporter", destination_service=${name}`

export const service = dashboard({
  uid: 'outrigger-service',
  title: 'Outrigger / Service',
  description: 'One Service: who calls it, how it answers, and what the mesh does for it.',
  variables: [
    reporter,
    {
      name: 'namespace',
      label: 'Namespace',
      query: 'label_values(outrigger_requests_total, destination_service_namespace)',
    },
    {
      name: 'service',
      label: 'Service',
      query:
        'label_values(outrigger_requests_total{destination_service_namespace="$namespace"}, destination_service_name)',
    },
  ],
  rows: [
    {
      title: '$namespace/$service',
      panels: [
        ...now(where),
        { title: 'p50', kind: 'stat', unit: 's', queries: [{ expr: quantile(0.5, where) }] },
        { title: 'p99', kind: 'stat', unit: 's', queries: [{ expr: quantile(0.99, where) }] },
      ],
    },
    {
      title: 'Requests',
      panels: [volume('By status', where, 'response_code'), latency('Duration', where), failuresByFlag(where)],
    },
    {
      title: 'gRPC',
      panels: [
        {
          title: 'Calls by method and status',
          about: '_OTHER: methods that no application has answered yet, or more than there is room for.',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            {
              expr: rate('outrigger_rpc_calls_total', called, 'rpc_method, rpc_response_status_code'),
              legend: '{{rpc_method}} {{rpc_response_status_code}}',
            },
          ],
        },
        {
          title: 'p99 by method',
          kind: 'timeseries',
          unit: 's',
          queries: [
            {
              expr: `histogram_quantile(0.99, ${rate('outrigger_rpc_call_duration_seconds_bucket', called, 'le, rpc_method')})`,
              legend: '{{rpc_method}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Callers',
      panels: [
        volume(
          'By caller',
          where,
          'source_workload_namespace, source_workload',
          '{{source_workload_namespace}}/{{source_workload}}',
        ),
        success(
          'Success by caller',
          where,
          'source_workload_namespace, source_workload',
          '{{source_workload_namespace}}/{{source_workload}}',
        ),
        volume('By security of the connection', where, 'connection_security_policy'),
      ],
    },
    {
      title: 'Workloads and versions',
      panels: [
        volume('By workload', where, 'destination_workload'),
        volume('By version', where, 'destination_version'),
        success('Success by version', where, 'destination_version'),
        {
          title: 'p99 by version',
          kind: 'timeseries',
          unit: 's',
          queries: [{ expr: quantile(0.99, where, 'destination_version'), legend: '{{destination_version}}' }],
        },
      ],
    },
    {
      title: 'What the mesh does',
      panels: [
        {
          title: 'Tries after the first, by outcome',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            { expr: rate('outrigger_retries_total', `destination_service=${name}`, 'outcome'), legend: '{{outcome}}' },
            {
              expr: rate('outrigger_hedges_total', `destination_service=${name}`, 'outcome'),
              legend: 'hedge, {{outcome}}',
            },
          ],
        },
        {
          title: 'Breakers, worst of all callers',
          about: '0 closed, 1 half-open, 2 open. Without an endpoint: the breaker of the whole Service.',
          kind: 'timeseries',
          unit: 'short',
          max: 2,
          queries: [
            { expr: `max by (endpoint) (outrigger_circuit_state{service=${name}})`, legend: 'endpoint {{endpoint}}' },
          ],
        },
        {
          title: 'Changes of breakers',
          kind: 'timeseries',
          unit: 'ops',
          queries: [
            {
              expr: rate('outrigger_circuit_transitions_total', `service=${name}`, 'scope, to'),
              legend: '{{scope}} to {{to}}',
            },
          ],
        },
        {
          title: 'Injected faults',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            {
              expr: rate('outrigger_faults_injected_total', `destination_service=${name}`, 'type'),
              legend: '{{type}}',
            },
          ],
        },
      ],
    },
    { title: 'Connections that are only relayed', panels: [tcpBytes('Bytes by caller', where, 'source_workload')] },
  ],
})

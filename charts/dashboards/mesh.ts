import { dashboard } from './dashboard.ts'
import {
  failuresByFlag,
  now,
  quantile,
  rate,
  reporter,
  success,
  successRatio,
  tcpBytes,
  total,
  volume,
} from './queries.ts'

const where = 'reporter="$reporter"'
const service = 'destination_service_namespace, destination_service_name'
const serviceName = '{{destination_service_namespace}}/{{destination_service_name}}'

export const mesh = dashboard({
  uid: 'outrigger-mesh',
  title: 'Outrigger / Mesh',
  description: 'All traffic of the mesh, and how its sidecars are.',
  variables: [reporter],
  rows: [
    {
      title: 'Now',
      panels: [
        ...now(where),
        { title: 'p99', kind: 'stat', unit: 's', queries: [{ expr: quantile(0.99, where) }] },
        {
          title: 'By mTLS',
          about: 'Share of requests whose connection was mutual TLS.',
          kind: 'stat',
          unit: 'percentunit',
          queries: [
            {
              expr: `${total('outrigger_requests_total', `${where}, connection_security_policy="mutual_tls"`)} / ${total('outrigger_requests_total', where)}`,
            },
          ],
        },
        {
          title: 'Sidecars',
          kind: 'stat',
          unit: 'short',
          queries: [{ expr: 'count(outrigger_watch_connected)' }],
        },
        {
          title: 'Without control plane',
          about: 'They go on with the last policy that they accepted.',
          kind: 'stat',
          unit: 'short',
          red: { above: 1 },
          queries: [{ expr: 'count(outrigger_watch_connected == 0) or vector(0)' }],
        },
      ],
    },
    {
      title: 'Services',
      panels: [
        {
          title: 'Services',
          about: 'A: requests a second. B: share of answers that are not 5xx. C: p99 in seconds.',
          kind: 'table',
          unit: 'short',
          queries: [
            { expr: rate('outrigger_requests_total', where, service) },
            { expr: successRatio(where, service) },
            { expr: quantile(0.99, where, service) },
          ],
        },
      ],
    },
    {
      title: 'Traffic',
      panels: [
        volume('Requests by service', where, service, serviceName),
        success('Success by service', where, service, serviceName),
        {
          title: 'p99 by service',
          kind: 'timeseries',
          unit: 's',
          queries: [{ expr: quantile(0.99, where, service), legend: serviceName }],
        },
      ],
    },
    {
      title: 'What went wrong, and what the mesh did',
      panels: [
        failuresByFlag(where),
        {
          title: 'Tries after the first, by outcome',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            { expr: rate('outrigger_retries_total', '', 'outcome'), legend: '{{outcome}}' },
            { expr: rate('outrigger_hedges_total', '', 'outcome'), legend: 'hedge, {{outcome}}' },
          ],
        },
        {
          title: 'Open breakers and ejected endpoints',
          kind: 'timeseries',
          unit: 'short',
          queries: [
            { expr: 'count by (service) (outrigger_circuit_state == 2)', legend: 'open {{service}}' },
            { expr: 'sum by (service) (outrigger_outlier_ejections_active)', legend: 'ejected {{service}}' },
          ],
        },
      ],
    },
    {
      title: 'Policy',
      panels: [
        {
          title: 'Authorization',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            { expr: rate('outrigger_authz_decisions_total', '', 'action, mode'), legend: '{{action}} ({{mode}})' },
          ],
        },
        {
          title: 'Injected faults',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [
            {
              expr: rate('outrigger_faults_injected_total', '', 'type, destination_service'),
              legend: '{{type}} {{destination_service}}',
            },
          ],
        },
        {
          title: 'To destinations that no Service names',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [{ expr: rate('outrigger_unknown_destination_total', '', 'action'), legend: '{{action}}' }],
        },
        {
          title: 'Refused by the parser',
          kind: 'timeseries',
          unit: 'reqps',
          queries: [{ expr: rate('outrigger_downstream_refused_total', '', 'code'), legend: '{{code}}' }],
        },
      ],
    },
    {
      title: 'Connections that are only relayed',
      panels: [
        tcpBytes('Bytes', where, 'destination_service_name'),
        {
          title: 'Opened',
          kind: 'timeseries',
          unit: 'cps',
          queries: [
            {
              expr: rate('outrigger_tcp_connections_opened_total', where, 'destination_service_name'),
              legend: '{{destination_service_name}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Sidecars',
      panels: [
        {
          title: 'Resources that sidecars refused',
          about: 'An older version of them, or none, is in force there.',
          kind: 'timeseries',
          unit: 'short',
          queries: [
            { expr: 'sum by (namespace, pod) (outrigger_policy_rejected) > 0', legend: '{{namespace}}/{{pod}}' },
          ],
        },
        {
          title: 'Shortest life of a certificate',
          kind: 'timeseries',
          unit: 's',
          queries: [{ expr: 'min(outrigger_cert_expiry_seconds)', legend: 'left' }],
        },
        {
          title: 'What was lost of telemetry',
          kind: 'timeseries',
          unit: 'short',
          queries: [
            { expr: total('outrigger_spans_dropped_total', ''), legend: 'spans' },
            { expr: total('outrigger_access_log_dropped_total', ''), legend: 'lines of the access log' },
            { expr: total('outrigger_metric_overflow_total', ''), legend: 'label sets' },
          ],
        },
      ],
    },
  ],
})

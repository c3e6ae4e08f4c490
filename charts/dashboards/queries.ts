/** Questions about requests that several dashboards ask. `where` is what stands between the braces of a selector. */
import type { Panel } from './dashboard.ts'

const window = '[$__rate_interval]'
const requests = 'outrigger_requests_total'

/** An error of a server, or no answer at all. */
const failed = 'response_code=~"5..|0"'
/** gRPC calls are answered 200 whatever became of them: the statuses that count against a server. */
const failedCall = 'response_code="200", grpc_response_status=~"2|4|12|13|14|15"'

export function rate(metric: string, where: string, by: string): string {
  return `sum by (${by}) (rate(${metric}{${where}}${window}))`
}

export function total(metric: string, where: string): string {
  return `sum(rate(${metric}{${where}}${window}))`
}

/** Requests that a caller would call failed. */
function failures(where: string, by?: string): string {
  const one = (which: string) => `rate(${requests}{${where}, ${which}}${window})`
  return `sum${by === undefined ? '' : ` by (${by}) `}(${one(failed)} or ${one(failedCall)})`
}

/** Share of requests that did not fail. */
export function successRatio(where: string, by?: string): string {
  // What has no failure has no series of failures: 0 in place of nothing.
  return by === undefined
    ? `1 - (${failures(where)} or vector(0)) / ${total(requests, where)}`
    : `1 - (${failures(where, by)} or 0 * ${rate(requests, where, by)}) / ${rate(requests, where, by)}`
}

export function failuresByFlag(where: string): Panel {
  const legend = '{{response_code}} {{grpc_response_status}} {{response_flags}}'
  return {
    title: 'Failures by flag',
    about: 'HTTP status, of a gRPC call its number, and why.',
    kind: 'timeseries',
    unit: 'reqps',
    queries: [{ expr: failures(where, 'response_code, grpc_response_status, response_flags'), legend }],
  }
}

export function quantile(q: number, where: string, by?: string): string {
  const labels = by === undefined ? 'le' : `le, ${by}`
  return `histogram_quantile(${q}, ${rate('outrigger_request_duration_seconds_bucket', where, labels)})`
}

/** Two figures at the head: requests a second, and the share of them that went well. */
export function now(where: string): Panel[] {
  return [
    {
      title: 'Requests',
      kind: 'stat',
      unit: 'reqps',
      queries: [{ expr: total('outrigger_requests_total', where) }],
    },
    {
      title: 'Answered, and not with an error of the server',
      kind: 'stat',
      unit: 'percentunit',
      red: { below: 0.99 },
      queries: [{ expr: successRatio(where) }],
    },
  ]
}

/** Median, 90 % and 99 %. */
export function latency(title: string, where: string): Panel {
  return {
    title,
    kind: 'timeseries',
    unit: 's',
    queries: [0.5, 0.9, 0.99].map((q) => ({ expr: quantile(q, where), legend: `p${q * 100}` })),
  }
}

export function volume(title: string, where: string, by: string, legend = `{{${by}}}`): Panel {
  return {
    title,
    kind: 'timeseries',
    unit: 'reqps',
    queries: [{ expr: rate('outrigger_requests_total', where, by), legend }],
  }
}

export function success(title: string, where: string, by: string, legend = `{{${by}}}`): Panel {
  return {
    title,
    kind: 'timeseries',
    unit: 'percentunit',
    max: 1,
    queries: [{ expr: successRatio(where, by), legend }],
  }
}

/** Bytes of connections whose content the mesh does not read. */
export function tcpBytes(title: string, where: string, by: string): Panel {
  return {
    title,
    kind: 'timeseries',
    unit: 'Bps',
    queries: [
      { expr: rate('outrigger_tcp_sent_bytes_total', where, by), legend: `sent {{${by}}}` },
      { expr: rate('outrigger_tcp_received_bytes_total', where, by), legend: `received {{${by}}}` },
    ],
  }
}

export const reporter = {
  name: 'reporter',
  label: 'Seen by',
  query: 'source,destination',
} as const

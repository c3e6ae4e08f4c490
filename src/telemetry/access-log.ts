import { hostPort } from '../base/address-text.ts'
import type { Completion, Exchange } from '../base/exchange.ts'
import { grpcStatusName } from '../base/grpc.ts'
import type { LineWriter } from './line-writer.ts'
import { printable } from './printable.ts'
import { headerValue, policyName, type Result } from './result.ts'

export type AccessLogFormat = 'off' | 'text' | 'json'

/** One request, ready for a line. */
export interface LogEntry {
  readonly exchange: Exchange
  readonly completion: Completion
  readonly result: Result
  /** Unix milliseconds. */
  readonly startedAtMs: number
  readonly durationMs: number
}

export const lineBytesMax = 4_096

/** Limits of the parts of a line; together they stay below `lineBytesMax`. */
interface Limits {
  readonly path: number
  readonly text: number
}

const limits: Limits = { path: 1_024, text: 256 }
/** JSON escapes backslashes, so a hostile line may grow; it is then written again with these. */
const tightLimits: Limits = { path: 192, text: 64 }

/** One line per finished request, off by default. */
export class AccessLog {
  format: AccessLogFormat
  /** `service.name`. */
  service: string
  readonly #writer: LineWriter

  constructor(writer: LineWriter, format: AccessLogFormat, service: string) {
    this.#writer = writer
    this.format = format
    this.service = service
  }

  add(entry: LogEntry): void {
    if (this.format === 'text') this.#writer.add(textLine(entry))
    else if (this.format === 'json') this.#writer.add(ecsLine(entry, this.service))
  }
}

/**
 * Envoy's default layout, then the mesh's own: `REASON "POLICY" TRACE-ID`, and of a gRPC call the name of its status. Every
 * field from the network is quoted and escaped; the line is ASCII and at most 4 KiB.
 */
export function textLine(entry: LogEntry): string {
  const { exchange, completion, result } = entry
  const { request } = exchange
  const quoted = (name: string): string => quote(headerValue(request.headers, name))
  const upstreamMs = upstreamDuration(exchange)
  const parts = [
    `[${new Date(entry.startedAtMs).toISOString()}]`,
    `"${printable(request.method, 32)} ${printable(request.target, limits.path)} HTTP/${request.version}"`,
    String(result.status),
    result.flags,
    String(completion.bytesIn),
    String(completion.bytesOut),
    String(Math.round(entry.durationMs)),
    upstreamMs === undefined ? '-' : String(Math.round(upstreamMs)),
    quoted('x-forwarded-for'),
    quoted('user-agent'),
    quoted('x-request-id'),
    quote(request.authority),
    quote(exchange.attempts[exchange.attempts.length - 1]?.endpoint ?? ''),
    result.code === '' ? '-' : result.code,
    quote(policyText(result)),
    exchange.trace?.traceId ?? '-',
  ]
  if (result.grpcStatus !== -1) parts.push(grpcStatusName(result.grpcStatus))
  return parts.join(' ').slice(0, lineBytesMax - 1)
}

function quote(text: string): string {
  return text === '' ? '"-"' : `"${printable(text, limits.text)}"`
}

function policyText(result: Result): string {
  return result.policy === undefined ? '' : `${policyName(result.policy)}@${result.policy.version}`
}

/** Elastic Common Schema 8, one JSON object per line. */
export function ecsLine(entry: LogEntry, service: string): string {
  const line = JSON.stringify(ecs(entry, service, limits))
  return line.length < lineBytesMax ? line : JSON.stringify(ecs(entry, service, tightLimits))
}

function ecs(entry: LogEntry, service: string, { path, text }: Limits): unknown {
  const { exchange, completion, result } = entry
  const { request, downstream } = exchange
  const query = request.target.indexOf('?')
  const attempt = exchange.attempts[exchange.attempts.length - 1]
  const header = (name: string): string | undefined => some(headerValue(request.headers, name), text)
  const show = (value: string): string | undefined => some(value, text)
  return {
    '@timestamp': new Date(entry.startedAtMs).toISOString(),
    'ecs.version': '8.17.0',
    'log.level': result.failed ? 'warn' : 'info',
    message: `${printable(request.method, 32)} ${printable(request.target, text)} ${result.status}`,
    'event.kind': 'event',
    'event.category': ['web', 'network'],
    'event.outcome': result.failed ? 'failure' : 'success',
    'event.duration': Math.round(entry.durationMs * 1e6),
    'service.name': show(service),
    'trace.id': exchange.trace?.traceId,
    'span.id': exchange.trace?.spanId,
    'http.request.method': printable(request.method, 32),
    'http.request.id': header('x-request-id'),
    'http.request.body.bytes': completion.bytesIn,
    'http.version': request.version,
    'http.response.status_code': result.status,
    'http.response.body.bytes': completion.bytesOut,
    'url.path': printable(query === -1 ? request.target : request.target.slice(0, query), path),
    'url.query': query === -1 ? undefined : printable(request.target.slice(query + 1), path),
    'url.domain': show(request.authority),
    'user_agent.original': header('user-agent'),
    'client.address': header('x-forwarded-for'),
    'source.ip': downstream.remoteAddress,
    'source.port': downstream.remotePort,
    'labels.proxy':
      downstream.proxy === undefined ? undefined : hostPort(downstream.proxy.address, downstream.proxy.port),
    'destination.address': attempt?.endpoint ?? `${downstream.localAddress}:${downstream.localPort}`,
    'tls.client.x509.subject': show(downstream.identity ?? ''),
    'labels.direction': downstream.direction,
    'labels.destination_service': show(exchange.service),
    'labels.route': show(exchange.route),
    'labels.response_flags': result.flags,
    'labels.reason': result.code === '' ? undefined : result.code,
    'labels.policy': show(policyText(result)),
    'labels.attempts': exchange.attempts.length,
    'labels.grpc_status': some(grpcStatusName(result.grpcStatus), text),
  }
}

function some(value: string, charactersMax: number): string | undefined {
  return value === '' ? undefined : printable(value, charactersMax)
}

/** Milliseconds of the last try; undefined when nothing was tried. */
function upstreamDuration(exchange: Exchange): number | undefined {
  const last = exchange.attempts[exchange.attempts.length - 1]
  return last === undefined || last.endedAt < last.startedAt ? undefined : last.endedAt - last.startedAt
}

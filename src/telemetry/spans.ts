import type { Attempt, Completion, Decision, Exchange, Trace } from '../base/exchange.ts'
import { grpcStatusName, isServerError } from '../base/grpc.ts'
import { ids } from './ids.ts'
import { visible } from './printable.ts'
import { headerValue, policyName, type Result } from './result.ts'
import { otherMethod } from './rpc.ts'

export type AttributeValue = string | number | boolean

/** A finished span with its own ids and times; exporter.ts makes it one of OpenTelemetry's. */
export interface SpanData {
  readonly name: string
  readonly kind: 'server' | 'client'
  readonly traceId: string
  readonly spanId: string
  /** '' for a root. */
  readonly parentSpanId: string
  /** The parent is in another process. */
  readonly parentRemote: boolean
  readonly traceState: string
  /** Unix milliseconds, with a fraction. */
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Readonly<Record<string, AttributeValue>>
  readonly events: readonly SpanEvent[]
  /** undefined: status unset. */
  readonly error: string | undefined
}

export interface SpanEvent {
  readonly name: string
  readonly atMs: number
  readonly attributes: Readonly<Record<string, AttributeValue>>
}

export interface SpanInput {
  readonly exchange: Exchange
  readonly completion: Completion
  readonly result: Result
  /** `package.Service/Method` of a gRPC call, or `_OTHER` (rpc.ts); '' for any other request. */
  readonly rpcMethod: string
  /** Clock milliseconds. */
  readonly endedAt: number
  /** Clock milliseconds to Unix milliseconds. */
  readonly wall: (clockMs: number) => number
}

/** Per span; OpenTelemetry's own limit is 128. */
const eventsMax = 64
const textCharactersMax = 256
const pathCharactersMax = 1_024

/**
 * The spans of one sampled exchange: a SERVER span, and below it one CLIENT span per try, with no span around the
 * tries (OpenTelemetry HTTP semantic conventions, stable: `http.request.resend_count`). A gRPC call has its method and
 * status besides, by the RPC conventions. `exchange.trace` must be set.
 */
export function spansOf(input: SpanInput): SpanData[] {
  const { exchange } = input
  const trace = exchange.trace!
  const spans = [serverSpan(input, trace)]
  for (const attempt of exchange.attempts) spans.push(clientSpan(input, trace, attempt))
  return spans
}

function serverSpan(input: SpanInput, trace: Trace): SpanData {
  const { exchange, completion, result, wall } = input
  const { request, downstream } = exchange
  const attributes: Record<string, AttributeValue> = {
    ...requestAttributes(exchange),
    ...rpcAttributes(input, result.grpcStatus),
    'url.path': visible(pathOf(request.target), pathCharactersMax),
    'network.peer.address': downstream.proxy?.address ?? downstream.remoteAddress,
    'network.peer.port': downstream.proxy?.port ?? downstream.remotePort,
    'client.address': downstream.remoteAddress,
    'http.request.body.size': completion.bytesIn,
    'http.response.body.size': completion.bytesOut,
    'outrigger.direction': downstream.direction,
    'outrigger.attempts': exchange.attempts.length,
    'outrigger.response_flags': result.flags,
  }
  put(attributes, 'user_agent.original', headerValue(request.headers, 'user-agent'))
  put(attributes, 'outrigger.service', exchange.service)
  put(attributes, 'outrigger.route', exchange.route)
  put(attributes, 'outrigger.backend', exchange.backend)
  put(attributes, 'outrigger.peer.identity', downstream.identity ?? '')
  put(attributes, 'outrigger.code', result.code)
  put(attributes, 'outrigger.reason', result.reason)
  if (result.policy !== undefined) {
    put(attributes, 'outrigger.policy', policyName(result.policy))
    put(attributes, 'outrigger.policy.version', result.policy.version)
  }
  if (exchange.routePolicy !== undefined) put(attributes, 'outrigger.route.policy', policyName(exchange.routePolicy))
  if (result.status !== 0) attributes['http.response.status_code'] = result.status
  // 4xx is the client's doing and leaves a server span unset.
  const error = exchange.error ?? completion.error
  const broken = result.status >= 500 || result.status === 0 || completion.error !== undefined
  const failed = broken || isServerError(result.grpcStatus)
  if (failed) attributes['error.type'] = error?.code ?? (grpcErrorName(result.grpcStatus) || String(result.status))
  const decisions = exchange.decisions ?? []
  return {
    name: spanName(input, exchange.service),
    kind: 'server',
    traceId: trace.traceId,
    spanId: trace.spanId,
    parentSpanId: trace.parentSpanId,
    parentRemote: true,
    traceState: trace.state,
    startMs: wall(exchange.startedAt),
    endMs: wall(input.endedAt),
    attributes,
    events: decisions.slice(0, eventsMax).map((decision) => eventOf(decision, wall)),
    error: failed ? (error?.message ?? '') : undefined,
  }
}

function clientSpan(input: SpanInput, trace: Trace, attempt: Attempt): SpanData {
  const { exchange, wall } = input
  const { request } = exchange
  const [address, port] = splitEndpoint(attempt.endpoint)
  const attributes: Record<string, AttributeValue> = {
    ...requestAttributes(exchange),
    ...rpcAttributes(input, attempt.grpcStatus),
    'url.full': visible(`${request.scheme}://${request.authority}${pathOf(request.target)}`, pathCharactersMax),
    'network.peer.address': address,
    'network.peer.port': port,
    'outrigger.attempt': attempt.number,
    'outrigger.endpoint': attempt.endpoint,
  }
  put(attributes, 'outrigger.backend', attempt.backend)
  put(attributes, 'outrigger.peer.workload', attempt.workload)
  put(attributes, 'outrigger.peer.revision', attempt.revision)
  put(attributes, 'outrigger.peer.identity', attempt.identity)
  put(attributes, attempt.hedge ? 'outrigger.hedge.cause' : 'outrigger.retry.cause', attempt.cause)
  if (attempt.number > 1) attributes['http.request.resend_count'] = attempt.number - 1
  if (attempt.backoffMs > 0) attributes['outrigger.retry.backoff_ms'] = attempt.backoffMs
  if (attempt.faultDelayMs > 0) attributes['outrigger.fault.delay_ms'] = attempt.faultDelayMs
  if (attempt.status !== 0) attributes['http.response.status_code'] = attempt.status
  const error = attempt.error
  if (error !== undefined) {
    attributes['outrigger.code'] = error.code
    if (error.code === 'FAULT_ABORTED') attributes['outrigger.fault.type'] = error.reset ? 'reset' : 'abort'
    if (error.code === 'BREAKER_OPEN') attributes['outrigger.breaker.state'] = 'open'
    if (error.policy !== undefined) {
      attributes['outrigger.policy'] = policyName(error.policy)
      attributes['outrigger.policy.version'] = error.policy.version
    }
  }
  // One that another was faster than did not fail; it was ended.
  const superseded = error?.code === 'SUPERSEDED'
  const grpcError = grpcErrorName(attempt.grpcStatus)
  const failed =
    !superseded && (error !== undefined || attempt.status >= 400 || attempt.status === 0 || grpcError !== '')
  if (failed)
    attributes['error.type'] = error?.code ?? (grpcError || (attempt.status === 0 ? '_OTHER' : String(attempt.status)))
  // A try that nobody closed ended with the exchange.
  const endedAt = attempt.endedAt >= attempt.startedAt ? attempt.endedAt : input.endedAt
  return {
    name: spanName(input, attempt.backend),
    kind: 'client',
    traceId: trace.traceId,
    spanId: attempt.spanId === '' ? ids.spanId() : attempt.spanId,
    parentSpanId: trace.spanId,
    parentRemote: false,
    traceState: trace.state,
    startMs: wall(attempt.startedAt),
    endMs: wall(endedAt),
    attributes,
    events: [],
    error: failed ? (error?.message ?? '') : undefined,
  }
}

/** Methods that stand in names and attributes as they are; any other is `_OTHER`, so that names stay few. */
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'])

/**
 * The method and the service: a mesh knows no `http.route`, and a path would make endless names. A gRPC method is a name,
 * if it has one of its own.
 */
function spanName({ exchange, rpcMethod }: SpanInput, service: string): string {
  if (rpcMethod !== '' && rpcMethod !== otherMethod) return rpcMethod
  const { method } = exchange.request
  const verb = knownMethods.has(method) ? method : 'HTTP'
  const name = service.slice(service.indexOf('/') + 1)
  return name === '' ? verb : `${verb} ${name}`
}

function requestAttributes({ request }: Exchange): Record<string, AttributeValue> {
  const [host, port] = splitEndpoint(request.authority)
  const known = knownMethods.has(request.method)
  const attributes: Record<string, AttributeValue> = {
    'http.request.method': known ? request.method : '_OTHER',
    'url.scheme': request.scheme,
    'server.address': visible(host, textCharactersMax),
    'network.protocol.version': request.version,
  }
  if (!known) attributes['http.request.method_original'] = visible(request.method, 64)
  if (port !== 0) attributes['server.port'] = port
  return attributes
}

/** OpenTelemetry RPC semantic conventions. */
function rpcAttributes({ exchange, rpcMethod }: SpanInput, grpcStatus: number): Record<string, AttributeValue> {
  if (rpcMethod === '') return {}
  const attributes: Record<string, AttributeValue> = { 'rpc.system.name': 'grpc', 'rpc.method': rpcMethod }
  if (rpcMethod === otherMethod) {
    attributes['rpc.method_original'] = visible(pathOf(exchange.request.target).slice(1), textCharactersMax)
  }
  if (grpcStatus !== -1) attributes['rpc.response.status_code'] = grpcStatusName(grpcStatus)
  return attributes
}

/** '' for what is no error. */
function grpcErrorName(grpcStatus: number): string {
  return grpcStatus > 0 ? grpcStatusName(grpcStatus) : ''
}

function eventOf(decision: Decision, wall: (clockMs: number) => number): SpanEvent {
  const attributes: Record<string, AttributeValue> = {
    'outrigger.decision': visible(decision.what, pathCharactersMax),
  }
  if (decision.policy !== undefined) {
    attributes['outrigger.policy'] = policyName(decision.policy)
    attributes['outrigger.policy.version'] = decision.policy.version
  }
  return { name: decision.layer, atMs: wall(decision.at), attributes }
}

function put(attributes: Record<string, AttributeValue>, name: string, value: string): void {
  if (value !== '') attributes[name] = visible(value, textCharactersMax)
}

/** Without the query: it may hold tokens. */
function pathOf(target: string): string {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

/** Host and port of `host:port`; IPv6 loses its brackets. Port 0 when there is none. */
function splitEndpoint(text: string): [host: string, port: number] {
  const match = /^\[?(.*?)\]?(?::(\d{1,5}))?$/.exec(text)
  return [match?.[1] ?? text, Number(match?.[2] ?? 0)]
}

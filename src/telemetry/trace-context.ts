import type { Attempt, Exchange, Headers, Trace } from '../base/exchange.ts'
import { type IdPool, ids, noSpanId, noTraceId } from './ids.ts'

/** Which header formats are read and written, beside each other. `OTEL_PROPAGATORS`; default W3C alone. */
export interface Propagators {
  readonly w3c: boolean
  /** One header, `b3`. */
  readonly b3: boolean
  /** `x-b3-traceid` and its kin. */
  readonly b3multi: boolean
}

/** Reads `OTEL_PROPAGATORS` (OpenTelemetry SDK environment specification). Names we do not know are left out. */
export function parsePropagators(text: string | undefined): Propagators {
  const names = (text ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
  if (names.length === 0) return { w3c: true, b3: false, b3multi: false }
  return { w3c: names.includes('tracecontext'), b3: names.includes('b3'), b3multi: names.includes('b3multi') }
}

/** The process's own, read once. */
export const propagators = parsePropagators(process.env['OTEL_PROPAGATORS'])

/** What came with a request; `sampled` undefined when the sender left that to us (B3 only). */
export interface RemoteParent {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean | undefined
  readonly state: string
}

const traceparentPattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const b3Pattern = /^([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/
const hex16 = /^[0-9a-f]{16}$/
const hex16or32 = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/
/** One list member of tracestate (level 1, section 3.3.1.3): key, `=`, printable value without `,` and `=`. */
const stateMember =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** Both RFC limits: at most 32 members; 512 characters must be passed on, longer may be dropped. */
const stateMembersMax = 32
const stateCharactersMax = 512

/** `traceparent` by W3C trace-context level 1, section 3.2; undefined when it is not valid: the trace restarts. */
export function parseTraceparent(value: string): RemoteParent | undefined {
  const match = value.length >= 55 && value.length <= 512 ? traceparentPattern.exec(value) : null
  if (match === null) return undefined
  const [, version, traceId, spanId, flags, rest] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
    string?,
  ]
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (traceId === noTraceId || spanId === noSpanId) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1, state: '' }
}

/** `tracestate` as it may be passed on; '' when any member is malformed (then all of it is dropped, section 3.3.1). */
export function parseTracestate(value: string): string {
  if (value.length > stateCharactersMax) return ''
  const members: string[] = []
  for (const part of value.split(',')) {
    const member = part.replace(/^[ \t]+|[ \t]+$/g, '')
    if (member === '') continue
    if (!stateMember.test(member) || members.length === stateMembersMax) return ''
    members.push(member)
  }
  return members.join(',')
}

/** The single `b3` header (openzipkin/b3-propagation). A lone sampling state carries no ids: not a parent. */
export function parseB3(value: string): RemoteParent | undefined {
  const match = b3Pattern.exec(value)
  if (match === null) return undefined
  return b3Parent(match[1]!, match[2]!, match[3])
}

function b3Parent(traceId: string, spanId: string, sampled: string | undefined): RemoteParent | undefined {
  const long = traceId.padStart(32, '0')
  if (long === noTraceId || spanId === noSpanId) return undefined
  const decided = sampled === undefined ? undefined : sampled === '1' || sampled === 'd'
  return { traceId: long, spanId, sampled: decided, state: '' }
}

/** Trace headers of one request, as found; '' for none, `twice` for a field that must not repeat and did. */
interface Found {
  traceparent: string
  tracestate: string
  b3: string
  traceId: string
  spanId: string
  sampled: string
  flags: string
}

/**
 * Takes the trace headers off a request (in place) and reads the parent from them. W3C wins over B3; a malformed
 * or repeated header is no parent, never an error.
 */
export function takeParent(headers: Headers, use: Propagators = propagators): RemoteParent | undefined {
  let found: Found | undefined
  let kept = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const field = fieldOf(name, use)
    if (field !== undefined) {
      found ??= { traceparent: '', tracestate: '', b3: '', traceId: '', spanId: '', sampled: '', flags: '' }
      const value = headers[i + 1]!
      if (field === 'ignored') continue
      if (found[field] === '') found[field] = value === '' ? 'empty' : value
      else found[field] = field === 'tracestate' ? `${found.tracestate},${value}` : 'twice'
      continue
    }
    if (kept !== i) {
      headers[kept] = name
      headers[kept + 1] = headers[i + 1]!
    }
    kept += 2
  }
  if (found === undefined) return undefined
  headers.length = kept
  return parentOf(found)
}

function parentOf(found: Found): RemoteParent | undefined {
  if (found.traceparent !== '') {
    const parent = parseTraceparent(found.traceparent)
    if (parent !== undefined) {
      return found.tracestate === '' ? parent : { ...parent, state: parseTracestate(found.tracestate) }
    }
  }
  if (found.b3 !== '') {
    const parent = parseB3(found.b3)
    if (parent !== undefined) return parent
  }
  if (found.traceId !== '' && hex16or32.test(found.traceId) && hex16.test(found.spanId)) {
    return b3Parent(found.traceId, found.spanId, found.flags === '1' ? 'd' : multiSampled(found.sampled))
  }
  return undefined
}

function multiSampled(value: string): string | undefined {
  if (value === '1' || value === 'true') return '1'
  return value === '0' || value === 'false' ? '0' : undefined
}

/** Length and first letter turn away nearly every other header without making a lower-case copy. */
function fieldOf(name: string, use: Propagators): keyof Found | 'ignored' | undefined {
  switch (name.length) {
    case 2:
      return use.b3 && name.toLowerCase() === 'b3' ? 'b3' : undefined
    case 10:
      if (isX(name)) return use.b3multi && name.toLowerCase() === 'x-b3-flags' ? 'flags' : undefined
      return use.w3c && isT(name) && name.toLowerCase() === 'tracestate' ? 'tracestate' : undefined
    case 11:
      if (isX(name)) return use.b3multi && name.toLowerCase() === 'x-b3-spanid' ? 'spanId' : undefined
      return use.w3c && isT(name) && name.toLowerCase() === 'traceparent' ? 'traceparent' : undefined
    case 12: {
      if (!use.b3multi || !isX(name)) return undefined
      const lower = name.toLowerCase()
      return lower === 'x-b3-traceid' ? 'traceId' : lower === 'x-b3-sampled' ? 'sampled' : undefined
    }
    case 17:
      return use.b3multi && isX(name) && name.toLowerCase() === 'x-b3-parentspanid' ? 'ignored' : undefined
    default:
      return undefined
  }
}

function isT(name: string): boolean {
  return (name.charCodeAt(0) | 0x20) === 0x74
}

function isX(name: string): boolean {
  return (name.charCodeAt(0) | 0x20) === 0x78
}

/** The context of an exchange: a child of `parent`, or a new root whose sampling the caller has decided. */
export function childOf(parent: RemoteParent | undefined, rootSampled: boolean, pool: IdPool = ids): Trace {
  if (parent === undefined) {
    return { traceId: pool.traceId(), parentSpanId: '', spanId: pool.spanId(), sampled: rootSampled, state: '' }
  }
  return {
    traceId: parent.traceId,
    parentSpanId: parent.spanId,
    spanId: pool.spanId(),
    sampled: parent.sampled ?? rootSampled,
    state: parent.state,
  }
}

/** Span id for a try that is about to be made; '' when nobody will see it. */
export function attemptSpanId(exchange: Exchange): string {
  // Decisions are kept exactly when spans will be made.
  return exchange.decisions === undefined ? '' : ids.spanId()
}

/**
 * Raw header lines, each with its CRLF, that make the next hop a child of this try (of the exchange when it is not
 * traced); '' before `record` has seen the exchange. An engine writes them into the head as they are.
 */
export function traceHeaderLines(exchange: Exchange, attempt: Attempt | undefined): string {
  const trace = exchange.trace
  if (trace === undefined) return ''
  const spanId = attempt === undefined || attempt.spanId === '' ? trace.spanId : attempt.spanId
  return contextLines(trace, spanId, propagators)
}

/** The lines for any context; pure. */
export function contextLines(trace: Trace, spanId: string, use: Propagators): string {
  let lines = ''
  if (use.w3c) {
    lines = `traceparent: 00-${trace.traceId}-${spanId}-${trace.sampled ? '01' : '00'}\r\n`
    if (trace.state !== '') lines += `tracestate: ${trace.state}\r\n`
  }
  const sampled = trace.sampled ? '1' : '0'
  if (use.b3) lines += `b3: ${trace.traceId}-${spanId}-${sampled}\r\n`
  if (use.b3multi) {
    lines += `x-b3-traceid: ${trace.traceId}\r\nx-b3-spanid: ${spanId}\r\nx-b3-sampled: ${sampled}\r\n`
  }
  return lines
}

import type { StoredSpan, TraceView } from '../../control-plane/admin/trace-store.ts'
import { visible } from '../telemetry/printable.ts'
import { paint, type Style } from './table.ts'

/** Colours a piece of text, or does not. */
export type Painter = (style: Style, text: string) => string

const nameCharactersMax = 120
const detailCharactersMax = 500
const millisecondsWidth = 9

/**
 * A trace for people: one line per hop and per try (start since the first, duration, status), below each what was
 * decided there and why. Everything in it came over the network, so it is escaped.
 */
export function renderTrace(trace: TraceView, painter: Painter = paint): string {
  const lines = [headline(trace, painter), '']
  const printed = new Set<StoredSpan>()
  const children = childrenOf(trace.spans)
  const print = (span: StoredSpan, lead: string, branch: string): void => {
    // Spans that name each other as parent would never end.
    if (printed.has(span)) return
    printed.add(span)
    lines.push(spanLine(trace, span, lead + branch, painter))
    const below = children.get(span.spanId) ?? []
    const next = branch === '' ? lead : `${lead}${branch === '└─ ' ? '   ' : '│  '}`
    for (const detail of details(trace, span, painter)) lines.push(detailLine(next, below.length > 0, detail))
    for (const child of below) print(child, next, child === below.at(-1) ? '└─ ' : '├─ ')
  }
  const known = new Set(trace.spans.map((span) => span.spanId))
  for (const span of trace.spans) if (!known.has(span.parentSpanId)) print(span, '', '')
  for (const span of trace.spans) print(span, '', '')
  if (trace.droppedSpans > 0) lines.push('', `${trace.droppedSpans} more spans were not kept`)
  return lines.join('\n')
}

function headline(trace: TraceView, painter: Painter): string {
  const when = new Date(trace.startMs).toISOString().replace('T', ' ')
  return (
    `${painter('bold', `trace ${trace.traceId}`)}  ${plain(trace.service)}  ${milliseconds(trace.durationMs)}  ` +
    `${trace.spanCount} ${trace.spanCount === 1 ? 'span' : 'spans'}  ${painter('dim', when)}`
  )
}

function childrenOf(spans: readonly StoredSpan[]): Map<string, StoredSpan[]> {
  const children = new Map<string, StoredSpan[]>()
  for (const span of spans) {
    const siblings = children.get(span.parentSpanId)
    if (siblings === undefined) children.set(span.parentSpanId, [span])
    else siblings.push(span)
  }
  return children
}

function spanLine(trace: TraceView, span: StoredSpan, tree: string, painter: Painter): string {
  const status = statusOf(span)
  const start = milliseconds(span.startMs - trace.startMs).padStart(millisecondsWidth)
  const colour: Style | undefined = span.status === 'error' ? 'red' : span.kind === 'client' ? undefined : 'cyan'
  const label = colour === undefined ? labelOf(span) : painter(colour, labelOf(span))
  const call = span.attributes['rpc.response.status_code']
  const refused =
    Number(span.attributes['http.response.status_code'] ?? 0) >= 400 || (call !== undefined && call !== 'OK')
  const shownStatus = painter(span.status === 'error' ? 'red' : refused ? 'yellow' : 'green', status)
  return `${painter('dim', start)}  ${tree}${label}  ${milliseconds(span.durationMs)}  ${shownStatus}`
}

function labelOf(span: StoredSpan): string {
  const attribute = (name: string): string => plain(String(span.attributes[name] ?? ''))
  const attempt = attribute('outrigger.attempt')
  if (attempt !== '') {
    const to = [attribute('outrigger.peer.workload'), attribute('outrigger.endpoint')]
      .filter((part) => part !== '')
      .join(' ')
    return `try ${attempt} → ${attribute('outrigger.backend')}${to === '' ? '' : ` (${to})`}`
  }
  const direction = attribute('outrigger.direction')
  const path = attribute('url.path')
  const name = plain(span.name)
  // A gRPC call is named as its path is.
  const shownPath = path === '' || path === `/${name}` ? '' : `  ${path}`
  return `${plain(span.service)}${direction === '' ? '' : ` ${direction}`}  ${name}${shownPath}`
}

/** Of a gRPC call its own status; the HTTP one says more only if it is not 200. */
function statusOf(span: StoredSpan): string {
  const call = span.attributes['rpc.response.status_code']
  const http = span.attributes['http.response.status_code']
  const code = call === undefined ? http : plain(String(call))
  const type = span.attributes['error.type']
  const parts: string[] = []
  if (span.attributes['outrigger.code'] === 'SUPERSEDED') parts.push('superseded')
  if (code !== undefined) parts.push(String(code))
  if (call !== undefined && http !== undefined && http !== 200) parts.push(`HTTP ${String(http)}`)
  if (type !== undefined && String(type) !== String(code)) parts.push(plain(String(type)))
  return parts.length > 0 ? parts.join(' ') : span.status === 'error' ? 'error' : 'ok'
}

interface Detail {
  /** Since the start of the trace; '' for what has no time of its own. */
  readonly at: string
  readonly text: string
}

/** Decisions with their policy, then why it failed. */
function details(trace: TraceView, span: StoredSpan, painter: Painter): Detail[] {
  const list: Detail[] = span.events.map((event) => {
    const what = String(event.attributes['outrigger.decision'] ?? '')
    const by = policyOf(event.attributes)
    return {
      at: milliseconds(event.atMs - trace.startMs),
      text: `${painter('yellow', plain(event.name))}${what === '' ? '' : `: ${detail(what)}`}${by === '' ? '' : painter('dim', ` [${by}]`)}`,
    }
  })
  const say = (name: string, shown: (value: string) => string): void => {
    const value = span.attributes[name]
    if (value !== undefined && value !== '') list.push({ at: '', text: shown(detail(String(value))) })
  }
  say('outrigger.retry.cause', (cause) => `${painter('yellow', 'retry')}: after ${cause}${backoff(span)}`)
  say('outrigger.hedge.cause', (cause) => `${painter('yellow', 'hedge')}: beside a slow try, ${cause}`)
  say('outrigger.fault.delay_ms', (ms) => `${painter('yellow', 'fault')}: delayed by ${ms} ms`)
  if (span.message !== '') list.push({ at: '', text: `${painter('red', 'error')}: ${detail(span.message)}` })
  if (span.attributes['outrigger.reason'] !== undefined) {
    say('outrigger.reason', (reason) => `${painter('red', 'reason')}: ${reason}`)
  } else if (span.message !== '' && policyOf(span.attributes) !== '') {
    list.push({ at: '', text: `${painter('red', 'policy')}: ${policyOf(span.attributes)}` })
  }
  return list
}

function backoff(span: StoredSpan): string {
  const ms = span.attributes['outrigger.retry.backoff_ms']
  return ms === undefined ? '' : `, waited ${milliseconds(Number(ms))}`
}

function policyOf(attributes: StoredSpan['attributes']): string {
  const policy = attributes['outrigger.policy']
  if (policy === undefined) return ''
  const version = attributes['outrigger.policy.version']
  return plain(`${policy}${version === undefined || version === '' ? '' : `@${version}`}`)
}

function detailLine(lead: string, hasChildren: boolean, { at, text }: Detail): string {
  return `${at.padStart(millisecondsWidth)}  ${lead}${hasChildren ? '│ ' : '  '}  ${text}`
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`
}

function plain(text: string): string {
  return visible(text, nameCharactersMax)
}

function detail(text: string): string {
  return visible(text, detailCharactersMax)
}

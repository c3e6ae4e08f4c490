import type { Clock } from '../../src/base/clock.ts'

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

/** One span as it is kept and shown. */
export interface StoredSpan {
  readonly traceId: string
  readonly spanId: string
  /** '' for a root. */
  readonly parentSpanId: string
  readonly name: string
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  /** `service.name` and `service.instance.id` of who reported it. */
  readonly service: string
  readonly instance: string
  /** Unix milliseconds. */
  readonly startMs: number
  readonly durationMs: number
  readonly status: 'unset' | 'ok' | 'error'
  readonly message: string
  readonly attributes: SpanAttributes
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: SpanAttributes }[]
}

/** One line of the list of traces. */
export interface TraceSummary {
  readonly traceId: string
  /** Name and service of the span that started first. */
  readonly name: string
  readonly service: string
  /** Unix milliseconds. */
  readonly startMs: number
  readonly durationMs: number
  readonly spanCount: number
  readonly failed: boolean
}

export interface TraceView extends TraceSummary {
  /** Milliseconds since a span of it last arrived. */
  readonly quietMs: number
  /** Spans that were not kept because the trace had too many. */
  readonly droppedSpans: number
  /** By start. */
  readonly spans: readonly StoredSpan[]
}

export interface TraceLimits {
  readonly spansMax: number
  /** An estimate of what they occupy. */
  readonly bytesMax: number
  readonly spansPerTraceMax: number
}

const defaultLimits: TraceLimits = { spansMax: 20_000, bytesMax: 33_554_432, spansPerTraceMax: 1_000 }

interface Kept {
  readonly spans: Map<string, StoredSpan>
  bytes: number
  dropped: number
  arrivedAt: number
}

/** The last traces, in memory: a convenience without a collector, lost on restart. Oldest traces make room. */
export class TraceStore {
  readonly #clock: Clock
  readonly #limits: TraceLimits
  readonly #traces = new Map<string, Kept>()
  #spans = 0
  #bytes = 0

  constructor(clock: Clock, limits: Partial<TraceLimits> = {}) {
    this.#clock = clock
    this.#limits = { ...defaultLimits, ...limits }
  }

  get spanCount(): number {
    return this.#spans
  }

  add(spans: readonly StoredSpan[]): void {
    for (const span of spans) this.#addOne(span)
    while (this.#spans > this.#limits.spansMax || this.#bytes > this.#limits.bytesMax) {
      const oldest = this.#traces.entries().next().value
      if (oldest === undefined) break
      const [id, { spans: gone, bytes }] = oldest
      this.#traces.delete(id)
      this.#spans -= gone.size
      this.#bytes -= bytes
    }
  }

  get(traceId: string): TraceView | undefined {
    const kept = this.#traces.get(traceId)
    return kept === undefined ? undefined : this.#view(traceId, kept)
  }

  /** The trace that was seen first last, with at least `spansMin` spans. */
  last(spansMin = 1): TraceView | undefined {
    for (const [id, kept] of [...this.#traces].reverse()) if (kept.spans.size >= spansMin) return this.#view(id, kept)
    return undefined
  }

  /** Newest first. */
  list(limit: number): TraceSummary[] {
    return [...this.#traces.keys()]
      .slice(-limit)
      .reverse()
      .map((id) => {
        const { quietMs: _, droppedSpans: __, spans: ___, ...summary } = this.#view(id, this.#traces.get(id)!)
        return summary
      })
  }

  #addOne(span: StoredSpan): void {
    let kept = this.#traces.get(span.traceId)
    if (kept === undefined) {
      this.#traces.set(span.traceId, (kept = { spans: new Map(), bytes: 0, dropped: 0, arrivedAt: 0 }))
    }
    kept.arrivedAt = this.#clock.now()
    // An exporter that retries sends a span twice.
    if (kept.spans.has(span.spanId)) return
    if (kept.spans.size >= this.#limits.spansPerTraceMax) {
      kept.dropped++
      return
    }
    const bytes = bytesOf(span)
    kept.spans.set(span.spanId, span)
    kept.bytes += bytes
    this.#spans++
    this.#bytes += bytes
  }

  #view(traceId: string, kept: Kept): TraceView {
    const spans = [...kept.spans.values()].sort((a, b) => a.startMs - b.startMs)
    const first = spans[0]!
    let endMs = first.startMs
    for (const span of spans) endMs = Math.max(endMs, span.startMs + span.durationMs)
    return {
      traceId,
      name: first.name,
      service: first.service,
      startMs: first.startMs,
      durationMs: endMs - first.startMs,
      spanCount: spans.length,
      failed: spans.some((span) => span.status === 'error'),
      quietMs: Math.round(this.#clock.now() - kept.arrivedAt),
      droppedSpans: kept.dropped,
      spans,
    }
  }
}

/** Two bytes a character, and what objects cost. */
function bytesOf(span: StoredSpan): number {
  let bytes = 400 + 2 * (span.name.length + span.message.length + span.service.length + span.instance.length)
  bytes += attributeBytes(span.attributes)
  for (const event of span.events) bytes += 100 + 2 * event.name.length + attributeBytes(event.attributes)
  return bytes
}

function attributeBytes(attributes: SpanAttributes): number {
  let bytes = 0
  for (const [key, value] of Object.entries(attributes)) {
    bytes += 48 + 2 * key.length + (typeof value === 'string' ? 2 * value.length : 8)
  }
  return bytes
}

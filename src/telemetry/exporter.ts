import type { SpanContext, TraceState } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import type { BatchSpanProcessor, ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { TracingSettings } from './settings.ts'
import type { AttributeValue, SpanData } from './spans.ts'

export type ResourceAttributes = Readonly<Record<string, AttributeValue>>

export interface ExporterOptions {
  readonly settings: TracingSettings
  /** OpenTelemetry resource; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over it. */
  readonly resource: ResourceAttributes
  readonly clock: Clock
  readonly log: Log | undefined
}

/** How long `close` waits for a collector that hangs. */
const closeTimeoutMs = 2_000

/** Numbers of @opentelemetry/api, spelled out so that nothing of it is loaded before the first sampled request. */
const kinds = { server: 1, client: 2 } as const
const statusUnset = 0
const statusError = 2
const flagSampled = 1
const scope = { name: 'outrigger' }

interface Pipeline {
  readonly processor: BatchSpanProcessor
  readonly resourceOf: (attributes: ResourceAttributes) => Resource
}

/**
 * Hands finished spans to OpenTelemetry's batch processor and OTLP exporter, which are loaded by the first one.
 * No more than the queue's size is ever held, whatever the collector does; the rest is dropped and counted.
 */
export class Exporter {
  exported = 0
  dropped = 0
  readonly #options: ExporterOptions
  /** Spans that were taken and are neither exported nor dropped yet. */
  #outstanding = 0
  #waiting: SpanData[] = []
  #pipeline: Pipeline | 'unloaded' | 'loading' | 'closed' = 'unloaded'
  #failing = false
  #attributes: ResourceAttributes
  #resource: Resource | undefined

  constructor(options: ExporterOptions) {
    this.#options = options
    this.#attributes = options.resource
  }

  /** The resource of spans that are added from now on. */
  describe(resource: ResourceAttributes): void {
    this.#attributes = resource
    this.#resource = undefined
  }

  get enabled(): boolean {
    return this.#options.settings.enabled
  }

  add(spans: readonly SpanData[]): void {
    const pipeline = this.#pipeline
    if (pipeline === 'closed' || this.#outstanding + spans.length > this.#options.settings.queueSpansMax) {
      this.dropped += spans.length
      return
    }
    this.#outstanding += spans.length
    if (typeof pipeline === 'object') {
      this.#hand(pipeline, spans)
      return
    }
    this.#waiting.push(...spans)
    if (pipeline === 'unloaded') {
      this.#pipeline = 'loading'
      // `#load` handles its own failure.
      void this.#load()
    }
  }

  /** Sends what is left, for two seconds at most. */
  async close(): Promise<void> {
    const pipeline = this.#pipeline
    this.#pipeline = 'closed'
    this.#lose(this.#waiting.length)
    this.#waiting = []
    if (typeof pipeline !== 'object') return
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(closeTimeoutMs, resolve)
    // A failed last export is counted by `#finished`.
    await Promise.race([pipeline.processor.shutdown().catch(() => {}), late])
    timer.cancel()
    this.#lose(this.#outstanding)
  }

  async #load(): Promise<void> {
    try {
      const pipeline = await load(this.#options, (spans, error) => this.#finished(spans, error))
      if (this.#pipeline === 'closed') return
      this.#pipeline = pipeline
      const waiting = this.#waiting
      this.#waiting = []
      this.#hand(pipeline, waiting)
    } catch (error) {
      this.#pipeline = 'closed'
      this.#lose(this.#waiting.length)
      this.#waiting = []
      this.#options.log?.error('tracing is off: its exporter could not be set up; check the OTEL_* variables', {
        error,
      })
    }
  }

  #hand(pipeline: Pipeline, spans: readonly SpanData[]): void {
    const resource = (this.#resource ??= pipeline.resourceOf(this.#attributes))
    for (const span of spans) pipeline.processor.onEnd(readable(span, resource))
  }

  /** Says when a collector stops and starts taking spans, not each time. */
  #finished(spans: number, error: Error | undefined): void {
    const counted = Math.min(spans, this.#outstanding)
    if (error !== undefined) {
      this.#lose(counted)
      if (!this.#failing) {
        this.#options.log?.warn('the collector does not take spans; they are dropped until it does', { error })
      }
      this.#failing = true
      return
    }
    this.#outstanding -= counted
    this.exported += counted
    if (this.#failing) this.#options.log?.info('the collector takes spans again', { dropped: this.dropped })
    this.#failing = false
  }

  #lose(spans: number): void {
    this.#outstanding -= spans
    this.dropped += spans
  }
}

async function load(
  { settings, log }: ExporterOptions,
  finished: (spans: number, error: Error | undefined) => void,
): Promise<Pipeline> {
  for (const warning of settings.warnings) log?.warn(warning)
  const [trace, otlp, resources] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/resources'),
  ])
  const inner = new otlp.OTLPTraceExporter(settings.url === undefined ? {} : { url: settings.url })
  const exporter: SpanExporter = {
    export: (spans, callback) =>
      inner.export(spans, (result) => {
        finished(spans.length, result.code === 0 ? undefined : (result.error ?? new Error('export failed')))
        callback(result)
      }),
    shutdown: () => inner.shutdown(),
    forceFlush: () => inner.forceFlush(),
  }
  const fromEnvironment = resources.detectResources({ detectors: [resources.envDetector] })
  return {
    processor: new trace.BatchSpanProcessor({
      exporter,
      scheduledDelayMillis: settings.scheduleDelayMs,
      exportTimeoutMillis: settings.exportTimeoutMs,
      maxQueueSize: settings.queueSpansMax,
      maxExportBatchSize: settings.batchSpansMax,
    }),
    resourceOf: (attributes) => resources.resourceFromAttributes(attributes).merge(fromEnvironment),
  }
}

/** The SDK's own spans choose their ids and times themselves, so these are made to its shape instead. */
function readable(span: SpanData, resource: Resource): ReadableSpan {
  const context = contextOf(span, span.spanId, false)
  const parent = span.parentSpanId === '' ? undefined : contextOf(span, span.parentSpanId, span.parentRemote)
  return {
    name: span.name,
    kind: kinds[span.kind],
    spanContext: () => context,
    ...(parent === undefined ? {} : { parentSpanContext: parent }),
    startTime: hrTime(span.startMs),
    endTime: hrTime(span.endMs),
    duration: hrTime(span.endMs - span.startMs),
    status: span.error === undefined ? { code: statusUnset } : { code: statusError, message: span.error },
    attributes: span.attributes,
    links: [],
    events: span.events.map(({ name, atMs, attributes }) => ({ name, time: hrTime(atMs), attributes })),
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

function contextOf(span: SpanData, spanId: string, isRemote: boolean): SpanContext {
  const { traceId, traceState } = span
  const context = { traceId, spanId, traceFlags: flagSampled, isRemote }
  if (traceState === '') return context
  // The exporter only asks for the text; parsing it into the SDK's list again would buy nothing.
  return { ...context, traceState: { serialize: () => traceState } as TraceState }
}

/** Seconds and nanoseconds. */
function hrTime(ms: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)]
}

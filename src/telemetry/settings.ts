/** What of the OpenTelemetry SDK's environment we read ourselves: the exporter reads OTEL_EXPORTER_OTLP_* on its own. */
export interface TracingSettings {
  /** False: contexts are passed on, no span is made. */
  readonly enabled: boolean
  /** Given to the exporter; undefined when its own variables name the collector. */
  readonly url: string | undefined
  /** Parts per million of new traces, unless a TelemetryPolicy says otherwise. */
  readonly samplingPpm: number
  readonly scheduleDelayMs: number
  readonly exportTimeoutMs: number
  readonly queueSpansMax: number
  readonly batchSpansMax: number
  /** What was not understood, for the log. */
  readonly warnings: readonly string[]
}

type Environment = Readonly<Record<string, string | undefined>>

/** Istio's default: one trace in a hundred. */
const samplingPpmDefault = 10_000

/**
 * The OpenTelemetry environment specification, as far as it fits. `storeUrl` is the control plane's own trace store,
 * used when no variable names a collector.
 */
export function readTracingSettings(env: Environment, storeUrl: string | undefined): TracingSettings {
  const warnings: string[] = []
  const number = (name: string, fallback: number): number => {
    const text = env[name]?.trim() ?? ''
    if (text === '') return fallback
    const value = Number(text)
    if (Number.isInteger(value) && value > 0 && value <= 2 ** 31 - 1) return value
    warnings.push(`${name}='${text}' is not a whole number above 0: ${fallback} is used`)
    return fallback
  }
  const named = [env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'], env['OTEL_EXPORTER_OTLP_ENDPOINT']].some(
    (url) => (url ?? '') !== '',
  )
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] ?? env['OTEL_EXPORTER_OTLP_PROTOCOL'] ?? 'http/protobuf'
  if (named && protocol !== 'http/protobuf') {
    warnings.push(
      `OTLP protocol '${protocol}' is not spoken here: http/protobuf is used (a collector's port 4318, not 4317)`,
    )
  }
  const off = env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true' || env['OTEL_TRACES_EXPORTER'] === 'none'
  const queueSpansMax = number('OTEL_BSP_MAX_QUEUE_SIZE', 2_048)
  return {
    enabled: !off && (named || storeUrl !== undefined),
    url: named ? undefined : storeUrl,
    samplingPpm: samplerPpm(env, warnings),
    // Our own store is there to be looked at at once; a collector gets the specification's default.
    scheduleDelayMs: number('OTEL_BSP_SCHEDULE_DELAY', named ? 5_000 : 500),
    exportTimeoutMs: number('OTEL_BSP_EXPORT_TIMEOUT', 30_000),
    queueSpansMax,
    batchSpansMax: Math.min(number('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512), queueSpansMax),
    warnings,
  }
}

/** OTEL_TRACES_SAMPLER. Parent-based always: a mesh that cut traces in the middle would be of no use. */
function samplerPpm(env: Environment, warnings: string[]): number {
  const sampler = env['OTEL_TRACES_SAMPLER']?.trim() ?? ''
  switch (sampler.replace(/^parentbased_/, '')) {
    case '':
      return samplingPpmDefault
    case 'always_on':
      return 1_000_000
    case 'always_off':
      return 0
    case 'traceidratio': {
      const ratio = Number(env['OTEL_TRACES_SAMPLER_ARG'] ?? '1')
      if (ratio >= 0 && ratio <= 1) return Math.round(ratio * 1_000_000)
      warnings.push(`OTEL_TRACES_SAMPLER_ARG='${env['OTEL_TRACES_SAMPLER_ARG']}' is not between 0 and 1: 0.01 is used`)
      return samplingPpmDefault
    }
    default:
      warnings.push(`OTEL_TRACES_SAMPLER='${sampler}' is not known: traceidratio 0.01 is used`)
      return samplingPpmDefault
  }
}

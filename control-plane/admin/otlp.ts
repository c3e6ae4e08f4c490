import { fromBinary } from '@bufbuild/protobuf'
import { type AnyValue, ExportTraceServiceRequestSchema, type KeyValue, type Span } from '../../src/api/gen/otlp_pb.ts'
import type { SpanAttributes, StoredSpan } from './trace-store.ts'

const kinds: readonly StoredSpan['kind'][] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer']
const textCharactersMax = 4_096
const attributesMax = 128
const eventsMax = 128

/** Spans of one OTLP export. Throws when the bytes are none; spans with ids of a wrong length are left out. */
export function decodeSpans(bytes: Uint8Array): StoredSpan[] {
  const spans: StoredSpan[] = []
  for (const { resource, scopeSpans } of fromBinary(ExportTraceServiceRequestSchema, bytes).resourceSpans) {
    const attributes = attributesOf(resource?.attributes ?? [])
    const service = String(attributes['service.name'] ?? 'unknown')
    const instance = String(attributes['service.instance.id'] ?? '')
    for (const scope of scopeSpans) {
      for (const span of scope.spans) {
        if (span.traceId.length === 16 && span.spanId.length === 8) spans.push(stored(span, service, instance))
      }
    }
  }
  return spans
}

function stored(span: Span, service: string, instance: string): StoredSpan {
  const startMs = milliseconds(span.startTimeUnixNano)
  const code = span.status?.code ?? 0
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: span.parentSpanId.length === 8 ? hex(span.parentSpanId) : '',
    name: cut(span.name),
    kind: kinds[span.kind] ?? 'internal',
    service,
    instance,
    startMs,
    durationMs: Math.max(0, milliseconds(span.endTimeUnixNano) - startMs),
    status: code === 2 ? 'error' : code === 1 ? 'ok' : 'unset',
    message: cut(span.status?.message ?? ''),
    attributes: attributesOf(span.attributes),
    events: span.events.slice(0, eventsMax).map((event) => ({
      name: cut(event.name),
      atMs: milliseconds(event.timeUnixNano),
      attributes: attributesOf(event.attributes),
    })),
  }
}

function attributesOf(list: readonly KeyValue[]): SpanAttributes {
  // No prototype: a key may be any text, `__proto__` too.
  const attributes: Record<string, string | number | boolean> = Object.create(null)
  for (const { key, value } of list.slice(0, attributesMax)) attributes[cut(key)] = plain(value)
  return attributes
}

function plain(value: AnyValue | undefined): string | number | boolean {
  const held = value?.value
  switch (held?.case) {
    case 'stringValue':
      return cut(held.value)
    case 'boolValue':
    case 'doubleValue':
      return held.value
    case 'intValue':
      return Number(held.value)
    case 'bytesValue':
      return cut(hex(held.value))
    case 'arrayValue':
      return cut(held.value.values.slice(0, attributesMax).map(plain).join(', '))
    default:
      return ''
  }
}

function cut(text: string): string {
  return text.length > textCharactersMax ? text.slice(0, textCharactersMax) : text
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

/** Microseconds survive; a double holds no more of a Unix time. */
function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000n) / 1_000
}

/** A trace of a cluster. Each sidecar sends its spans to the Service, so to any replica: a trace is put together again here. */
import type { StoredSpan, TraceView } from '../../../control-plane/admin/trace-store.ts'
import { messageOf } from '../../base/log.ts'
import { adminPort, controlPlanePods } from './control-planes.ts'
import type { OpenedCluster } from './open.ts'
import { nameOf } from './pods.ts'
import { Forward } from './port-forward.ts'

/** Asks every replica and joins what they have. `find` asks one, at an address. Throws an Error for people. */
export async function findClusterTrace(
  opened: OpenedCluster,
  find: (address: string, id?: string) => Promise<TraceView>,
): Promise<TraceView> {
  const pods = await controlPlanePods(opened)
  await using forwards = new AsyncDisposableStack()
  const addresses: Forward[] = []
  for (const pod of pods) {
    const target = { namespace: opened.systemNamespace, pod: nameOf(pod), port: adminPort }
    addresses.push(forwards.use(await Forward.open(opened.cluster, target)))
  }
  const first = await Promise.allSettled(addresses.map((forward) => find(forward.address)))
  const seen = first.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const latest = seen.toSorted((a, b) => b.startMs - a.startMs)[0]
  if (latest === undefined) throw new Error(reasonOf(first, addresses))
  // "last" may be another one in each replica.
  const parts = await Promise.allSettled(addresses.map((forward) => find(forward.address, latest.traceId)))
  const same = parts.flatMap((one) =>
    one.status === 'fulfilled' && one.value.traceId === latest.traceId ? [one.value] : [],
  )
  return joinTraces(same.length === 0 ? [latest] : same)
}

/** One trace of its parts; a span that two replicas have stands once. */
export function joinTraces(parts: readonly TraceView[]): TraceView {
  const first = parts.toSorted((a, b) => a.startMs - b.startMs)[0]!
  const spans = new Map<string, StoredSpan>()
  for (const part of parts) for (const span of part.spans) spans.set(span.spanId, span)
  const ordered = [...spans.values()].sort((a, b) => a.startMs - b.startMs)
  const endMs = Math.max(...parts.map(({ startMs, durationMs }) => startMs + durationMs))
  return {
    ...first,
    durationMs: endMs - first.startMs,
    spanCount: ordered.length,
    droppedSpans: parts.reduce((sum, { droppedSpans }) => sum + droppedSpans, 0),
    quietMs: Math.min(...parts.map(({ quietMs }) => quietMs)),
    spans: ordered,
  }
}

function reasonOf(results: readonly PromiseSettledResult<unknown>[], forwards: readonly Forward[]): string {
  const reasons = results.map((result, at) => {
    const failure = forwards[at]?.failure ?? ''
    if (failure !== '') return forwards[at]!.explained(undefined).message
    return result.status === 'rejected' ? messageOf(result.reason) : ''
  })
  return [...new Set(reasons)].join('\n') || 'the control plane has no Pods'
}

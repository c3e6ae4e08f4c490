import { create } from '@bufbuild/protobuf'
import { type Telemetry, TelemetrySchema } from '../../src/api/gen/outrigger_pb.ts'
import type { ResolvedTelemetry } from '../model/workload-policy.ts'
import { policyRef } from './policy-ref.ts'
import { ppm } from './ppm.ts'

/** Root traces that are sampled when no TelemetryPolicy says anything, in percent: Istio's default. */
export const defaultSamplingPercent = 1

/** Undefined when no policy says anything: then the mesh's setting holds. */
export function telemetry(resolved: ResolvedTelemetry): Telemetry | undefined {
  const { sampling, accessLog } = resolved
  const by = sampling ?? accessLog
  if (by === undefined) return undefined
  return create(TelemetrySchema, {
    ref: policyRef(by),
    samplingPpm: ppm(sampling?.value.spec.tracing?.samplingRate ?? defaultSamplingPercent),
    accessLog: accessLog?.value.spec.accessLog?.toLowerCase() ?? '',
  })
}

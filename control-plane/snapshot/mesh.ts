import { create } from '@bufbuild/protobuf'
import { type Mesh, MeshSchema, OutboundPolicy, TelemetrySchema } from '../../src/api/gen/outrigger_pb.ts'
import type { ModelView } from '../model/model-view.ts'
import { telemetryOf } from '../model/workload-policy.ts'
import type { MeshSettings } from './mesh-settings.ts'
import { ppm } from './ppm.ts'
import { defaultSamplingPercent, telemetry } from './telemetry.ts'

/** The resource `mesh`: what every sidecar needs. */
export function meshResource(model: ModelView, settings: MeshSettings): Mesh {
  return create(MeshSchema, {
    trustDomain: settings.trustDomain,
    trustBundle: settings.trustBundle,
    clusterDomain: settings.clusterDomain,
    outbound: OutboundPolicy[settings.outboundPolicy],
    telemetry:
      telemetry(telemetryOf(model.index, undefined)) ??
      create(TelemetrySchema, { samplingPpm: ppm(defaultSamplingPercent) }),
  })
}

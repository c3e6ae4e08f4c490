import { z } from 'zod'
import { admitted, atLeastOne } from './admission.ts'
import { policyMode, selector } from './attachment.ts'
import { countSet } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { percentage } from './fields.ts'

const nothingSet = 'set tracing, accessLog or both'

const spec = admitted(
  z
    .strictObject({
      mode: policyMode(),
      selector: selector()
        .optional()
        .describe('Workloads that it holds for. Default: every workload of the namespace.'),
      tracing: z
        .strictObject({
          samplingRate: percentage().describe('Share of new traces that are sampled, in percent, such as 0.1.'),
        })
        .optional()
        .describe("Traces. Default: the mesh's setting."),
      accessLog: z
        .enum(['Off', 'Text', 'Json'])
        .optional()
        .describe(
          'Form of the access log. Write "Off" in quotes: kubectl reads the bare word as a boolean. Default: the setting of the sidecar.',
        ),
    })
    .refine((value) => countSet(value, ['tracing', 'accessLog']) > 0, { error: nothingSet }),
  atLeastOne(['tracing', 'accessLog'], nothingSet),
).describe('What workloads tell about their requests.')

/** Sampling and access log. */
export const telemetryPolicy = strictDocument(
  'outrigger.dev/v1alpha1',
  'TelemetryPolicy',
  spec,
  'Trace sampling and access log of workloads.',
)

/** Sampling and access log. */
export type TelemetryPolicy = z.infer<typeof telemetryPolicy>

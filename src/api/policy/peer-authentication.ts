import { z } from 'zod'
import { policyMode, selector } from './attachment.ts'
import { crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'

const mtls = () =>
  z.strictObject({
    mode: z
      .enum(['DISABLE', 'PERMISSIVE', 'STRICT'])
      .describe('DISABLE: plaintext only. PERMISSIVE: both. STRICT: a peer without a mesh certificate is refused.'),
  })

const spec = z
  .strictObject({
    mode: policyMode(),
    selector: selector().optional().describe('Workloads that it holds for. Default: every workload of the namespace.'),
    mtls: mtls().optional().describe("Mode of every port. Default: the namespace's, then the mesh's."),
    portLevelMtls: z
      .record(
        z.string().regex(/^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/, {
          error: 'a key of portLevelMtls is a port from 1 to 65535',
        }),
        mtls(),
      )
      .optional()
      .describe('Mode by port of the workload (not of the Service), where it differs.'),
  })
  .check(
    crossField<{ selector?: object | undefined; mtls?: object | undefined; portLevelMtls?: object | undefined }>(
      ['selector', 'mtls', 'portLevelMtls'],
      ({ selector, mtls, portLevelMtls }, report) => {
        if (mtls === undefined && portLevelMtls === undefined) report('set mtls, portLevelMtls or both')
        if (portLevelMtls !== undefined && selector === undefined) {
          report('portLevelMtls needs a selector: ports belong to a workload', ['portLevelMtls'])
        }
      },
    ),
  )
  .describe('Whether peers must show a mesh certificate.')

/** Whether a workload accepts plaintext. */
export const peerAuthentication = strictDocument(
  'outrigger.dev/v1alpha1',
  'PeerAuthentication',
  spec,
  'Whether workloads accept plaintext from their peers, by workload and port.',
)

/** Whether a workload accepts plaintext. */
export type PeerAuthentication = z.infer<typeof peerAuthentication>

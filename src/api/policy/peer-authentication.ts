import { z } from 'zod'
import { admitted, atLeastOne, rawText } from './admission.ts'
import { policyMode, selector } from './attachment.ts'
import { crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'

const mtls = () =>
  z.strictObject({
    mode: z
      .enum(['DISABLE', 'PERMISSIVE', 'STRICT'])
      .describe('DISABLE: plaintext only. PERMISSIVE: both. STRICT: a peer without a mesh certificate is refused.'),
  })

const portKey = /^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/
const portKeyMessage = 'a key of portLevelMtls is a port from 1 to 65535'
const portsMax = 256

const portLevelMtls = z
  .record(z.string().regex(portKey, { error: portKeyMessage }), mtls())
  .refine((ports) => Object.keys(ports).length <= portsMax, { error: `at most ${portsMax} ports` })
  .meta({ maxProperties: portsMax })

const messages = {
  nothing: 'set mtls, portLevelMtls or both',
  noSelector: 'portLevelMtls needs a selector: ports belong to a workload',
}

const spec = admitted(
  z
    .strictObject({
      mode: policyMode(),
      selector: selector()
        .optional()
        .describe('Workloads that it holds for. Default: every workload of the namespace.'),
      mtls: mtls().optional().describe("Mode of every port. Default: the namespace's, then the mesh's."),
      portLevelMtls: admitted(portLevelMtls, {
        rule: `self.all(port, port.matches(${rawText(portKey.source)}))`,
        message: portKeyMessage,
      })
        .optional()
        .describe('Mode by port of the workload (not of the Service), where it differs.'),
    })
    .check(
      crossField<{ selector?: object | undefined; mtls?: object | undefined; portLevelMtls?: object | undefined }>(
        ['selector', 'mtls', 'portLevelMtls'],
        ({ selector, mtls, portLevelMtls }, report) => {
          if (mtls === undefined && portLevelMtls === undefined) report(messages.nothing)
          if (portLevelMtls !== undefined && selector === undefined) {
            report(messages.noSelector, ['portLevelMtls'])
          }
        },
      ),
    ),
  atLeastOne(['mtls', 'portLevelMtls'], messages.nothing),
  { rule: '!has(self.portLevelMtls) || has(self.selector)', message: messages.noSelector, fieldPath: '.portLevelMtls' },
).describe('Whether peers must show a mesh certificate.')

/** Whether a workload accepts plaintext. */
export const peerAuthentication = strictDocument(
  'outrigger.dev/v1alpha1',
  'PeerAuthentication',
  spec,
  'Whether workloads accept plaintext from their peers, by workload and port.',
)

/** Whether a workload accepts plaintext. */
export type PeerAuthentication = z.infer<typeof peerAuthentication>

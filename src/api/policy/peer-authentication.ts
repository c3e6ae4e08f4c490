import { z } from 'zod'
import { admitted, atLeastOne, rawText } from './admission.ts'
import { policyMode, selector } from './attachment.ts'
import { countSet, crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { ipBlock, port } from './fields.ts'

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

const proxyProtocol = z.strictObject({
  ports: z.array(port()).min(1).max(portsMax).describe('Ports of the workload (not of the Service).'),
  from: z
    .array(ipBlock())
    .min(1)
    .max(portsMax)
    .describe(
      'Addresses or CIDR blocks of the load balancers that write the header. They are believed: name nobody else.',
    ),
})

const fields = ['mtls', 'portLevelMtls', 'proxyProtocol'] as const
const needSelector = ['portLevelMtls', 'proxyProtocol'] as const

const messages = {
  nothing: 'set mtls, portLevelMtls or proxyProtocol',
  noSelector: (field: string) => `${field} needs a selector: ports belong to a workload`,
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
      proxyProtocol: z
        .array(proxyProtocol)
        .min(1)
        .max(64)
        .optional()
        .describe(
          'Connections that begin with a PROXY header (version 1 or 2), which says whose they are. ' +
            'Without it they are refused. Default: none; such a header is then bytes like any others.',
        ),
    })
    .check(
      crossField<{ selector?: object | undefined } & { [F in (typeof fields)[number]]?: object | undefined }>(
        ['selector', ...fields],
        (value, report) => {
          if (countSet(value, fields) === 0) report(messages.nothing)
          for (const field of needSelector) {
            if (value[field] !== undefined && value.selector === undefined) report(messages.noSelector(field), [field])
          }
        },
      ),
    ),
  atLeastOne(fields, messages.nothing),
  ...needSelector.map((field) => ({
    rule: `!has(self.${field}) || has(self.selector)`,
    message: messages.noSelector(field),
    fieldPath: `.${field}`,
  })),
).describe('Who the peers are: whether they must show a mesh certificate, and who may speak for whom.')

/** Whether a workload accepts plaintext. */
export const peerAuthentication = strictDocument(
  'outrigger.dev/v1alpha1',
  'PeerAuthentication',
  spec,
  'Whether workloads accept plaintext from their peers, and which load balancers name their clients, by workload and port.',
)

/** Whether a workload accepts plaintext. */
export type PeerAuthentication = z.infer<typeof peerAuthentication>

import { z } from 'zod'
import { looseDocument, unread } from './document.ts'
import { port } from './fields.ts'

/** Label that names the Service of an EndpointSlice. */
export const serviceNameLabel = 'kubernetes.io/service-name'

const endpoint = z.looseObject({
  addresses: z.array(z.string().min(1)).min(1).max(100).describe('Addresses; the first one is dialled.'),
  conditions: z
    .looseObject({
      ready: z.boolean().nullish().describe('Takes requests. Default: true.'),
      serving: z.boolean().nullish().describe('Answers, even while it ends.'),
      terminating: z.boolean().nullish().describe('Is ending.'),
    })
    .nullish()
    .describe('State.'),
  targetRef: z
    .looseObject({
      kind: z.string().optional().describe('Pod.'),
      name: z.string().optional().describe('Name of the Pod: where labels and identity come from.'),
      namespace: z.string().optional().describe("Namespace of the Pod. Default: the slice's own."),
      ...unread('uid', 'apiVersion', 'resourceVersion', 'fieldPath'),
    })
    .nullish()
    .describe('The Pod behind the address.'),
  zone: z.string().nullish().describe('Zone.'),
  ...unread('hostname', 'nodeName', 'hints', 'deprecatedTopology'),
})

/** Core EndpointSlice: the addresses behind a Service. */
export const endpointSlice = looseDocument(
  'discovery.k8s.io/v1',
  'EndpointSlice',
  {
    addressType: z.enum(['IPv4', 'IPv6', 'FQDN']).describe('Family of the addresses.'),
    endpoints: z
      .array(endpoint)
      .max(1000)
      .nullish()
      .transform((value) => value ?? [])
      .describe('Addresses.'),
    ports: z
      .array(
        z.looseObject({
          name: z.string().nullish().describe('Name of the Service port. Default: the unnamed one.'),
          port: port().nullish().describe('Port to dial.'),
          protocol: z.enum(['TCP', 'UDP', 'SCTP']).nullish().describe('Transport. Default: TCP.'),
          appProtocol: z.string().nullish().describe('What is spoken.'),
        }),
      )
      .max(100)
      .nullish()
      .transform((value) => value ?? [])
      .describe('Ports, the same on every address.'),
  },
  `Core EndpointSlice: the addresses behind a Service, which the label ${serviceNameLabel} names.`,
)

/** Core EndpointSlice: the addresses behind a Service. */
export type EndpointSlice = z.infer<typeof endpointSlice>

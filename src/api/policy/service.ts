import { z } from 'zod'
import { looseDocument, unread } from './document.ts'
import { port, stringMap } from './fields.ts'

const servicePort = z.looseObject({
  name: z
    .string()
    .optional()
    .describe('Name; needed when there are several. A prefix such as http- or tcp- declares the protocol.'),
  port: port().describe('Port that callers use.'),
  targetPort: z
    .union([port(), z.string().min(1).max(63)])
    .optional()
    .describe('Port of the workload, number or name. Default: port.'),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP').describe('Transport; only TCP is meshed.'),
  appProtocol: z
    .string()
    .optional()
    .describe('What is spoken: http, kubernetes.io/h2c, grpc, tcp, https ... Default: by name, else detected.'),
  ...unread('nodePort'),
})

/** Core Service: a name that is called, and its ports. */
export const service = looseDocument(
  'v1',
  'Service',
  {
    spec: z
      .looseObject({
        ports: z.array(servicePort).default([]).describe('Ports.'),
        selector: stringMap().nullish().describe('Labels of its workloads, when no EndpointSlice names them.'),
        clusterIP: z.string().optional().describe('Virtual address; None or empty: none.'),
        clusterIPs: z.array(z.string()).optional().describe('Virtual addresses, of both families.'),
        type: z.string().default('ClusterIP').describe('ClusterIP, NodePort, LoadBalancer or ExternalName.'),
        externalName: z.string().optional().describe('DNS name, for type ExternalName.'),
        ...unread(
          'allocateLoadBalancerNodePorts',
          'externalIPs',
          'externalTrafficPolicy',
          'healthCheckNodePort',
          'internalTrafficPolicy',
          'ipFamilies',
          'ipFamilyPolicy',
          'loadBalancerClass',
          'loadBalancerIP',
          'loadBalancerSourceRanges',
          'publishNotReadyAddresses',
          'sessionAffinity',
          'sessionAffinityConfig',
          'trafficDistribution',
        ),
      })
      .describe('The Service.'),
    ...unread('status'),
  },
  'Core Service: a name that is called, and its ports.',
)

/** Core Service: a name that is called, and its ports. */
export type Service = z.infer<typeof service>

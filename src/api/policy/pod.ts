import { z } from 'zod'
import { looseDocument, unread } from './document.ts'

/** Core Pod: labels, service account and annotations of a workload. */
export const pod = looseDocument(
  'v1',
  'Pod',
  {
    spec: z
      .looseObject({
        serviceAccountName: z
          .string()
          .min(1)
          .default('default')
          .describe('Service account: the last part of the SPIFFE id.'),
        containers: z
          .array(
            z.looseObject({
              name: z.string().optional().describe('Name.'),
              ports: z
                .array(
                  z.looseObject({
                    name: z.string().optional().describe('Name, which a targetPort can use.'),
                    containerPort: z.int().min(1).max(65_535).describe('Port.'),
                    protocol: z.string().optional().describe('Transport. Default: TCP.'),
                    ...unread('hostPort', 'hostIP'),
                  }),
                )
                .nullish()
                .describe('Ports.'),
              ...unread(
                'image',
                'command',
                'args',
                'workingDir',
                'envFrom',
                'env',
                'resources',
                'resizePolicy',
                'restartPolicy',
                'restartPolicyRules',
                'volumeMounts',
                'volumeDevices',
                'livenessProbe',
                'readinessProbe',
                'startupProbe',
                'lifecycle',
                'terminationMessagePath',
                'terminationMessagePolicy',
                'imagePullPolicy',
                'securityContext',
                'stdin',
                'stdinOnce',
                'tty',
              ),
            }),
          )
          .nullish()
          .describe('Containers; only their named ports are read.'),
        ...unread(
          'activeDeadlineSeconds',
          'affinity',
          'automountServiceAccountToken',
          'dnsConfig',
          'dnsPolicy',
          'enableServiceLinks',
          'ephemeralContainers',
          'hostAliases',
          'hostIPC',
          'hostNetwork',
          'hostPID',
          'hostUsers',
          'hostname',
          'hostnameOverride',
          'imagePullSecrets',
          'initContainers',
          'nodeName',
          'nodeSelector',
          'os',
          'overhead',
          'preemptionPolicy',
          'priority',
          'priorityClassName',
          'readinessGates',
          'resourceClaims',
          'resources',
          'restartPolicy',
          'runtimeClassName',
          'schedulerName',
          'schedulingGates',
          'securityContext',
          'serviceAccount',
          'setHostnameAsFQDN',
          'shareProcessNamespace',
          'subdomain',
          'terminationGracePeriodSeconds',
          'tolerations',
          'topologySpreadConstraints',
          'volumes',
          'workloadRef',
        ),
      })
      .prefault({})
      .describe('The Pod.'),
    ...unread('status'),
  },
  'Core Pod: labels, service account and annotations of a workload.',
)

/** Core Pod: labels, service account and annotations of a workload. */
export type Pod = z.infer<typeof pod>

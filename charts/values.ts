/**
 * Values of charts/outrigger: the one source of its values.yaml, of values.schema.json, and of the table in its README.
 * After a change: `src/cli/outrigger-node charts/generate.ts`; a test tells when it was forgotten.
 */
import { z } from 'zod'
import { controlPlaneConfigSchema } from '../control-plane/config.ts'

/** An object of Kubernetes' own, which the API server checks. */
const object = z.record(z.string(), z.unknown())
const strings = z.record(z.string(), z.string())
const quantity = z.union([z.string(), z.number()])
const resources = z.strictObject({
  requests: z.record(z.string(), quantity).optional(),
  limits: z.record(z.string(), quantity).optional(),
})
const pullPolicy = z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent')
const scrapeInterval = z.string().regex(/^\d{1,5}(ms|s|m)$/, 'expected a duration such as 15s')

function image(repository: string, tag: string, about: string) {
  return z
    .strictObject({
      repository: z.string().min(1).default(repository).describe(about),
      tag: z
        .string()
        .default(tag)
        .describe(tag === '' ? "Default: the chart's appVersion" : 'Its version'),
      pullPolicy: pullPolicy.describe('When nodes fetch it'),
    })
    .prefault({})
}

const { injector, trustDomain } = controlPlaneConfigSchema.shape

/** The document that the control plane reads, as it is; only the sidecar's image has a default here. */
const config = controlPlaneConfigSchema
  .extend({
    // The same as isTrustDomain, in the words of regular expressions that Helm knows.
    trustDomain: z
      .string()
      .max(255)
      .regex(/^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/, 'expected lower-case letters, digits, dots and hyphens')
      .default('cluster.local')
      .describe(trustDomain.description ?? ''),
    injector: injector
      .extend({
        image: z
          .string()
          .default('')
          .describe("Image of the sidecar and of the init container. Default: the control plane's own"),
      })
      .prefault({}),
  })
  .prefault({})
  .describe("The control plane's settings; they become the ConfigMap outrigger-config")

export const valuesSchema = z
  .strictObject({
    image: image('outrigger', '', 'Image of the control plane'),
    imagePullSecrets: z
      .array(z.strictObject({ name: z.string() }))
      .default([])
      .describe("Secrets to pull the control plane's image with. Pods with a sidecar bring their own"),
    replicas: z.int().min(1).default(1).describe('Replicas of the control plane; values-ha.yaml has three'),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Of the control plane'),
    logFormat: z
      .enum(['text', 'json'])
      .default('json')
      .describe('json: one object of Elastic Common Schema a line; text: for people'),
    config,
    webhook: z
      .strictObject({
        failurePolicy: z
          .enum(['Fail', 'Ignore'])
          .default('Fail')
          .describe(
            'When no replica answers. Fail: Pods that are to be meshed cannot be created meanwhile. Ignore: they start without a sidecar',
          ),
        timeoutSeconds: z.int().min(1).max(30).default(10).describe('How long the API server waits for an answer'),
        reinvocationPolicy: z
          .enum(['Never', 'IfNeeded'])
          .default('Never')
          .describe('IfNeeded: asked again when a later webhook has changed the Pod'),
        excludedNamespaces: z
          .array(z.string())
          .default([])
          .describe('Never asked about; always among them: kube-system, kube-public, kube-node-lease and our own'),
      })
      .prefault({}),
    resources: resources
      .default({ requests: { cpu: '100m', memory: '192Mi' }, limits: { memory: '768Mi' } })
      .describe('Of the control plane: about 110 Mi and up to 200 KiB a sidecar'),
    autoscaling: z
      .strictObject({
        enabled: z.boolean().default(false).describe('HorizontalPodAutoscaler by CPU; replicas is not used then'),
        minReplicas: z.int().min(1).default(2).describe('Fewest'),
        maxReplicas: z.int().min(1).default(5).describe('Most'),
        targetCPUUtilizationPercentage: z.int().min(1).default(80).describe('Of requests.cpu'),
      })
      .prefault({}),
    podDisruptionBudget: z
      .strictObject({
        enabled: z.boolean().default(false).describe('Leave alone with one replica: nodes could not be drained'),
        maxUnavailable: z
          .union([z.int().min(0), z.string().regex(/^\d{1,3}%$/)])
          .default(1)
          .describe('Replicas that may be evicted at once'),
        unhealthyPodEvictionPolicy: z
          .enum(['AlwaysAllow', 'IfHealthyBudget'])
          .default('AlwaysAllow')
          .describe('AlwaysAllow: a replica that is not ready never keeps a node from being drained'),
      })
      .prefault({}),
    antiAffinity: z
      .enum(['soft', 'hard', 'none'])
      .default('soft')
      .describe('Replicas on different nodes: if it can be, always, or never mind. affinity wins'),
    spreadOverZones: z.boolean().default(true).describe('Replicas in different zones, if it can be'),
    affinity: object.default({}).describe('Affinity of the control plane, in place of antiAffinity'),
    nodeSelector: strings.default({}).describe('Nodes for the control plane'),
    tolerations: z.array(object).default([]).describe('Taints that the control plane tolerates'),
    priorityClassName: z
      .string()
      .default('')
      .describe('system-cluster-critical is right where Pods cannot start without a sidecar'),
    podLabels: strings.default({}).describe('More labels for the Pods of the control plane'),
    podAnnotations: strings.default({}).describe('More annotations for the Pods of the control plane'),
    revisionHistoryLimit: z.int().min(0).default(3).describe('ReplicaSets that are kept'),
    drainSeconds: z
      .int()
      .min(0)
      .default(5)
      .describe('How long a replica that is to stop still serves, until nobody is sent to it any more'),
    terminationGracePeriodSeconds: z
      .int()
      .min(1)
      .default(30)
      .describe('After which a replica that does not stop is killed; includes drainSeconds'),
    service: z.strictObject({ annotations: strings.default({}).describe('Annotations of the Service') }).prefault({}),
    serviceAccount: z
      .strictObject({ annotations: strings.default({}).describe('Annotations of the ServiceAccount') })
      .prefault({}),
    networkPolicy: z
      .strictObject({
        enabled: z.boolean().default(false).describe('Only the ports 15012, 15014 and 15017 can be reached'),
      })
      .prefault({}),
    certManager: z
      .strictObject({
        enabled: z
          .boolean()
          .default(false)
          .describe(
            'The authority is a Certificate of cert-manager, whose CRDs must be there; sets config.authority.managed: false',
          ),
        issuerRef: object
          .default({})
          .describe('Issuer that signs it: {name, kind, group}. Default: it signs itself, by an Issuer of the chart'),
        duration: z
          .string()
          .regex(/^\d{1,7}h$/, 'expected hours such as 8760h')
          .default('43800h')
          .describe('Its life'),
      })
      .prefault({}),
    monitoring: z
      .strictObject({
        enabled: z
          .boolean()
          .default(true)
          .describe("PodMonitor and ServiceMonitor, if the cluster has prometheus-operator's CRDs"),
        interval: scrapeInterval.default('15s').describe('How often Prometheus asks'),
        labels: strings
          .default({})
          .describe('What your Prometheus selects monitors and rules by: {release: prometheus}'),
        rules: z.boolean().default(true).describe('PrometheusRule with alerts, if the cluster has its CRD'),
      })
      .prefault({}),
    dashboards: z
      .strictObject({
        enabled: z.boolean().default(true).describe("Dashboards as ConfigMaps, for the sidecar of Grafana's chart"),
        labels: strings.default({ grafana_dashboard: '1' }).describe('What that sidecar selects them by'),
        annotations: strings.default({ grafana_folder: 'Outrigger' }).describe('Where it puts them'),
      })
      .prefault({}),
    jaeger: z
      .strictObject({
        enabled: z
          .boolean()
          .default(false)
          .describe('To try it out: Jaeger with traces in memory; sidecars send theirs there'),
        image: image('jaegertracing/jaeger', '2.17.0', "Jaeger's all-in-one image"),
        resources: resources
          .default({ requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } })
          .describe('Of Jaeger'),
      })
      .prefault({}),
    prometheus: z
      .strictObject({
        enabled: z
          .boolean()
          .default(false)
          .describe('To try it out: Prometheus that scrapes Pods by their prometheus.io annotations, in memory'),
        image: image('prom/prometheus', 'v3.5.0', "Prometheus' image"),
        retention: z
          .string()
          .regex(/^\d{1,5}(m|h|d)$/, 'expected a duration such as 6h')
          .default('6h')
          .describe('How long samples are kept'),
        resources: resources
          .default({ requests: { cpu: '50m', memory: '256Mi' }, limits: { memory: '1Gi' } })
          .describe('Of Prometheus'),
      })
      .prefault({}),
    global: object.default({}).describe('Not read. Helm passes it to the parts of a larger chart'),
  })
  .describe('Values of the chart outrigger')

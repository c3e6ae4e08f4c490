/** The containers that injection adds. */
import { dirname } from 'node:path'
import type { AppProbe } from '../../src/api/app-probe.ts'
import { inPod, inSystem } from '../../src/base/kubernetes-names.ts'
import type { PodSettings } from './annotations.ts'
import type { Container } from './pod.ts'
import type { InjectionTemplate } from './template.ts'

export interface ProxyParts {
  readonly settings: PodSettings
  readonly template: InjectionTemplate
  readonly probes: Readonly<Record<string, AppProbe>>
}

/** Satisfies Pod Security "restricted". */
const unprivileged = {
  runAsUser: inPod.proxyUid,
  runAsGroup: inPod.proxyUid,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const

const ready = { path: '/healthz/ready', port: 15_021 } as const

export function proxyContainer({ settings, template, probes }: ProxyParts): Container {
  const { config, systemNamespace } = template
  const { otlpEndpoint } = config.tracing
  const service = `${inSystem.name}.${systemNamespace}.svc`
  const env: { name: string; value?: string; valueFrom?: unknown }[] = [
    { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
    { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
    { name: 'OUTRIGGER_WORKLOAD', value: '$(POD_NAMESPACE)/$(POD_NAME)' },
    { name: 'OUTRIGGER_CAPTURE', value: settings.interceptionMode === 'REDIRECT' ? 'redirect' : 'explicit' },
    { name: 'OUTRIGGER_CONTROL_PLANE', value: `${service}:15012` },
    { name: 'OUTRIGGER_TOKEN_FILE', value: inPod.tokenFile },
    { name: 'OUTRIGGER_TRUST_BUNDLE', value: inPod.trustBundleFile },
    { name: 'OUTRIGGER_STATE_DIR', value: inPod.stateDir },
    { name: 'OUTRIGGER_METRICS', value: '[::]:15020' },
    { name: 'OUTRIGGER_HEALTH', value: '[::]:15021' },
    { name: 'OUTRIGGER_LOG_LEVEL', value: settings.logLevel },
    { name: 'OUTRIGGER_ACCESS_LOG', value: config.accessLog },
    { name: 'OUTRIGGER_DRAIN_TIMEOUT', value: settings.drainTimeout },
    otlpEndpoint === ''
      ? { name: 'OUTRIGGER_TRACES', value: `http://${service}:15014/v1/traces` }
      : { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: otlpEndpoint },
    // Each span's resource; the names of the service come from the workload's own labels.
    {
      name: 'OTEL_RESOURCE_ATTRIBUTES',
      value: 'k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)',
    },
  ]
  if (Object.keys(probes).length > 0) env.push({ name: 'OUTRIGGER_APP_PROBES', value: JSON.stringify(probes) })
  if (settings.workers > 1) env.push({ name: 'OUTRIGGER_WORKERS', value: String(settings.workers) })
  const heap = heapMegabytes(settings.resources.limits['memory'])
  if (heap !== undefined) env.push({ name: 'OUTRIGGER_NODE_FLAGS', value: `--max-old-space-size=${heap}` })
  return {
    name: inPod.proxyContainer,
    image: settings.image,
    imagePullPolicy: config.injector.imagePullPolicy,
    args: ['proxy', 'run'],
    env,
    // At once when the Pod is to end. A native sidecar gets its SIGTERM when the applications have ended.
    lifecycle: { preStop: { exec: { command: ['outrigger', 'proxy', 'retire'] } } },
    ports: [{ name: 'outrigger-mtr', containerPort: 15_020, protocol: 'TCP' }],
    // Every second for ten minutes: what comes after waits for it, and no longer than it must.
    startupProbe: { httpGet: ready, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 600 },
    readinessProbe: { httpGet: ready, periodSeconds: 15, timeoutSeconds: 3, failureThreshold: 4 },
    resources: settings.resources,
    securityContext: unprivileged,
    volumeMounts: [
      { name: 'outrigger-token', mountPath: dirname(inPod.tokenFile), readOnly: true },
      { name: 'outrigger-root', mountPath: dirname(inPod.trustBundleFile), readOnly: true },
      { name: 'outrigger-state', mountPath: dirname(inPod.stateDir) },
    ],
  }
}

/** Sets the rules and ends. Needs NET_ADMIN, and so a namespace that Pod Security does not hold to "baseline". */
export function initContainer(settings: PodSettings, { config }: InjectionTemplate): Container {
  return {
    name: inPod.initContainer,
    image: settings.image,
    imagePullPolicy: config.injector.imagePullPolicy,
    args: ['proxy', 'capture', '--apply', ...settings.capture],
    resources: { requests: { cpu: '10m', memory: '40Mi' }, limits: { memory: '128Mi' } },
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  }
}

/** A sidecar among the ordinary containers: being the first, its postStart hook keeps those after it waiting. */
export function waitsForProxy(proxy: Container, settings: PodSettings): Container {
  const { startupProbe: _startup, ...rest } = proxy
  return {
    ...rest,
    lifecycle: {
      postStart: { exec: { command: ['outrigger', 'proxy', 'wait'] } },
      // As long as the applications wait, and one second for them to end.
      preStop: {
        exec: {
          command: [
            'outrigger',
            'proxy',
            'retire',
            ...(settings.drainDelaySeconds === 0 ? [] : ['--for', `${settings.drainDelaySeconds + 1}s`]),
          ],
        },
      },
    },
  }
}

/** Half of the limit: code, buffers and sockets need the rest. */
function heapMegabytes(limit: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?$/.exec(limit ?? '')
  if (match === null) return undefined
  const units: Readonly<Record<string, number>> = { Ki: 1_024, Mi: 1_024 ** 2, Gi: 1_024 ** 3, k: 1e3, M: 1e6, G: 1e9 }
  return Math.max(32, Math.floor((Number(match[1]) * (units[match[2] ?? ''] ?? 1)) / 1_048_576 / 2))
}

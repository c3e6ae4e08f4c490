/** The Pod with its sidecar. Pure: the webhook and `outrigger inject` give the same. */
import { createHash } from 'node:crypto'
import { inPod, inSystem, marks } from '../../src/base/kubernetes-names.ts'
import { type PodSettings, readSettings } from './annotations.ts'
import { type Decision, type DecisionContext, decide } from './decision.ts'
import type { Container, Pod, PodSpec, Volume } from './pod.ts'
import { rewriteProbes } from './probes.ts'
import { initContainer, proxyContainer, waitsForProxy } from './sidecar-container.ts'
import type { InjectionTemplate } from './template.ts'

export type Injection =
  | { readonly is: 'injected'; readonly pod: Pod; readonly warnings: readonly string[] }
  | (Exclude<Decision, { is: 'inject' }> & { readonly warnings: readonly string[] })

/** Puts a sidecar into a Pod, or says why not. The same Pod gives the same result, and one that has a sidecar is left alone. */
export function injectPod(
  pod: Pod,
  context: Omit<DecisionContext, 'systemNamespace'>,
  template: InjectionTemplate,
): Injection {
  const decision = decide(pod, { ...context, systemNamespace: template.systemNamespace })
  const { settings, errors, warnings } = readSettings(pod.metadata?.annotations ?? {}, template.config.injector)
  if (decision.is !== 'inject')
    return { ...decision, warnings: decision.is === 'skip' && decision.code === 'injected' ? [] : warnings }
  if (errors.length > 0) return { is: 'refuse', code: 'invalid-annotation', reason: errors.join('; '), warnings }
  return { is: 'injected', pod: withSidecar(pod, settings, template), warnings }
}

function withSidecar(pod: Pod, settings: PodSettings, template: InjectionTemplate): Pod {
  const spec: PodSpec = pod.spec ?? {}
  const { containers, probes } =
    settings.rewriteProbes && settings.interceptionMode === 'REDIRECT'
      ? rewriteProbes(spec.containers ?? [])
      : { containers: spec.containers ?? [], probes: {} }
  const proxy = proxyContainer({
    settings,
    template,
    probes,
    opaquePorts: pod.metadata?.annotations?.[marks.opaquePorts],
  })
  const apps = containers.map((container) => app(container, settings))
  const init = settings.interceptionMode === 'REDIRECT' ? [initContainer(settings)] : []
  const native = settings.nativeSidecar
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: { ...pod.metadata?.labels },
      annotations: {
        ...defaultAnnotations(pod, containers),
        ...pod.metadata?.annotations,
        [marks.status]: JSON.stringify({
          hash: templateHash(settings, template),
          inbound: settings.interceptionMode === 'REDIRECT',
          containers: [inPod.proxyContainer],
          initContainers: init.map(({ name }) => name),
          volumes: volumes(template).map(({ name }) => name),
        }),
      },
    },
    spec: {
      ...spec,
      // Before the user's own: what those call is meshed, too. With a classic sidecar rules must come last, or the
      // user's init containers would find no network.
      initContainers: native
        ? [...init, { ...proxy, restartPolicy: 'Always' }, ...(spec.initContainers ?? [])]
        : [...(spec.initContainers ?? []), ...init],
      containers: native ? apps : [waitsForProxy(proxy, settings), ...apps],
      volumes: [...(spec.volumes ?? []), ...volumes(template)],
    },
  }
}

/**
 * While callers hear that a Pod ends, its application must still answer: Kubernetes tells it to stop at the same moment.
 * So one that has no preStop hook of its own gets one that waits (KEP-3960).
 */
function app(container: Container, settings: PodSettings): Container {
  const env =
    settings.interceptionMode === 'NONE'
      ? {
          env: [
            ...(container.env ?? []),
            ...explicitProxy.filter(({ name }) => !container.env?.some((own) => own.name === name)),
          ],
        }
      : {}
  if (settings.drainDelaySeconds === 0 || container.lifecycle?.preStop !== undefined) return { ...container, ...env }
  const preStop = { sleep: { seconds: settings.drainDelaySeconds } }
  return { ...container, ...env, lifecycle: { ...container.lifecycle, preStop } }
}

/** Without redirection the application is told where the mesh is, in the way that most HTTP clients know. */
const explicitProxy = [
  { name: 'HTTP_PROXY', value: 'http://127.0.0.1:15001' },
  { name: 'http_proxy', value: 'http://127.0.0.1:15001' },
  { name: 'NO_PROXY', value: 'localhost,127.0.0.1,::1' },
  { name: 'no_proxy', value: 'localhost,127.0.0.1,::1' },
]

/** Marks that tools rely on; what the user wrote wins. */
function defaultAnnotations(pod: Pod, containers: readonly Container[]): Readonly<Record<string, string>> {
  const first = containers[0]?.name
  const scraped = Object.keys(pod.metadata?.annotations ?? {}).some((name) => name.startsWith('prometheus.io/'))
  return {
    ...(first === undefined
      ? {}
      : { 'kubectl.kubernetes.io/default-container': first, 'kubectl.kubernetes.io/default-logs-container': first }),
    // One scrape a Pod: who has the application scraped keeps that.
    ...(scraped
      ? {}
      : { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '15020', 'prometheus.io/path': '/metrics' }),
  }
}

function volumes({ config }: InjectionTemplate): readonly Volume[] {
  return [
    {
      name: 'outrigger-token',
      projected: {
        sources: [
          { serviceAccountToken: { audience: config.tokenAudience, expirationSeconds: 43_200, path: 'token' } },
        ],
      },
    },
    { name: 'outrigger-root', configMap: { name: inSystem.rootConfigMap } },
    // In memory: the key never reaches a disk.
    { name: 'outrigger-state', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
  ]
}

/** Differs when a new injection would give something else: for "restart to update". */
function templateHash(settings: PodSettings, { config, systemNamespace }: InjectionTemplate): string {
  return createHash('sha256')
    .update(JSON.stringify([settings, config, systemNamespace]))
    .digest('hex')
    .slice(0, 12)
}

/** The Pod with its sidecar. Pure: the webhook and `outrigger inject` give the same. */
import { createHash } from 'node:crypto'
import { inPod, inSystem, marks } from '../../src/base/kubernetes-names.ts'
import { canonicalService } from '../model/canonical.ts'
import { type PodSettings, readSettings } from './annotations.ts'
import { type Decision, type DecisionContext, decide, networkAdmins } from './decision.ts'
import type { Container, Pod, PodMetadata, PodSpec, Volume } from './pod.ts'
import { type RewrittenProbes, rewriteProbes } from './probes.ts'
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
  const admins = networkAdmins(pod)
  if (settings.interceptionMode === 'REDIRECT' && admins.init.length > 0 && !settings.allowNetAdmin) {
    return {
      is: 'refuse',
      code: 'own-rules',
      reason: `its init container ${admins.init[0]} has NET_ADMIN: rules of its own could lead traffic past the sidecar. If they do not, annotate it ${marks.proxy}allowNetAdmin: "true"; else label it ${marks.inject}: "false"`,
      warnings,
    }
  }
  return {
    is: 'injected',
    pod: withSidecar(pod, settings, template),
    warnings: [...warnings, ...cautions(pod, settings, admins.apps)],
  }
}

/** What works otherwise than its owner may think. Each is told in 250 bytes at most. */
function cautions(pod: Pod, settings: PodSettings, admins: readonly string[]): string[] {
  const { containers = [], restartPolicy = 'Always' } = pod.spec ?? {}
  const hooked = containers.find(({ lifecycle }) =>
    [lifecycle?.preStop, lifecycle?.postStart].some((hook) => hook?.httpGet),
  )
  return [
    ...(settings.interceptionMode === 'REDIRECT' && admins.length > 0
      ? [`container ${admins[0]} has NET_ADMIN: it can lead traffic past the sidecar`]
      : []),
    ...(settings.interceptionMode === 'REDIRECT' && hooked !== undefined
      ? [
          `a hook of container ${hooked.name} is an httpGet, which comes without a certificate: under STRICT it is refused`,
        ]
      : []),
    ...(!settings.nativeSidecar && restartPolicy !== 'Always'
      ? [
          'with a classic sidecar this Pod does not end by itself: POST http://127.0.0.1:15020/quitquitquit when it is done',
        ]
      : []),
  ]
}

function withSidecar(pod: Pod, settings: PodSettings, template: InjectionTemplate): Pod {
  const spec: PodSpec = pod.spec ?? {}
  const rewrite = settings.rewriteProbes && settings.interceptionMode === 'REDIRECT' ? rewriteProbes : keepProbes
  const own = rewrite(spec.containers ?? [])
  // Those with restartPolicy Always have probes, too.
  const before = rewrite(spec.initContainers ?? [])
  const proxy = proxyContainer({ settings, template, probes: { ...own.probes, ...before.probes } })
  const delay = drainDelay(spec, settings)
  const apps = own.containers.map((container) => app(container, settings, delay))
  const init = settings.interceptionMode === 'REDIRECT' ? [initContainer(settings, template)] : []
  const native = settings.nativeSidecar
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      ...canonicalLabels(pod),
      annotations: {
        ...defaultAnnotations(pod),
        ...pod.metadata?.annotations,
        [marks.status]: JSON.stringify({
          hash: hashOf([init, proxy, delay, volumes(template)]),
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
        ? [...init, { ...proxy, restartPolicy: 'Always' }, ...before.containers]
        : [...before.containers, ...init],
      containers: native ? apps : [waitsForProxy(proxy, settings), ...apps],
      volumes: [...(spec.volumes ?? []), ...volumes(template)],
    },
  }
}

/**
 * While callers hear that a Pod ends, its application must still answer: Kubernetes tells it to stop at the same moment.
 * So one that has no preStop hook of its own gets one that waits (KEP-3960).
 */
function app(container: Container, settings: PodSettings, delaySeconds: number): Container {
  const env =
    settings.interceptionMode === 'NONE'
      ? {
          env: [
            ...(container.env ?? []),
            // Either spelling of the owner's speaks for both.
            ...explicitProxy.filter(
              ({ name }) => !container.env?.some((own) => own.name.toLowerCase() === name.toLowerCase()),
            ),
          ],
        }
      : {}
  if (delaySeconds === 0 || container.lifecycle?.preStop !== undefined) return { ...container, ...env }
  const preStop = { sleep: { seconds: delaySeconds } }
  return { ...container, ...env, lifecycle: { ...container.lifecycle, preStop } }
}

/** The API server refuses a sleep that is longer than the Pod is given; the application needs the last second of it. */
function drainDelay({ terminationGracePeriodSeconds = 30 }: PodSpec, { drainDelaySeconds }: PodSettings): number {
  return Math.max(0, Math.min(drainDelaySeconds, terminationGracePeriodSeconds - 1))
}

/**
 * The name under which the Pod's traffic is counted, where no label says it: the Deployment's (the chain of Istio's
 * canonical service, whose last link only the owner knows).
 */
function canonicalLabels({ metadata }: Pod): Pick<PodMetadata, 'labels'> {
  const labels = metadata?.labels ?? {}
  const name = ownerName(metadata)
  if (name === undefined || name.length > 63 || canonicalService(labels, '') !== '') return {}
  return { labels: { ...labels, 'service.istio.io/canonical-name': name } }
}

/** Deployments and CronJobs make their Pods by way of a ReplicaSet and a Job, whose names have a suffix. */
function ownerName(metadata: PodMetadata | undefined): string | undefined {
  const owner =
    metadata?.ownerReferences?.find(({ controller }) => controller === true) ?? metadata?.ownerReferences?.[0]
  const hash = metadata?.labels?.['pod-template-hash']
  if (owner?.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`))
    return owner.name.slice(0, -hash.length - 1)
  return owner?.kind === 'Job' ? owner.name.replace(/-\d{8,10}$/, '') : owner?.name
}

function keepProbes(containers: readonly Container[]): RewrittenProbes {
  return { containers, probes: {} }
}

/** The Pod itself, and the cloud's metadata, to which no proxy leads. */
const notByProxy = 'localhost,127.0.0.1,::1,169.254.169.254,metadata.google.internal'

/** Without redirection the application is told where the mesh is, in the way that most HTTP clients know. */
const explicitProxy = [
  { name: 'HTTP_PROXY', value: 'http://127.0.0.1:15001' },
  { name: 'http_proxy', value: 'http://127.0.0.1:15001' },
  { name: 'NO_PROXY', value: notByProxy },
  { name: 'no_proxy', value: notByProxy },
]

/** Marks that tools rely on; what the user wrote wins. */
function defaultAnnotations(pod: Pod): Readonly<Record<string, string>> {
  const first = pod.spec?.containers?.[0]?.name
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
function hashOf(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)
}

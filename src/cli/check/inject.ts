/** Why a Pod has a sidecar or has none: the webhook's own decision, and what kept it from being asked. */
import { parseControlPlaneConfig } from '../../../control-plane/config.ts'
import { injectPod } from '../../../control-plane/inject/inject-pod.ts'
import type { InjectionTemplate } from '../../../control-plane/inject/template.ts'
import type { ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import { inPod, inSystem, marks } from '../../base/kubernetes-names.ts'
import type { Verdict } from '../check-inject.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { asClusterPod, asPod, type ClusterPod, findPod, found, isReady, keyOf } from '../cluster/pods.ts'
import { sidecarState } from '../cluster/sidecar-state.ts'
import { matches, readWebhooks, type Webhook } from './webhook.ts'

type Labels = Readonly<Record<string, string>>

interface Surroundings {
  readonly labels: Labels
  /** When the Namespace's label was written last, by its managedFields; '' when that is not known. */
  readonly labelledAt: string
  readonly webhooks: readonly Webhook[] | undefined
  readonly readyReplicas: number
  readonly systemNamespace: string
  readonly template: InjectionTemplate
}

/** A Pod that runs. */
export async function judgePod(opened: OpenedCluster, word: string): Promise<Verdict[]> {
  const pod = await findPod(opened.cluster, word, opened.namespace)
  const namespace = pod.metadata?.namespace ?? ''
  const around = await surroundings(opened, namespace)
  return [judge(pod, `Pod ${keyOf(pod)}`, namespace, around, true)]
}

/** Pods and templates of a file, as they would fare in this cluster. */
export async function judgeFile(opened: OpenedCluster, path: string): Promise<Verdict[]> {
  const [{ readPath, textOf }, { parseYaml }, { podTemplates }] = await Promise.all([
    import('../read-paths.ts'),
    import('../../api/documents/parse-yaml.ts'),
    import('../manifests/pod-templates.ts'),
  ])
  const verdicts: Verdict[] = []
  for (const file of await readPath(path)) {
    const { trees, problems } = parseYaml(file.path, textOf(file))
    const broken = problems.find(({ severity }) => severity === 'error')
    if (broken !== undefined) throw new Error(`${broken.file}:${broken.line}:${broken.column}: ${broken.message}`)
    for (const found of trees.flatMap(({ value }) => podTemplates(value, opened.namespace))) {
      const around = await surroundings(opened, found.namespace)
      const of = `${found.kind} ${found.namespace}/${found.name}`
      verdicts.push(judge(asClusterPod(found.pod), of, found.namespace, around, false))
    }
  }
  return verdicts
}

async function surroundings(opened: OpenedCluster, namespace: string): Promise<Surroundings> {
  const { cluster, systemNamespace } = opened
  const { controlPlanePods } = await import('../cluster/control-planes.ts')
  const { readClusterTemplate } = await import('./workloads.ts')
  const [object, webhooks, replicas, template] = await Promise.all([
    found(cluster, `/api/v1/namespaces/${namespace}`),
    readWebhooks(opened),
    controlPlanePods(opened).catch(() => []),
    readClusterTemplate(opened),
  ])
  return {
    labels: object?.metadata?.labels ?? {},
    labelledAt: object === undefined ? '' : labelTime(object),
    webhooks,
    readyReplicas: replicas.filter(isReady).length,
    systemNamespace,
    template: template ?? {
      config: parseControlPlaneConfig('injector: {image: outrigger}', 'defaults'),
      systemNamespace,
    },
  }
}

/** The API server keeps who wrote which field, and when. */
function labelTime({ metadata }: ApiObject): string {
  const fields = (metadata as { managedFields?: readonly { time?: string; fieldsV1?: unknown }[] } | undefined)
    ?.managedFields
  const writers = (fields ?? []).filter(({ fieldsV1 }) =>
    JSON.stringify(fieldsV1 ?? {}).includes(`"f:${marks.inject}"`),
  )
  return (
    writers
      .map(({ time = '' }) => time)
      .toSorted()
      .at(-1) ?? ''
  )
}

function judge(pod: ClusterPod, of: string, namespace: string, around: Surroundings, runs: boolean): Verdict {
  const { labels } = around
  const state = sidecarState(pod)
  const mark = pod.metadata?.annotations?.[marks.status]
  if (state.is !== 'none') {
    const told =
      state.is === 'waiting'
        ? `it does not run: ${state.reason}`
        : state.ready
          ? 'it runs and is ready'
          : 'it runs and is not ready yet'
    return {
      of,
      injected: true,
      refused: false,
      reasons: [`it was injected (${askedBy(pod, labels, namespace)})`, told],
    }
  }
  if (mark !== undefined) {
    const text = `it has the annotation ${marks.status} but no container ${inPod.proxyContainer}: the annotation was copied from another Pod, and keeps the webhook away`
    return {
      of,
      injected: false,
      refused: false,
      reasons: [text],
      remedy: `take the annotation out of the Pod's template`,
    }
  }
  const result = injectPod(asPod(pod), { namespace, namespaceLabels: labels }, around.template)
  if (result.is !== 'injected')
    return {
      of,
      injected: false,
      refused: result.is === 'refuse',
      reasons: [result.reason],
      ...withRemedy(result.code, namespace),
    }
  const asked = `it should have one: ${askedBy(pod, labels, namespace)}`
  const kept = keptAway(pod, around)
  if (kept !== undefined)
    return { of, injected: false, refused: false, reasons: [asked, kept.reason], remedy: kept.remedy }
  if (!runs)
    return { of, injected: true, refused: false, reasons: [`it would get one: ${askedBy(pod, labels, namespace)}`] }
  return { of, injected: false, refused: false, reasons: [asked, whyNotThen(pod, around)], remedy: restart(pod) }
}

/** What keeps the API server from asking the webhook now. */
function keptAway(
  pod: ClusterPod,
  { webhooks, labels, readyReplicas, systemNamespace }: Surroundings,
): { reason: string; remedy: string } | undefined {
  if (webhooks === undefined || webhooks.length === 0)
    return {
      reason: `there is no MutatingWebhookConfiguration ${inSystem.webhookConfiguration}: nobody is asked`,
      remedy: "'outrigger install'",
    }
  const own = pod.metadata?.labels ?? {}
  const called = webhooks.filter(
    (webhook) => matches(webhook.namespaceSelector, labels) && matches(webhook.objectSelector, own),
  )
  if (called.length === 0)
    return {
      reason: `no webhook of ${inSystem.webhookConfiguration} selects it, although its labels ask for it: the selectors were changed`,
      remedy: "'outrigger install' writes them again",
    }
  if (called.every(({ clientConfig }) => (clientConfig?.caBundle ?? '') === ''))
    return {
      reason: 'the webhook has no caBundle: the API server cannot call it',
      remedy: "'outrigger check' says what keeps it",
    }
  if (readyReplicas === 0) {
    const policy = called.some(({ failurePolicy }) => failurePolicy === 'Ignore')
      ? 'failurePolicy Ignore: Pods start without a sidecar'
      : 'failurePolicy Fail: no Pod of the mesh is created'
    return {
      reason: `no replica of the control plane is ready in ${systemNamespace} (${policy})`,
      remedy: "'outrigger check'",
    }
  }
  return undefined
}

/** All is well now; when the Pod was made something was not. */
function whyNotThen(pod: ClusterPod, { labelledAt, labels, webhooks = [] }: Surroundings): string {
  const created = pod.metadata?.creationTimestamp ?? ''
  const ownLabel = pod.metadata?.labels?.[marks.inject] !== undefined
  if (!ownLabel && labelledAt !== '' && Date.parse(labelledAt) > Date.parse(created))
    return `it is older (${created}) than its Namespace's label ${marks.inject}: ${labels[marks.inject]} (${labelledAt})`
  const ignores = webhooks.some(({ failurePolicy }) => failurePolicy === 'Ignore')
  return ignores
    ? `it was created (${created}) when the webhook did not answer: failurePolicy Ignore let it pass`
    : `it was created (${created}) before the webhook was there, or before the label`
}

function askedBy(pod: ClusterPod, labels: Labels, namespace: string): string {
  const own = pod.metadata?.labels?.[marks.inject]
  if (own !== undefined) return `its label ${marks.inject} is "${own}"`
  const given = labels[marks.inject]
  return given === undefined
    ? 'offline: no label asks for it'
    : `the label ${marks.inject} of Namespace ${namespace} is "${given}"`
}

function restart(pod: ClusterPod): string {
  const owner = pod.metadata?.ownerReferences?.[0]
  if (owner === undefined) return 'delete it and create it again'
  const workload =
    owner.kind === 'ReplicaSet'
      ? `deployment/${owner.name.replace(/-[a-z0-9]+$/, '')}`
      : `${owner.kind.toLowerCase()}/${owner.name}`
  return `kubectl -n ${pod.metadata?.namespace ?? ''} rollout restart ${workload}`
}

function withRemedy(code: string, namespace: string): { remedy?: string } {
  const remedies: Readonly<Record<string, string>> = {
    'no-label': `kubectl label namespace ${namespace} ${marks.inject}=enabled, then restart its workloads`,
    'namespace-label': `kubectl label --overwrite namespace ${namespace} ${marks.inject}=enabled, then restart its workloads`,
    'pod-label': `take the label out of the Pod's template, or set it to "true"`,
    'invalid-label': `set the label in the Pod's template to "true" or "false"`,
    'host-network': "none: its traffic is the node's; take hostNetwork away if it need not be so",
    'proxy-user': "choose another runAsUser in the Pod's template",
    'invalid-annotation': "correct the annotation in the Pod's template",
    'container-name': "rename the container in the Pod's template",
  }
  const remedy = remedies[code]
  return remedy === undefined ? {} : { remedy }
}

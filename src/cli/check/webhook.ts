/** The injection webhook, from the side of the API server. */
import { connect } from 'node:tls'
import type { ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import { inSystem } from '../../base/kubernetes-names.ts'
import { messageOf } from '../../base/log.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { type ClusterPod, found, isReady, nameOf } from '../cluster/pods.ts'
import { Forward } from '../cluster/port-forward.ts'
import { type Finding, failed, type Group, ok, skipped, warning } from './report.ts'

/** As much of a webhook as decides which Pods it sees. */
export interface Webhook {
  readonly name: string
  readonly failurePolicy?: string
  readonly clientConfig?: {
    readonly caBundle?: string
    readonly service?: { readonly name: string; readonly namespace: string; readonly path?: string }
  }
  readonly namespaceSelector?: Selector
  readonly objectSelector?: Selector
}

/** A label selector (meta/v1). */
export interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly {
    readonly key: string
    readonly operator: string
    readonly values?: readonly string[]
  }[]
}

const webhookPort = 15_017

/** Our webhooks; undefined: there is no such configuration. */
export async function readWebhooks({ cluster }: OpenedCluster): Promise<readonly Webhook[] | undefined> {
  const name = inSystem.webhookConfiguration
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`
  const configuration = await found<ApiObject>(cluster, path)
  return configuration === undefined ? undefined : ((configuration['webhooks'] ?? []) as readonly Webhook[])
}

/** Whether the API server can call it. */
export async function checkWebhook(opened: OpenedCluster, pods: readonly ClusterPod[]): Promise<Group> {
  const name = 'Injection webhook'
  const webhooks = await readWebhooks(opened)
  if (webhooks === undefined || webhooks.length === 0)
    return {
      name,
      findings: [
        failed(
          `there is no MutatingWebhookConfiguration ${inSystem.webhookConfiguration}: nothing is injected`,
          "'outrigger install' writes it",
        ),
      ],
    }
  const findings: Finding[] = []
  const empty = webhooks.filter(({ clientConfig }) => (clientConfig?.caBundle ?? '') === '')
  if (empty.length > 0) {
    const remedy = `the leading replica writes it within seconds: kubectl -n ${opened.systemNamespace} logs deployment/${inSystem.name} says what keeps it`
    findings.push(
      failed(`${empty.map((one) => one.name).join(', ')}: no caBundle, so the API server cannot call it`, remedy),
    )
  } else {
    findings.push(await checkCertificate(opened, webhooks, pods))
  }
  const ignores = webhooks.filter(({ failurePolicy }) => failurePolicy === 'Ignore')
  findings.push(
    ignores.length === 0
      ? ok('failurePolicy Fail: while no replica answers, Pods of the mesh are not created')
      : warning(
          'failurePolicy Ignore: while no replica answers, Pods start without a sidecar',
          'set the value webhook.failurePolicy=Fail, unless that is what you want',
        ),
  )
  return { name, findings }
}

/** The certificate that a replica shows must be the one that the API server is told to trust. */
async function checkCertificate(
  opened: OpenedCluster,
  webhooks: readonly Webhook[],
  pods: readonly ClusterPod[],
): Promise<Finding> {
  const pod = pods.find(isReady)
  if (pod === undefined) return skipped('no replica is ready whose certificate could be looked at', 'see Control plane')
  const service = `${inSystem.name}.${opened.systemNamespace}.svc`
  const target = { namespace: opened.systemNamespace, pod: nameOf(pod), port: webhookPort }
  await using forward = await Forward.open(opened.cluster, target)
  for (const { name, clientConfig } of webhooks) {
    const ca = Buffer.from(clientConfig?.caBundle ?? '', 'base64').toString('utf8')
    const reason = await handshake(forward, ca, service)
    if (reason !== undefined)
      return failed(
        `the certificate of ${nameOf(pod)} is not the one that ${name} trusts: ${reason}`,
        'the leading replica writes caBundle every 5 s: does something else write it, a GitOps tool say? Let it ignore that field',
      )
  }
  return ok(`caBundle is that of the certificate which ${nameOf(pod)} shows`)
}

/** Undefined: the certificate is for the name and from the root. */
async function handshake(forward: Forward, ca: string, servername: string): Promise<string | undefined> {
  const [host = '', port = ''] = forward.address.split(':')
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  try {
    const socket = connect({ host, port: Number(port), ca, servername, timeout: 10_000 })
    socket.once('secureConnect', () => resolve(undefined))
    socket.once('timeout', () => resolve('no answer within 10 s'))
    socket.once('error', (error) => resolve(forward.failure === '' ? messageOf(error) : forward.failure))
    const reason = await promise
    socket.destroy()
    return reason
  } catch (error) {
    // What is no PEM at all.
    return messageOf(error)
  }
}

/** Whether a selector matches labels, as the API server decides. */
export function matches(selector: Selector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {}
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined
      if (operator === 'In') return value !== undefined && values.includes(value)
      if (operator === 'NotIn') return value === undefined || !values.includes(value)
      if (operator === 'Exists') return value !== undefined
      return value === undefined
    })
  )
}

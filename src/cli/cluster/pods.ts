/** Pods by the names that people write. */
import type { Pod } from '../../../control-plane/inject/pod.ts'
import { type Api, ApiError, type ApiList, type ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import { resourcePath } from '../../../control-plane/kubernetes/resource-path.ts'
import { closest } from '../../api/documents/closest.ts'
import { marks } from '../../base/kubernetes-names.ts'

/** A Pod as the API server tells it: what the command reads of it. */
export interface ClusterPod extends ApiObject {
  readonly spec?: {
    readonly nodeName?: string
    readonly hostNetwork?: boolean
    readonly serviceAccountName?: string
    readonly containers?: readonly { readonly name: string; readonly image?: string }[]
    readonly initContainers?: readonly { readonly name: string; readonly image?: string }[]
  }
  readonly status?: {
    readonly phase?: string
    readonly podIP?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
  }
}

export interface ContainerStatus {
  readonly name: string
  readonly ready?: boolean
  readonly restartCount?: number
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string }
    readonly terminated?: { readonly reason?: string; readonly exitCode?: number }
  }
}

/** `NS/POD`, `POD.NS`, or `POD` in the namespace that is meant. */
export interface PodName {
  readonly namespace: string
  readonly name: string
}

const podTraits = { apiVersion: 'v1', plural: 'pods', scope: 'Namespaced' } as const

/** The Pod of a name. Throws an Error that names those that are close. */
export async function findPod(api: Api, word: string, namespace: string): Promise<ClusterPod> {
  const tried = podNames(word, namespace)
  for (const { namespace: ns, name } of tried) {
    const pod = await found<ClusterPod>(api, resourcePath(podTraits, ns, name))
    if (pod !== undefined) return pod
  }
  // NAME.NS, unless nothing is there: then it was a name with a dot.
  const answers = await Promise.all(tried.toReversed().map((one) => noSuchPod(api, one)))
  throw new Error((answers.find(({ isEmpty }) => !isEmpty) ?? answers.at(-1))?.message)
}

/** All that a word can mean, the likeliest first: names of Pods may have dots, too. */
export function podNames(word: string, namespace: string): readonly PodName[] {
  const bare = word.replace(/^(?:pods?|po)\//, '')
  const slash = bare.indexOf('/')
  if (slash !== -1) return [{ namespace: bare.slice(0, slash), name: bare.slice(slash + 1) }]
  const dot = bare.lastIndexOf('.')
  const whole = { namespace, name: bare }
  return dot < 1 ? [whole] : [whole, { namespace: bare.slice(dot + 1), name: bare.slice(0, dot) }]
}

async function noSuchPod(api: Api, { namespace, name }: PodName): Promise<{ message: string; isEmpty: boolean }> {
  const names = (await listAll<ClusterPod>(api, resourcePath(podTraits, namespace))).map(nameOf).sort()
  // A Pod of a Deployment is rarely named whole.
  const starting = names.filter((one) => one.startsWith(`${name}-`))
  const near = starting.length > 0 ? starting : [closest(name, names)].filter((one) => one !== undefined)
  const here = `no Pod ${name} in namespace ${namespace}`
  const isEmpty = names.length === 0
  if (near.length > 0) return { message: `${here}; did you mean ${near.slice(0, 5).join(', ')}?`, isEmpty }
  if (isEmpty) return { message: `no Pod ${name}: namespace ${namespace} has none; choose another with -n`, isEmpty }
  const more = names.length > 10 ? ', ...' : ''
  return { message: `${here}; there are: ${names.slice(0, 10).join(', ')}${more}`, isEmpty }
}

/** The object at a path; undefined when there is none. */
export async function found<T extends ApiObject>(api: Api, path: string): Promise<T | undefined> {
  try {
    return await api.ask<T>('GET', path)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

/** Every object of a collection, page by page. */
export async function listAll<T extends ApiObject>(
  api: Api,
  path: string,
  query: Readonly<Record<string, string>> = {},
): Promise<T[]> {
  const items: T[] = []
  let next: string | undefined
  do {
    const page: ApiList = await api.ask<ApiList>('GET', path, { query: { ...query, limit: 500, continue: next } })
    items.push(...((page.items ?? []) as readonly T[]))
    next = page.metadata?.continue === '' ? undefined : page.metadata?.continue
  } while (next !== undefined)
  return items
}

export function nameOf({ metadata }: ApiObject): string {
  return metadata?.name ?? ''
}

/** `NS/NAME` */
export function keyOf({ metadata }: ApiObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
}

export function isReady(pod: ClusterPod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
}

/** What injection has written into the Pod; undefined: it has no sidecar of ours. */
export function sidecarMark(pod: ApiObject): { readonly hash?: string; readonly inbound?: boolean } | undefined {
  const mark = pod.metadata?.annotations?.[marks.status]
  if (mark === undefined) return undefined
  try {
    return (JSON.parse(mark) ?? {}) as { hash?: string; inbound?: boolean }
  } catch {
    return {}
  }
}

/** The same Pod in the words of injection: both describe an object of the API, each as much of it as it reads. */
export function asPod(pod: ClusterPod): Pod {
  return pod as unknown as Pod
}

/** The reverse. */
export function asClusterPod(pod: Pod): ClusterPod {
  return pod as unknown as ClusterPod
}

/** Ends by itself or has ended: nobody's endpoint. */
export function hasEnded(pod: ClusterPod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** What the parts of the control plane ask of a cluster, in terms of its API. */

import type { Clock } from '../src/base/clock.ts'
import { inSystem } from '../src/base/kubernetes-names.ts'
import type { SecretObject, SecretStore } from './identity/authority-secret.ts'
import type { RootStore } from './identity/root-publisher.ts'
import type { ReviewToken, TokenReviewStatus } from './identity/token-review.ts'
import { type Api, ApiError, type ApiList, type ApiObject } from './kubernetes/cluster.ts'
import { Reflector } from './sources/kubernetes/reflector.ts'

const rootLabel = 'outrigger.dev/root'
const fieldManager = 'outrigger'
/** A sidecar waits 10 s for its certificate. */
const reviewMs = 8_000

export function reviewWith(api: Api): ReviewToken {
  return async (token, audience) => {
    try {
      const review = await api.ask('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } },
        timeoutMs: reviewMs,
      })
      return (review['status'] as TokenReviewStatus | undefined) ?? {}
    } catch (error) {
      // What the API server says of a request may repeat parts of it: this one has a secret in it.
      if (error instanceof ApiError)
        throw new Error(
          `TokenReview answered ${error.status} ${error.reason}: see the ClusterRole of the control plane`,
        )
      throw error
    }
  }
}

export function secretStore(api: Api, clock: Clock, namespace: string, name: string): SecretStore {
  const path = `/api/v1/namespaces/${namespace}/secrets`
  const body = { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls' }
  return {
    name: `${namespace}/${name}`,
    read: async () => {
      const secret = await found(api.ask('GET', `${path}/${name}`))
      return secret === undefined ? undefined : secretOf(secret)
    },
    create: ({ data, annotations }) =>
      unlessConflict(api.ask('POST', path, { body: { ...body, metadata: { name, namespace, annotations }, data } })),
    replace: ({ data, annotations, resourceVersion }) =>
      unlessConflict(
        api.ask('PUT', `${path}/${name}`, {
          body: { ...body, metadata: { name, namespace, annotations, resourceVersion }, data },
        }),
      ),
    watch: (heard) => {
      const reflector = new Reflector<SecretObject>({
        api,
        path,
        query: { fieldSelector: `metadata.name=${name}` },
        clock,
        keep: secretOf,
        onChange: () => {
          if (reflector.failure === undefined) heard(reflector.get(`${namespace}/${name}`))
        },
      })
      reflector.start()
      return { [Symbol.dispose]: () => reflector.stop() }
    },
  }
}

function secretOf({ metadata, ...secret }: ApiObject): SecretObject {
  return {
    data: (secret['data'] as SecretObject['data'] | undefined) ?? {},
    annotations: metadata?.annotations ?? {},
    resourceVersion: metadata?.resourceVersion ?? '',
  }
}

/** False: somebody else was faster. */
async function unlessConflict(written: Promise<unknown>): Promise<boolean> {
  try {
    await written
    return true
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) return false
    throw error
  }
}

export function rootStore(api: Api, namespaces: () => Iterable<string>): RootStore {
  return {
    namespaces,
    list: async () => {
      const { items = [] } = await api.ask<ApiList>('GET', '/api/v1/configmaps', {
        // By name, so that a role can be held to this one name (resourceNames).
        query: { fieldSelector: `metadata.name=${inSystem.rootConfigMap}` },
      })
      return new Map(
        items.map(({ metadata, data }) => [
          metadata?.namespace ?? '',
          (data as Readonly<Record<string, string>> | undefined)?.['root.pem'] ?? '',
        ]),
      )
    },
    write: async (namespace, rootPem) => {
      const name = inSystem.rootConfigMap
      await api.ask('PATCH', `/api/v1/namespaces/${namespace}/configmaps/${name}`, {
        query: { fieldManager, force: true },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name, namespace, labels: { [rootLabel]: 'true' } },
          data: { 'root.pem': rootPem },
        },
      })
    },
  }
}

/** Labels of a Namespace, now; undefined when they cannot be had. */
export async function readNamespaceLabels(
  api: Api,
  namespace: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  try {
    // A webhook is waited for.
    const { metadata } = await api.ask('GET', `/api/v1/namespaces/${namespace}`, { timeoutMs: 2_000 })
    return metadata?.labels ?? {}
  } catch {
    return undefined
  }
}

/**
 * Puts the roots of the webhook's certificate into its configuration, where they are not already; `onlyLook` leaves that to
 * somebody else.
 */
export async function patchCaBundle(
  api: Api,
  name: string,
  rootPem: string,
  onlyLook = false,
): Promise<'same' | 'patched' | 'different' | 'absent'> {
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`
  const configuration = await found(api.ask('GET', path))
  if (configuration === undefined) return 'absent'
  const webhooks = (configuration['webhooks'] ?? []) as readonly {
    name: string
    clientConfig?: { caBundle?: string }
  }[]
  const bundle = Buffer.from(rootPem).toString('base64')
  const patch = webhooks.flatMap(({ name, clientConfig }, at) =>
    clientConfig?.caBundle === bundle
      ? []
      : [
          // It may have been replaced since it was read: the patch is for these webhooks in this order.
          { op: 'test', path: `/webhooks/${at}/name`, value: name },
          { op: 'add', path: `/webhooks/${at}/clientConfig/caBundle`, value: bundle },
        ],
  )
  if (patch.length === 0) return 'same'
  if (onlyLook) return 'different'
  await api.ask('PATCH', path, { contentType: 'application/json-patch+json', body: patch })
  return 'patched'
}

async function found(answer: Promise<ApiObject>): Promise<ApiObject | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

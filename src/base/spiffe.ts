/**
 * Names of workloads: SPIFFE ids of the one form that the mesh gives out,
 * `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT` (the form of Istio).
 * Strict: what is not exactly of this form has no identity (SPIFFE-ID standard, section 2).
 */
export interface SpiffeId {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

// The whole id has at most 2,048 bytes and the trust domain 255 (SPIFFE-ID section 2.3). Segments are Kubernetes names:
// RFC 1123 labels for namespaces, subdomains for service accounts. Both are case-sensitive, so lower case only.
const trustDomainPattern = /^(?=.{1,255}$)[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/
const namespacePattern = /^(?=.{1,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const serviceAccountPattern = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/
const idPattern = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/

/** The parts of an id; undefined when the text is not exactly one. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > 2048) return undefined
  const match = idPattern.exec(text)
  if (match === null) return undefined
  const [, trustDomain = '', namespace = '', serviceAccount = ''] = match
  if (!isTrustDomain(trustDomain)) return undefined
  if (!namespacePattern.test(namespace) || !serviceAccountPattern.test(serviceAccount)) return undefined
  return { trustDomain, namespace, serviceAccount }
}

/** The id as text. Throws when a part could not stand in one. */
export function printSpiffeId(id: SpiffeId): string {
  const text = `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`
  if (parseSpiffeId(text) === undefined) {
    throw new Error(
      `'${id.namespace}/${id.serviceAccount}' in trust domain '${id.trustDomain}' makes no identity: ` +
        'expected lower-case letters, digits and hyphens, as in Kubernetes names',
    )
  }
  return text
}

/** Whether the text can be a trust domain, e.g. `cluster.local`. */
export function isTrustDomain(text: string): boolean {
  return trustDomainPattern.test(text)
}

/**
 * Whether an id is the one that a policy names. `*` stands for any run of characters, at the start or at the end
 * only, and alone for any id (AuthorizationPolicy of Istio, `principals`). Case-sensitive.
 */
export function matchSpiffeId(pattern: string, id: string): boolean {
  if (id === '') return false
  if (pattern === '*') return true
  if (pattern.startsWith('*')) return id.endsWith(pattern.slice(1))
  if (pattern.endsWith('*')) return id.startsWith(pattern.slice(0, -1))
  return pattern === id
}

/** Who the control plane is, without the trust domain. No token and no certificate is ever given out for it to anyone else. */
export const controlPlaneWorkload = {
  namespace: 'outrigger-system',
  serviceAccount: 'outrigger-control-plane',
} as const

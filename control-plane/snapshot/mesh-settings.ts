/** What holds for the whole mesh and stands in no document. */
export interface MeshSettings {
  /** "cluster.local" in `spiffe://cluster.local/ns/...`. */
  readonly trustDomain: string
  /** PEM of every root to trust. */
  readonly trustBundle: string
  /** Suffix of service names: `orders.shop.svc.cluster.local`. */
  readonly clusterDomain: string
  /** What happens to a destination that no Service names. */
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
}

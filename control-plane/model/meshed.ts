import type { DocumentOf } from '../../src/api/documents/document.ts'
import { marks } from '../../src/base/kubernetes-names.ts'
import type { DocumentIndex } from './document-index.ts'

/**
 * Whether a Pod has a sidecar, as declared: its own label decides, then the annotation that the injector leaves, then
 * its Namespace's label. Declared and never derived from live streams: an endpoint whose sidecar is down must not
 * become plaintext.
 */
export function isMeshed(index: DocumentIndex, pod: DocumentOf<'Pod'>): boolean {
  const label = pod.value.metadata.labels?.[marks.inject]
  if (label !== undefined) return label === 'true'
  if (pod.value.metadata.annotations?.[marks.status] !== undefined) return true
  return index.find('Namespace', '', pod.namespace)?.value.metadata.labels?.[marks.inject] === 'enabled'
}

/** `spiffe://TD/ns/NS/sa/SA` (SPIFFE-ID; the same layout as Istio's). */
export function spiffeId(trustDomain: string, pod: DocumentOf<'Pod'>): string {
  return `spiffe://${trustDomain}/ns/${pod.namespace}/sa/${pod.value.spec.serviceAccountName}`
}

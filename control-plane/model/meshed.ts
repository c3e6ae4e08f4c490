import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { DocumentIndex } from './document-index.ts'

const injectLabel = 'outrigger.dev/inject'
const statusAnnotation = 'outrigger.dev/status'

/**
 * Whether a Pod has a sidecar, as declared: its own label decides, then the annotation that the injector leaves, then
 * its Namespace's label. Declared and never derived from live streams: an endpoint whose sidecar is down must not
 * become plaintext.
 */
export function isMeshed(index: DocumentIndex, pod: DocumentOf<'Pod'>): boolean {
  const label = pod.value.metadata.labels?.[injectLabel]
  if (label !== undefined) return label === 'true'
  if (pod.value.metadata.annotations?.[statusAnnotation] !== undefined) return true
  return index.find('Namespace', '', pod.namespace)?.value.metadata.labels?.[injectLabel] === 'enabled'
}

/** `spiffe://TD/ns/NS/sa/SA` (SPIFFE-ID; the same layout as Istio's). */
export function spiffeId(trustDomain: string, pod: DocumentOf<'Pod'>): string {
  return `spiffe://${trustDomain}/ns/${pod.namespace}/sa/${pod.value.spec.serviceAccountName}`
}

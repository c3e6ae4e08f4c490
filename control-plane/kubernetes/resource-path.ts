import type { KindTraits } from '../../src/api/policy/kinds.ts'

/** `/api/v1/...` or `/apis/GROUP/VERSION/...`, of all namespaces or of one. */
export function resourcePath(
  { apiVersion, plural, scope }: Pick<KindTraits, 'apiVersion' | 'plural' | 'scope'>,
  namespace?: string,
  name?: string,
): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const inside = namespace === undefined || scope === 'Cluster' ? '' : `/namespaces/${namespace}`
  return `${root}${inside}/${plural}${name === undefined ? '' : `/${name}`}`
}

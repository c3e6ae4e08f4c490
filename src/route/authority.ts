/** A Service and the port that was called. */
export interface ServiceName {
  readonly namespace: string
  readonly name: string
  readonly port: number
}

export interface AuthorityScope {
  /** Namespace of the caller: a short name is in it. */
  readonly namespace: string
  /** E.g. `cluster.local`. */
  readonly clusterDomain: string
}

/**
 * Which Service an authority names: `svc`, `svc.ns`, `svc.ns.svc`, `svc.ns.svc.DOMAIN`, each with an optional
 * `:port` (80 without; Kubernetes DNS names, one trailing dot allowed). undefined = not the name of a Service.
 */
export function serviceOf(authority: string, scope: AuthorityScope): ServiceName | undefined {
  if (authority.startsWith('[')) return undefined
  const colon = authority.indexOf(':')
  let host = (colon === -1 ? authority : authority.slice(0, colon)).toLowerCase()
  const port = colon === -1 ? 80 : portOf(authority.slice(colon + 1))
  if (port === undefined) return undefined
  if (host.endsWith('.')) host = host.slice(0, -1)

  const labels = host.split('.')
  const [name, namespace = scope.namespace, svc] = labels
  if (svc !== undefined && svc !== 'svc') return undefined
  if (labels.length > 3 && labels.slice(3).join('.') !== scope.clusterDomain.toLowerCase()) return undefined
  if (!isLabel(name!) || !isLabel(namespace)) return undefined
  return { namespace, name: name!, port }
}

function portOf(text: string): number | undefined {
  if (!/^[0-9]{1,5}$/.test(text)) return undefined
  const port = Number(text)
  return port >= 1 && port <= 65_535 ? port : undefined
}

/** RFC 1123 label; one that is all digits is an address's part, not a name. */
function isLabel(text: string): boolean {
  return text.length <= 63 && /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(text) && !/^[0-9]+$/.test(text)
}

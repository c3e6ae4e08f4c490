type Labels = Readonly<Record<string, string>> | undefined

/** Name under which a workload's traffic is counted: Istio's canonical service, by the same chain of labels. */
export function canonicalService(labels: Labels, workload: string): string {
  return (
    labels?.['service.istio.io/canonical-name'] ?? labels?.['app.kubernetes.io/name'] ?? labels?.['app'] ?? workload
  )
}

/** Version under which a workload's traffic is counted: Istio's canonical revision. */
export function canonicalRevision(labels: Labels): string {
  return (
    labels?.['service.istio.io/canonical-revision'] ??
    labels?.['app.kubernetes.io/version'] ??
    labels?.['version'] ??
    'latest'
  )
}

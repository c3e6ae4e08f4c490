import type { Container, Pod, Probe } from '../../../control-plane/inject/pod.ts'
import { type AppProbe, readAppProbes } from '../../api/app-probe.ts'
import { inPod, marks } from '../../base/kubernetes-names.ts'

const added = new Set<string>([inPod.proxyContainer, inPod.initContainer])
const fields = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const

/** An injected Pod as it was before, so far as injection looks at it: to see what it would write today. */
export function uninjected(pod: Pod): Pod {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]
  const written = containers
    .find(({ name }) => name === inPod.proxyContainer)
    ?.env?.find(({ name }) => name === 'OUTRIGGER_APP_PROBES')?.value
  // What cannot be read counts as none: then it differs, which is so.
  const probes = written === undefined ? {} : readAppProbes(written, () => {})
  const { [marks.status]: _, ...annotations } = pod.metadata?.annotations ?? {}
  const own = (list: readonly Container[] = []): Container[] =>
    list.filter(({ name }) => !added.has(name)).map((container) => withProbes(container, probes))
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations, labels: { ...pod.metadata?.labels, [marks.inject]: 'true' } },
    spec: {
      ...pod.spec,
      initContainers: own(pod.spec?.initContainers),
      containers: own(pod.spec?.containers),
      volumes: (pod.spec?.volumes ?? []).filter(({ name }) => !name.startsWith('outrigger-')),
    },
  }
}

function withProbes(container: Container, probes: Readonly<Record<string, AppProbe>>): Container {
  const restored: Record<string, Probe> = {}
  for (const [field, word] of Object.entries(fields)) {
    const probe = container[field as keyof typeof fields]
    const meant = probes[`/app-health/${container.name}/${word}`]
    if (probe === undefined || meant === undefined) continue
    const { httpGet: _, ...timing } = probe
    restored[field] = { ...timing, ...handler(meant) }
  }
  return { ...container, ...restored }
}

function handler(probe: AppProbe): Probe {
  if (probe.kind === 'tcp') return { tcpSocket: { port: probe.port } }
  if (probe.kind === 'grpc') return { grpc: { port: probe.port, service: probe.service } }
  const { port, path, tls, headers } = probe
  const httpHeaders = headers.map(([name, value]) => ({ name, value }))
  return { httpGet: { port, path, scheme: tls ? 'HTTPS' : 'HTTP', httpHeaders } }
}

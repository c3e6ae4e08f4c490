import type { DocumentOf } from '../../src/api/documents/document.ts'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import type { DocumentIndex } from './document-index.ts'
import { documentKey, objectKey } from './document-key.ts'
import type { ModelEndpoint } from './endpoints.ts'
import { opaquePorts, servicePortProtocol } from './opaque-ports.ts'
import { selectPods } from './selection.ts'
import { meshPorts, type ServicePortValue } from './service-ports.ts'

/** A port on which a workload is reached, and the Service that says so; undefined when only the Pod's annotation does. */
export interface WorkloadPort {
  readonly port: number
  readonly protocol: Protocol
  readonly service: DocumentOf<'Service'> | undefined
}

/** What Services say about their workloads. */
export interface WorkloadIndex {
  /** By `Pod/NS/NAME`, in the order of ports. */
  readonly ports: ReadonlyMap<string, readonly WorkloadPort[]>
  /** The Pods behind a Service, by the Service's `NS/NAME`. */
  readonly podsByService: ReadonlyMap<string, ReadonlySet<DocumentOf<'Pod'>>>
  /** Ports of a Service that a Pod behind it declares opaque, by the Service's `NS/NAME`, in their order. */
  readonly opaque: ReadonlyMap<string, readonly number[]>
}

/**
 * Finds the Pods behind each Service, by its endpoints and by its selector, and the ports on which each is reached.
 * When two Services share a port of a Pod, the older one names it.
 */
export function indexWorkloads(
  index: DocumentIndex,
  endpoints: ReadonlyMap<string, readonly ModelEndpoint[]>,
): WorkloadIndex {
  const ports = new Map<string, Map<number, WorkloadPort>>()
  const podsByService = new Map<string, Set<DocumentOf<'Pod'>>>()
  const opaque = new Map<string, Set<number>>()
  for (const service of index.all('Service')) {
    const pods = new Set<DocumentOf<'Pod'>>()
    podsByService.set(objectKey(service), pods)
    const add = (pod: DocumentOf<'Pod'>, port: ServicePortValue, dialled: number | undefined) => {
      pods.add(pod)
      if (dialled === undefined) return
      const isOpaque = opaquePorts(pod).has(dialled)
      if (isOpaque) opaque.set(objectKey(service), (opaque.get(objectKey(service)) ?? new Set()).add(port.port))
      const known = ports.get(documentKey(pod)) ?? new Map<number, WorkloadPort>()
      ports.set(documentKey(pod), known)
      if (known.has(dialled)) return
      const protocol = isOpaque ? Protocol.TCP : servicePortProtocol(service, port)
      known.set(dialled, { port: dialled, protocol, service })
    }
    const selected = selectedPods(index, service)
    for (const port of meshPorts(service)) {
      for (const endpoint of endpoints.get(objectKey(service)) ?? []) {
        if (endpoint.pod !== undefined) add(endpoint.pod, port, endpoint.ports.get(port.port))
      }
      for (const pod of selected) add(pod, port, targetPort(port, pod))
    }
  }
  for (const pod of index.all('Pod')) addUnnamed(pod, ports)
  return {
    ports: new Map([...ports].map(([key, named]) => [key, inOrder(named)])),
    podsByService,
    opaque: new Map([...opaque].map(([key, numbers]) => [key, [...numbers].sort((a, b) => a - b)])),
  }
}

/** Ports that no Service leads to are opaque, too, when the Pod says so. */
function addUnnamed(pod: DocumentOf<'Pod'>, ports: Map<string, Map<number, WorkloadPort>>): void {
  for (const port of opaquePorts(pod)) {
    const known = ports.get(documentKey(pod)) ?? new Map<number, WorkloadPort>()
    ports.set(documentKey(pod), known)
    if (!known.has(port)) known.set(port, { port, protocol: Protocol.TCP, service: undefined })
  }
}

/** An empty selector selects nothing (Service API): its endpoints are kept by hand. */
function selectedPods(index: DocumentIndex, service: DocumentOf<'Service'>): readonly DocumentOf<'Pod'>[] {
  const labels = service.value.spec.selector ?? {}
  return Object.keys(labels).length === 0 ? [] : selectPods(index, service.namespace, labels)
}

function targetPort(port: ServicePortValue, pod: DocumentOf<'Pod'>): number | undefined {
  const target = port.targetPort ?? port.port
  if (typeof target === 'number') return target
  for (const container of pod.value.spec.containers ?? []) {
    const named = container.ports?.find((p) => p.name === target)
    if (named !== undefined) return named.containerPort
  }
  return undefined
}

function inOrder(ports: ReadonlyMap<number, WorkloadPort>): WorkloadPort[] {
  return [...ports.values()].sort((a, b) => a.port - b.port)
}

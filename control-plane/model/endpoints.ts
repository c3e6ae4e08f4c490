import { isIP } from 'node:net'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { serviceNameLabel } from '../../src/api/policy/endpoint-slice.ts'
import type { DocumentIndex } from './document-index.ts'
import { objectKey } from './document-key.ts'
import { meshPorts } from './service-ports.ts'
import { sameFields } from './sharing.ts'

type SliceEndpoint = DocumentOf<'EndpointSlice'>['value']['endpoints'][number]

/** One address behind a Service. */
export interface ModelEndpoint {
  readonly address: string
  /** Service port -> port to dial, in the order of the Service's ports. */
  readonly ports: ReadonlyMap<number, number>
  /** Undefined when the slice names none, or one that is unknown. */
  readonly pod: DocumentOf<'Pod'> | undefined
  /** The name that the slice gives, also for a Pod that is unknown. */
  readonly workload: string
  readonly ready: boolean
  /** Its Pod is ending and answers still. */
  readonly ending: boolean
  readonly zone: string
}

/** The Service of an EndpointSlice, by its label; undefined when it has none or names one that does not exist. */
export function serviceOf(index: DocumentIndex, slice: DocumentOf<'EndpointSlice'>): DocumentOf<'Service'> | undefined {
  const name = slice.value.metadata.labels?.[serviceNameLabel]
  return name === undefined ? undefined : index.find('Service', slice.namespace, name)
}

/** The Pod that an endpoint stands for: `targetRef`, in the slice's namespace unless it names another. */
export function podReference(
  slice: DocumentOf<'EndpointSlice'>,
  endpoint: SliceEndpoint,
): { readonly namespace: string; readonly name: string } | undefined {
  const ref = endpoint.targetRef
  if (ref?.name === undefined || (ref.kind !== undefined && ref.kind !== 'Pod')) return undefined
  return { namespace: ref.namespace ?? slice.namespace, name: ref.name }
}

/** Service port -> port to dial. A Service port and a slice's port belong together by name ('' = unnamed). */
export function dialPorts(service: DocumentOf<'Service'>, slice: DocumentOf<'EndpointSlice'>): Map<number, number> {
  const ports = new Map<number, number>()
  for (const port of meshPorts(service)) {
    const found = slice.value.ports.find((p) => (p.name ?? '') === (port.name ?? '') && (p.protocol ?? 'TCP') === 'TCP')
    if (found?.port !== undefined && found.port !== null) ports.set(port.port, found.port)
  }
  return ports
}

/** The endpoints of every Service, by `NS/NAME`, each in the order of slices and entries. */
export function endpointsByService(index: DocumentIndex): ReadonlyMap<string, readonly ModelEndpoint[]> {
  const services = new Map<string, Map<string, ModelEndpoint[]>>()
  for (const slice of index.all('EndpointSlice')) {
    const service = serviceOf(index, slice)
    // Names would have to be resolved at every caller; Kubernetes has deprecated the type.
    if (service === undefined || slice.value.addressType === 'FQDN') continue
    const ports = dialPorts(service, slice)
    let groups = services.get(objectKey(service))
    if (groups === undefined) services.set(objectKey(service), (groups = new Map<string, ModelEndpoint[]>()))
    for (const entry of slice.value.endpoints) {
      if (isIP(entry.addresses[0]!) === 0) continue
      const endpoint = modelEndpoint(index, slice, entry, ports)
      const key = `${endpoint.address} ${endpoint.workload}`
      groups.set(key, joined(groups.get(key) ?? [], endpoint))
    }
  }
  return new Map([...services].map(([name, groups]) => [name, withLastResort([...groups.values()].flat())]))
}

/**
 * Where no endpoint is ready, those that are ending and still answer take the traffic (KEP-1669; kube-proxy does the same): a
 * Service whose last Pods end at once loses nothing before they are gone.
 */
function withLastResort(endpoints: readonly ModelEndpoint[]): readonly ModelEndpoint[] {
  if (endpoints.some(({ ready }) => ready)) return endpoints
  return endpoints.map((endpoint) => (endpoint.ending ? { ...endpoint, ready: true } : endpoint))
}

function modelEndpoint(
  index: DocumentIndex,
  slice: DocumentOf<'EndpointSlice'>,
  entry: SliceEndpoint,
  ports: ReadonlyMap<number, number>,
): ModelEndpoint {
  const ref = podReference(slice, entry)
  const pod = ref === undefined ? undefined : index.find('Pod', ref.namespace, ref.name)
  const { ready, serving, terminating } = entry.conditions ?? {}
  // A Pod of which nothing is known yet, or nothing any more, could have a sidecar: it would be dialled in plaintext.
  const known = ref === undefined || pod !== undefined
  return {
    // "Clients may choose to only use the first element" (EndpointSlice API); kube-proxy does the same.
    address: entry.addresses[0]!,
    ports,
    pod,
    workload: ref?.name ?? '',
    ready: known && (ready ?? true) && terminating !== true,
    ending: known && (serving ?? ready ?? true) && terminating === true,
    zone: entry.zone ?? '',
  }
}

/** Whether two say the same. */
export function sameEndpoint(a: ModelEndpoint, b: ModelEndpoint): boolean {
  return sameFields({ ...a, ports: undefined }, { ...b, ports: undefined }) && samePorts(a.ports, b.ports)
}

function samePorts(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): boolean {
  return a === b || (a.size === b.size && [...a].every(([port, dialled]) => b.get(port) === dialled))
}

/**
 * Adds what a further slice says about an address of a workload. Kubernetes may list an endpoint in two slices while
 * it moves between them; and a workload may have one slice for each of its ports.
 */
function joined(known: readonly ModelEndpoint[], endpoint: ModelEndpoint): ModelEndpoint[] {
  for (const [at, one] of known.entries()) {
    const shared = [...endpoint.ports].filter(([port]) => one.ports.has(port))
    if (shared.some(([port, dialled]) => one.ports.get(port) !== dialled)) continue
    const ready = shared.length > 0 ? one.ready || endpoint.ready : one.ready && endpoint.ready
    const ports = new Map([...one.ports, ...endpoint.ports].sort(([a], [b]) => a - b))
    return known.with(at, { ...one, ports, ready, ending: one.ending || endpoint.ending })
  }
  return [...known, endpoint]
}

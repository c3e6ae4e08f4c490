import { z } from 'zod'
import { indexDocuments } from '../../../control-plane/model/document-index.ts'
import { isMeshed } from '../../../control-plane/model/meshed.ts'
import type { Document, DocumentOf } from '../../api/documents/document.ts'

/** One Pod, as it is run on this machine. */
export interface WorkloadPlan {
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  /** Its own loopback address: what a peer dials, on the ports of its containers. */
  readonly address: string
  /** Has a sidecar. */
  readonly meshed: boolean
  readonly ports: readonly PortPlan[]
  readonly programs: readonly ProgramPlan[]
  /** What `up` sends through its sidecar. */
  readonly load: { readonly url: URL; readonly ratePerSecond: number } | undefined
}

/** A container port, and where the application listens: behind the sidecar, or on the port itself without one. */
export interface PortPlan {
  readonly port: number
  readonly appPort: number
}

/** A container that has a command. */
export interface ProgramPlan {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** The first of its ports as the application listens on it; undefined when it has none. */
  readonly appPort: number | undefined
}

export interface MeshPlan {
  readonly workloads: readonly WorkloadPlan[]
  /** `ns/name` of a Service -> an address and port to dial. */
  readonly services: ReadonlyMap<string, { readonly host: string; readonly port: number }>
  /** Each `file:line:column: what is wrong`. */
  readonly problems: readonly string[]
}

/** Annotations of the Pod whose traffic `up` sends. */
export const loadAnnotation = 'outrigger.dev/load'
export const loadRateAnnotation = 'outrigger.dev/load-rate'

/** Applications listen this far above the port that their sidecar takes. */
export const appPortOffset = 10_000

const container = z.looseObject({
  name: z.string().default('app'),
  command: z.array(z.string()).min(1).optional(),
  args: z.array(z.string()).default([]),
  env: z.array(z.looseObject({ name: z.string(), value: z.coerce.string().default('') })).default([]),
  ports: z.array(z.looseObject({ containerPort: z.int() })).nullish(),
})

/** Says what has to run for these documents. Pure; a document that cannot be run is a problem, not an exception. */
export function planMesh(documents: readonly Document[]): MeshPlan {
  const problems: string[] = []
  const addresses = addressesOfPods(documents)
  const index = indexDocuments(documents)
  const workloads: WorkloadPlan[] = []
  for (const document of documents) {
    if (document.kind !== 'Pod') continue
    const address = addresses.get(`${document.namespace}/${document.name}`) ?? podIp(document)
    if (address === undefined) {
      problems.push(
        at(
          document,
          ['metadata', 'name'],
          `Pod ${document.name} has no address: name it in an EndpointSlice (endpoints[].targetRef), or set status.podIP`,
        ),
      )
      continue
    }
    workloads.push(planPod(document, address, isMeshed(index, document), problems))
  }
  return { workloads, services: servicesOf(documents), problems }
}

function planPod(document: DocumentOf<'Pod'>, address: string, meshed: boolean, problems: string[]): WorkloadPlan {
  const { spec } = document.value
  const offset = meshed ? appPortOffset : 0
  const ports: PortPlan[] = []
  const programs: ProgramPlan[] = []
  for (const [i, value] of (spec.containers ?? []).entries()) {
    const parsed = container.safeParse(value)
    if (!parsed.success) {
      for (const issue of parsed.error.issues) {
        const path = issue.path.filter((step) => typeof step !== 'symbol')
        problems.push(at(document, ['spec', 'containers', i, ...path], `${path.join('.')}: ${issue.message}`))
      }
      continue
    }
    const own = (parsed.data.ports ?? []).map(({ containerPort }) => ({
      port: containerPort,
      appPort: containerPort + offset,
    }))
    const high = own.findIndex(({ appPort }) => appPort > 65_535)
    if (high !== -1) {
      const message = `the application would listen on port ${own[high]?.appPort} (containerPort + ${appPortOffset}): take a containerPort up to ${65_535 - appPortOffset}`
      problems.push(at(document, ['spec', 'containers', i, 'ports', high, 'containerPort'], message))
      continue
    }
    ports.push(...own)
    const [command, ...args] = parsed.data.command ?? []
    if (command === undefined) continue
    programs.push({
      name: parsed.data.name,
      command,
      args: [...args, ...parsed.data.args],
      env: Object.fromEntries(parsed.data.env.map(({ name, value: text }) => [name, text])),
      appPort: own[0]?.appPort,
    })
  }
  return {
    namespace: document.namespace,
    name: document.name,
    serviceAccount: spec.serviceAccountName,
    address,
    meshed,
    ports,
    programs,
    load: planLoad(document, problems),
  }
}

function planLoad(document: DocumentOf<'Pod'>, problems: string[]): WorkloadPlan['load'] {
  const { annotations } = document.value.metadata
  const text = annotations?.[loadAnnotation]
  if (text === undefined) return undefined
  const url = URL.parse(text)
  if (url?.protocol !== 'http:') {
    problems.push(
      at(
        document,
        ['metadata', 'annotations', loadAnnotation],
        `"${text}" is not an http:// address such as http://web:8080/`,
      ),
    )
    return undefined
  }
  const rate = Number(annotations?.[loadRateAnnotation] ?? 10)
  if (rate > 0 && Number.isFinite(rate)) return { url, ratePerSecond: rate }
  problems.push(
    at(document, ['metadata', 'annotations', loadRateAnnotation], 'not a number of requests a second above 0'),
  )
  return undefined
}

function addressesOfPods(documents: readonly Document[]): Map<string, string> {
  const addresses = new Map<string, string>()
  for (const document of documents) {
    if (document.kind !== 'EndpointSlice') continue
    for (const { targetRef, addresses: own } of document.value.endpoints) {
      if (targetRef?.name === undefined || (targetRef.kind ?? 'Pod') !== 'Pod') continue
      const key = `${targetRef.namespace ?? document.namespace}/${targetRef.name}`
      if (own[0] !== undefined && !addresses.has(key)) addresses.set(key, own[0])
    }
  }
  return addresses
}

/** The first endpoint of each Service that has one. */
function servicesOf(documents: readonly Document[]): MeshPlan['services'] {
  const services = new Map<string, { host: string; port: number }>()
  for (const document of documents) {
    if (document.kind !== 'EndpointSlice') continue
    const service = document.value.metadata.labels?.['kubernetes.io/service-name']
    const host = document.value.endpoints[0]?.addresses[0]
    const port = document.value.ports[0]?.port
    if (service === undefined || host === undefined || !port) continue
    services.set(`${document.namespace}/${service}`, { host, port })
  }
  return services
}

function podIp(document: DocumentOf<'Pod'>): string | undefined {
  const status = z.looseObject({ podIP: z.string() }).safeParse(document.value.status)
  return status.data?.podIP
}

function at(document: Document, path: readonly (string | number)[], message: string): string {
  const { line, column } = document.locate(path)
  return `${document.origin.file}:${line}:${column}: ${message}`
}

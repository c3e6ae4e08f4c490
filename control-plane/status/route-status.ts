/** Status of a route: for each Service parent the conditions of Gateway API's RouteParentStatus. */
import type { Document } from '../../src/api/documents/document.ts'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import { attach, displacement, seenPorts } from '../model/attachment.ts'
import { type BackendReference, resolveBackend } from '../model/backend-ref.ts'
import type { DocumentIndex } from '../model/document-index.ts'
import { objectKey } from '../model/document-key.ts'
import { resolveExtension } from '../model/extension-ref.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import { servicePortProtocol } from '../model/opaque-ports.ts'
import { declaredProtocol } from '../model/protocol.ts'
import { isRouteKind, type Route, rulesOf } from '../model/route.ts'
import { meshPorts, portList } from '../model/service-ports.ts'
import { type Statement, statement } from './condition.ts'
import { notProgrammed, notPublished, programmed } from './programmed.ts'
import { type Situation, tell } from './situation.ts'

/** What we say of a route as the child of one parent. */
export interface ParentStatement {
  /** As its owner wrote it. */
  readonly parentRef: Readonly<Record<string, unknown>>
  readonly statements: readonly Statement[]
}

/** One for each parentRef that names a Service; the others belong to whoever serves their kind. */
export function routeStatus(situation: Situation): ParentStatement[] {
  const { good, reading } = situation.object
  return serviceRefs(reading.written?.parentRefs).map((parentRef) => {
    if (situation.unread.length > 0 || good === undefined || !isRoute(good)) {
      return { parentRef, statements: unread(situation) }
    }
    return { parentRef, statements: statementsFor(situation, good, parentRef) }
  })
}

function isRoute(document: Document): document is Route {
  return isRouteKind(document.kind)
}

function unread({ unread: problems, object }: Situation): Statement[] {
  const message = tell(problems)
  const inForce = object.good === undefined ? 'no version of it is in force' : 'the version before stays in force'
  return [
    statement('Accepted', 'False', 'UnsupportedValue', message),
    statement('ResolvedRefs', 'Unknown', 'UnsupportedValue', 'not looked at: the route cannot be read'),
    notProgrammed('UnsupportedValue', inForce),
  ]
}

function statementsFor(situation: Situation, route: Route, raw: Readonly<Record<string, unknown>>): Statement[] {
  const { index } = situation.model
  const ref = parentOf(raw)
  const accepted = acceptance(situation.model, route, ref)
  const resolved = resolution(index, route)
  if (accepted.status === 'False') return [accepted, resolved, notProgrammed(accepted.reason, accepted.message)]
  const { acks, isPublished } = situation
  if (!isPublished) return [accepted, resolved, notPublished]
  // Attached it is in a resource, as soon as that is published.
  const inForce = acks === undefined ? notProgrammed('Pending', 'not published yet') : programmed(acks)
  return [accepted, resolved, inForce]
}

type ParentRef = Route['value']['spec']['parentRefs'][number]

function parentOf(raw: Readonly<Record<string, unknown>>): ParentRef {
  return raw as ParentRef
}

function acceptance({ index, routes }: MeshModel, route: Route, ref: ParentRef): Statement {
  const attachment = attach(index, route, ref)
  const named = `Service ${ref.namespace ?? route.namespace}/${ref.name}`
  if (attachment.is === 'no-service') return notAccepted(`${named} does not exist`)
  const { service } = attachment
  if (attachment.is === 'no-port') {
    const wanted = ref.port === undefined ? `named ${ref.sectionName}` : `${ref.port}`
    return notAccepted(`${named} has no TCP port ${wanted}; its ports: ${portList(service)}`)
  }
  const meant = meshPorts(service).filter(({ port }) => attachment.port === 0 || port === attachment.port)
  const seen = seenPorts(route, service, attachment.port)
  if (meant.length > 0 && seen.length === 0) {
    const isHttp = meant.some((port) => servicePortProtocol(service, port) === Protocol.HTTP1)
    const what = isHttp ? 'HTTP/1.1; a port for gRPC has appProtocol kubernetes.io/h2c' : 'opaque'
    return notAccepted(`${named} declares what the route is for as ${what}: the route never sees its requests`)
  }
  const lost = displacement(routes.get(objectKey(service)) ?? [], route, service, attachment.port)
  const taken =
    lost === undefined ? '' : `${lost.by.kind} ${objectKey(lost.by)} has port ${lost.ports.join(', ')} of ${named}`
  if (lost?.left.length === 0) return statement('Accepted', 'False', 'Conflicted', `${taken}: GRPCRoute comes first`)
  const holdsFor =
    service.namespace === route.namespace ? 'every caller' : `callers of namespace ${route.namespace} only`
  const left = lost?.left ?? seen
  const but = `${left.length < meant.length ? ` on port ${left.join(', ')}` : ''}${lost === undefined ? '' : `; ${taken}`}`
  return statement('Accepted', 'True', 'Accepted', `holds for ${holdsFor} of ${named}${but}`)
}

function notAccepted(message: string): Statement {
  return statement('Accepted', 'False', 'NoMatchingParent', message)
}

interface RefFault {
  readonly reason: string
  readonly message: string
}

const shownMax = 3

function resolution(index: DocumentIndex, route: Route): Statement {
  const faults = [...refFaults(index, route)]
  const [first] = faults
  if (first === undefined) return statement('ResolvedRefs', 'True', 'ResolvedRefs', 'everything it refers to is there')
  const shown = faults.slice(0, shownMax).map(({ message }) => message)
  const more = faults.length > shownMax ? `; and ${faults.length - shownMax} more` : ''
  return statement('ResolvedRefs', 'False', first.reason, `${shown.join('; ')}${more}`)
}

function* refFaults(index: DocumentIndex, route: Route): Iterable<RefFault> {
  for (const [at, { filters = [], backendRefs = [] }] of rulesOf(route).entries()) {
    const rule = `spec.rules[${at}]`
    yield* filterFaults(index, route, filters, `${rule}.filters`)
    for (const [i, ref] of backendRefs.entries()) {
      yield* backendFaults(index, route, ref, `${rule}.backendRefs[${i}]`)
      yield* filterFaults(index, route, ref.filters ?? [], `${rule}.backendRefs[${i}].filters`)
    }
  }
}

type Filters = readonly RouteFilter[]

function* filterFaults(index: DocumentIndex, route: Route, filters: Filters, path: string): Iterable<RefFault> {
  for (const [at, { requestMirror, extensionRef }] of filters.entries()) {
    if (requestMirror !== undefined)
      yield* backendFaults(index, route, requestMirror.backendRef, `${path}[${at}].requestMirror.backendRef`)
    if (extensionRef === undefined) continue
    const resolved = resolveExtension(index, route, extensionRef)
    const where = `${path}[${at}].extensionRef`
    if (resolved.is === 'foreign')
      yield { reason: 'InvalidKind', message: `${where}: ${resolved.what} is no filter of the mesh` }
    else if (resolved.is === 'missing') {
      const named = `FaultInjection ${route.namespace}/${extensionRef.name}`
      yield { reason: 'ExtensionNotFound', message: `${where}: ${named} does not exist` }
    }
  }
}

function* backendFaults(index: DocumentIndex, route: Route, ref: BackendReference, path: string): Iterable<RefFault> {
  const resolved = resolveBackend(index, route, ref)
  if (resolved.is === 'invalid') {
    yield { reason: resolved.fault, message: `${path}: ${resolved.reason}` }
    return
  }
  const port = meshPorts(resolved.service).find((one) => one.port === resolved.port)
  if (declaredProtocol(port?.appProtocol, port?.name) === Protocol.TLS) {
    const named = `Service ${objectKey(resolved.service)}`
    yield {
      reason: 'UnsupportedProtocol',
      message: `${path}: ${named} declares port ${resolved.port} as TLS of its own, which a sidecar does not speak`,
    }
  }
}

/** Of parentRefs that anybody may have written, those that name a Service. */
function serviceRefs(value: unknown): Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value)) return []
  return value.filter((ref: unknown): ref is Readonly<Record<string, unknown>> => {
    if (typeof ref !== 'object' || ref === null) return false
    const { group, kind, name } = ref as { group?: unknown; kind?: unknown; name?: unknown }
    return kind === 'Service' && (group === '' || group === 'core') && typeof name === 'string'
  })
}

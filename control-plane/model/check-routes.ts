import { closest } from '../../src/api/documents/closest.ts'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Path, type Problem, problemAt } from '../../src/api/documents/problem.ts'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import { attach, displacement, isServiceParent, seenPorts } from './attachment.ts'
import { type BackendReference, resolveBackend } from './backend-ref.ts'
import { dangling } from './dangling.ts'
import { objectKey } from './document-key.ts'
import { resolveExtension } from './extension-ref.ts'
import type { MeshModel } from './mesh-model.ts'
import { servicePortProtocol } from './opaque-ports.ts'
import { redirectCycles } from './redirect-cycle.ts'
import { allRoutes, type Route, rulesOf } from './route.ts'
import { meshPorts, portList } from './service-ports.ts'

/** What is wrong with what routes refer to. */
export function checkRoutes(model: MeshModel): Problem[] {
  return [...allRoutes(model.index).flatMap((route) => checkRoute(model, route)), ...redirectCycles(model)]
}

function checkRoute(model: MeshModel, route: Route): Problem[] {
  const { parentRefs } = route.value.spec
  const problems: Problem[] = []
  for (const [at, ref] of parentRefs.entries()) {
    if (!isServiceParent(ref)) continue
    const path = ['spec', 'parentRefs', at]
    const attachment = attach(model.index, route, ref)
    if (attachment.is === 'attached') problems.push(...checkAttached(model, route, path, attachment))
    else if (attachment.is === 'no-port') problems.push(missingParentPort(route, path, ref, attachment.service))
    else {
      const namespace = ref.namespace ?? route.namespace
      problems.push(dangling(model.index, route, [...path, 'name'], { kind: 'Service', namespace, name: ref.name }))
    }
  }
  // What such a route refers to is the business of whoever serves its Gateway.
  if (!parentRefs.some(isServiceParent)) return [noServiceParent(route)]
  for (const at of rulesOf(route).keys()) problems.push(...checkRule(model, route, at))
  return problems
}

function checkRule(model: MeshModel, route: Route, at: number): Problem[] {
  const rule = rulesOf(route)[at]!
  const base = ['spec', 'rules', at]
  const problems: Problem[] = []
  const check = (ref: BackendReference, path: Path) => {
    const found = checkBackend(model, route, ref, path)
    if (found !== undefined) problems.push(found)
  }
  const backends = (rule.backendRefs ?? []).filter((ref) => ref.weight > 0)
  const checkFilters = (filters: readonly RouteFilter[], path: Path, targets: readonly BackendReference[]) => {
    for (const [i, { requestMirror, extensionRef }] of filters.entries()) {
      if (requestMirror !== undefined) {
        const refPath = [...path, i, 'requestMirror', 'backendRef']
        check(requestMirror.backendRef, refPath)
        const same = targets.find((target) => sameBackend(route, target, requestMirror.backendRef))
        if (same !== undefined) problems.push(mirrorsItself(route, refPath, same))
      }
      if (extensionRef !== undefined) {
        const resolved = resolveExtension(model.index, route, extensionRef)
        const refPath = [...path, i, 'extensionRef']
        if (resolved.is === 'missing') {
          const wanted = { kind: 'FaultInjection', namespace: route.namespace, name: extensionRef.name } as const
          problems.push(dangling(model.index, route, [...refPath, 'name'], wanted))
        } else if (resolved.is === 'foreign') {
          const message = `${resolved.what} is no filter of the mesh: its requests are answered ${route.kind === 'GRPCRoute' ? 'UNAVAILABLE' : '500'}`
          const expected = 'FaultInjection of group outrigger.dev'
          problems.push(problemAt(route, [...refPath, 'kind'], { code: 'unsupported-filter', message, expected }))
        }
      }
    }
  }
  checkFilters(rule.filters ?? [], [...base, 'filters'], backends)
  for (const [i, ref] of (rule.backendRefs ?? []).entries()) {
    check(ref, [...base, 'backendRefs', i])
    checkFilters(ref.filters ?? [], [...base, 'backendRefs', i, 'filters'], [ref])
  }
  return problems
}

function checkBackend(model: MeshModel, route: Route, ref: BackendReference, path: Path): Problem | undefined {
  const resolved = resolveBackend(model.index, route, ref)
  if (resolved.is !== 'invalid') return undefined
  const namespace = ref.namespace ?? route.namespace
  const exists = model.index.find('Service', namespace, ref.name) !== undefined
  if (resolved.fault === 'BackendNotFound') {
    if (!exists) return dangling(model.index, route, [...path, 'name'], { kind: 'Service', namespace, name: ref.name })
    return problemAt(route, [...path, 'port'], { code: 'missing-port', message: resolved.reason })
  }
  const field = resolved.fault === 'InvalidKind' ? 'kind' : 'name'
  return problemAt(route, [...path, field], { code: 'unsupported-backend', message: resolved.reason })
}

function missingParentPort(
  route: Route,
  path: Path,
  ref: { port?: number | undefined; sectionName?: string | undefined },
  service: DocumentOf<'Service'>,
): Problem {
  const names = meshPorts(service).map((port) => port.name ?? '')
  const byName = ref.sectionName !== undefined && !names.includes(ref.sectionName)
  const wanted = byName ? `named ${ref.sectionName}` : `${ref.port}`
  return problemAt(route, [...path, byName ? 'sectionName' : 'port'], {
    code: 'missing-port',
    message: `Service ${objectKey(service)} has no TCP port ${wanted}; its ports: ${portList(service)}`,
    suggestion: byName ? closest(ref.sectionName ?? '', names) : undefined,
  })
}

function checkAttached(
  model: MeshModel,
  route: Route,
  path: Path,
  { service, port }: { readonly service: DocumentOf<'Service'>; readonly port: number },
): Problem[] {
  const warn = (code: string, message: string) => problemAt(route, path, { severity: 'warning', code, message })
  const named = `Service ${objectKey(service)}`
  const lost = displacement(model.routes.get(objectKey(service)) ?? [], route, service, port)
  if (lost !== undefined) {
    const message = `${lost.by.kind} ${objectKey(lost.by)} has ${portsText(lost.ports)} of ${named}: an HTTPRoute is ignored there (GEP-1294)`
    return lost.left.length > 0
      ? [warn('displaced', message)]
      : [problemAt(route, path, { code: 'displaced', message, expected: 'another port, or routes of one kind' })]
  }
  const meant = meshPorts(service).filter((p) => port === 0 || p.port === port)
  if (meant.length === 0 || seenPorts(route, service, port).length > 0) return []
  const isHttp = meant.some((p) => servicePortProtocol(service, p) === Protocol.HTTP1)
  const declares = `${named} declares ${portsText(meant.map((p) => p.port))} as`
  return isHttp
    ? [warn('not-grpc', `${declares} HTTP/1.1: a GRPCRoute never sees its requests`)]
    : [warn('not-http', `${declares} opaque: a route never sees its requests`)]
}

function portsText(ports: readonly number[]): string {
  return `${ports.length === 1 ? 'port' : 'ports'} ${ports.join(', ')}`
}

function noServiceParent(route: Route): Problem {
  return problemAt(route, ['spec', 'parentRefs'], {
    severity: 'warning',
    code: 'no-service-parent',
    message: 'the route has no Service among its parents: it holds for nothing in the mesh',
    expected: '{group: "", kind: Service, name: ...}',
  })
}

function mirrorsItself(route: Route, path: Path, target: BackendReference): Problem {
  const named = `Service ${target.namespace ?? route.namespace}/${target.name}`
  const message = `${named} gets a copy of the requests that it gets already: each would be handled twice`
  return problemAt(route, path, { code: 'cycle', message, expected: 'another Service' })
}

function sameBackend(route: Route, a: BackendReference, b: BackendReference): boolean {
  const namespace = route.namespace
  return (
    a.kind === b.kind &&
    a.name === b.name &&
    a.port === b.port &&
    (a.namespace ?? namespace) === (b.namespace ?? namespace)
  )
}

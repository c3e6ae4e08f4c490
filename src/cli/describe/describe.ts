/** What holds for a Pod or a Service, worked out by the control plane's own model. */
import { toJson } from '@bufbuild/protobuf'
import { attach, isServiceParent } from '../../../control-plane/model/attachment.ts'
import { objectKey } from '../../../control-plane/model/document-key.ts'
import type { MeshModel } from '../../../control-plane/model/mesh-model.ts'
import { isMeshed, spiffeId } from '../../../control-plane/model/meshed.ts'
import { declaredProtocol } from '../../../control-plane/model/protocol.ts'
import { allRoutes, type Route } from '../../../control-plane/model/route.ts'
import { meshPorts } from '../../../control-plane/model/service-ports.ts'
import { authorizationsOf, inboundFaultsOf, mtlsOf, telemetryOf } from '../../../control-plane/model/workload-policy.ts'
import { serviceResource, serviceVips } from '../../../control-plane/snapshot/service.ts'
import type { DocumentOf } from '../../api/documents/document.ts'
import { Protocol, ServiceSchema } from '../../api/gen/outrigger_pb.ts'
import { backendText, limits, type Match, matchText, type Rule, refText } from '../rule-text.ts'
import { authorizationLines, backendPolicyLines, faultLine, named } from './policy-text.ts'
import { inPrecedence } from './precedence.ts'

/** A heading and its lines. */
export interface Section {
  readonly title: string
  readonly lines: readonly string[]
}

/** Everything about one object, in the order in which it is read. */
export interface Description {
  readonly of: string
  readonly sections: readonly Section[]
  /** Other documents that hold for it, `KIND NS/NAME`: what is wrong with them concerns it. */
  readonly holding: readonly string[]
}

export interface Circumstances {
  readonly model: MeshModel
  readonly trustDomain: string
  readonly wallMs: number
}

export function describeService(
  service: DocumentOf<'Service'>,
  { model, trustDomain, wallMs }: Circumstances,
): Description {
  const key = objectKey(service)
  const endpoints = model.endpoints.get(key) ?? []
  const pods = [...(model.workloads.podsByService.get(key) ?? [])]
  const ports = meshPorts(service).map(
    ({ port, name, appProtocol, targetPort }) =>
      `${port}${name === undefined ? '' : ` ${name}`}: ${protocolText(declaredProtocol(appProtocol, name))}${targetPort === undefined ? '' : `, to ${targetPort}`}`,
  )
  const faults = model.faults.get(key) ?? []
  const policy = model.backendPolicies.inForce.get(key)
  const routes = allRoutes(model.index).filter((route) => isFor(service, route, model))
  const guards = pods.flatMap((pod) => authorizationsOf(model.index, model.guards, pod))
  return {
    of: `Service ${key}`,
    holding: namesOf([...routes, ...faults, ...guards, ...(policy === undefined ? [] : [policy])]),
    sections: [
      {
        title: 'Addresses',
        lines: serviceVips(service).length === 0 ? ['none: headless'] : [serviceVips(service).join(', ')],
      },
      { title: 'Ports', lines: ports.length === 0 ? ['none over TCP: the mesh carries nothing'] : ports },
      {
        title: `Endpoints (${endpoints.filter(({ ready }) => ready).length} of ${endpoints.length} ready)`,
        lines: endpoints.map(({ address, ports: dialled, pod, workload, ready }) => {
          const identity =
            pod !== undefined && isMeshed(model.index, pod)
              ? `mTLS as ${spiffeId(trustDomain, pod)}`
              : 'plaintext: no sidecar'
          return `${address} ${[...new Set(dialled.values())].join(',')}  ${workload || '-'}  ${ready ? 'ready' : 'not ready'}  ${identity}`
        }),
      },
      ...routeSections(service, model),
      { title: 'How it is called', lines: backendPolicyLines(policy) },
      { title: 'Faults that callers see', lines: faults.map((fault) => faultLine(fault, wallMs)) },
      ...inboundOf(pods, model),
    ],
  }
}

/** Whether the Service is among the parents, be it that a route of another kind has the port. */
function isFor(service: DocumentOf<'Service'>, route: Route, { index }: MeshModel): boolean {
  return route.value.spec.parentRefs.some((ref) => {
    const attachment = isServiceParent(ref) ? attach(index, route, ref) : undefined
    return attachment?.is === 'attached' && attachment.service === service
  })
}

/** What the workloads behind a Service let in; those that say the same stand together. */
function inboundOf(pods: readonly DocumentOf<'Pod'>[], model: MeshModel): Section[] {
  const groups = Map.groupBy(pods, (pod) =>
    JSON.stringify([mtlsLines(pod, model), authorizationLines(authorizationsOf(model.index, model.guards, pod))]),
  )
  return [...groups.values()].flatMap((same) => {
    const of = groups.size === 1 ? '' : ` (${same.map(({ name }) => name).join(', ')})`
    return [
      { title: `mTLS${of}`, lines: mtlsLines(same[0]!, model) },
      { title: `Who may call${of}`, lines: authorizationLines(authorizationsOf(model.index, model.guards, same[0]!)) },
    ]
  })
}

export function describePod(pod: DocumentOf<'Pod'>, { model, trustDomain, wallMs }: Circumstances): Description {
  const ports = model.workloads.ports.get(`Pod/${objectKey(pod)}`) ?? []
  const telemetry = telemetryOf(model.index, pod)
  const sampling = telemetry.sampling?.value.spec.tracing
  const { by } = mtlsOf(model.index, pod)
  const guards = authorizationsOf(model.index, model.guards, pod)
  const faults = inboundFaultsOf(model.index, pod)
  return {
    of: `Pod ${objectKey(pod)}`,
    holding: namesOf([...guards, ...faults, ...(by === undefined ? [] : [by])]),
    sections: [
      {
        title: 'Identity',
        lines: [isMeshed(model.index, pod) ? spiffeId(trustDomain, pod) : 'none: it has no sidecar'],
      },
      {
        title: 'Ports that Services name',
        lines: ports.map(
          ({ port, protocol, service }) =>
            `${port}: ${protocolText(protocol)}, ${service === undefined ? 'by its annotation' : `by Service ${objectKey(service)}`}`,
        ),
      },
      { title: 'mTLS', lines: mtlsLines(pod, model) },
      { title: 'Who may call', lines: authorizationLines(guards) },
      {
        title: 'Faults that it answers with',
        lines: faults.map((fault) => faultLine(fault, wallMs)),
      },
      {
        title: 'Telemetry',
        lines: [
          sampling === undefined
            ? 'traces: 1 % (the default)'
            : `traces: ${sampling.samplingRate} %  [${named(telemetry.sampling!)}]`,
          ...(telemetry.accessLog === undefined
            ? []
            : [`access log: ${String(telemetry.accessLog.value.spec.accessLog)}  [${named(telemetry.accessLog)}]`]),
        ],
      },
    ],
  }
}

function namesOf(documents: readonly { kind: string; namespace: string; name: string }[]): string[] {
  return [...new Set(documents.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`))]
}

function mtlsLines(pod: DocumentOf<'Pod'>, { index }: MeshModel): string[] {
  if (!isMeshed(index, pod)) return ['none: it has no sidecar']
  const { mode, by, ports } = mtlsOf(index, pod)
  const meaning = { STRICT: 'only peers of the mesh', PERMISSIVE: 'plaintext, too', DISABLE: 'plaintext only' }[mode]
  return [
    `${mode}: ${meaning}  [${by === undefined ? 'no PeerAuthentication: the default' : named(by)}]`,
    ...[...ports].map(([port, own]) => `port ${port}: ${own}`),
  ]
}

/** Routes as each group of callers sees them: a namespace with consumer routes of its own does without the others. */
function routeSections(service: DocumentOf<'Service'>, model: MeshModel): Section[] {
  const { rules = [] } = toJson(ServiceSchema, serviceResource(model, service)) as { rules?: readonly Rule[] }
  const consumers = [...new Set(rules.map(({ consumerNamespace = '' }) => consumerNamespace))].sort()
  return consumers.flatMap((consumer) => {
    const own = rules.filter(({ consumerNamespace = '' }) => consumerNamespace === consumer)
    const ports = [...new Set(own.map(({ port = 0 }) => port))].sort((a, b) => a - b)
    // With one set of rules for all ports there is nothing to tell apart.
    const views = ports.length <= 1 ? ports : ports.filter((port) => port !== 0)
    return views.map((port) => {
      const held = own.filter(({ port: one = 0 }) => one === 0 || one === port)
      // The rule that a Service has by itself steps back where a route holds.
      const routed = held.some(({ ref }) => ref !== undefined) ? held.filter(({ ref }) => ref !== undefined) : held
      const who = consumer === '' ? '' : `, callers of namespace ${consumer}`
      const where = port === 0 ? 'every port' : `port ${port}`
      return { title: `Routes, in the order in which they are tried (${where}${who})`, lines: ruleLines(routed) }
    })
  })
}

function ruleLines(rules: readonly Rule[]): string[] {
  const ordered = inPrecedence(rules)
  const lines = ordered.map(({ rule, match }, at) => {
    const by = rule.ref === undefined ? 'no route: the Service itself' : `${refText(rule.ref)} rule ${rule.name ?? ''}`
    const limit = limits(rule)
    return `${at + 1}. ${matchText({ matches: [match] })} -> ${backendText(rule)}${limit === '-' ? '' : `; ${limit}`}  [${by}]`
  })
  const rest = restLine(ordered.map(({ match }) => match))
  return rest === undefined ? lines : [...lines, rest]
}

/** What becomes of requests that nothing takes; undefined when there are none. */
function restLine(matches: readonly Match[]): string | undefined {
  const takesAll = matches.some(takesEverything)
  const isGrpc = matches.some(({ grpc }) => grpc !== undefined)
  if (isGrpc) return takesAll ? 'what is not gRPC: 404' : 'anything else: UNIMPLEMENTED; what is not gRPC: 404'
  return takesAll ? undefined : 'anything else: 404'
}

function takesEverything({ pathType, path = '', method = '', headers = [], query = [] }: Match): boolean {
  const isPrefix =
    pathType === undefined || pathType === 'STRING_MATCH_TYPE_PREFIX' || pathType === 'STRING_MATCH_TYPE_UNSPECIFIED'
  return isPrefix && (path === '' || path === '/') && method === '' && headers.length === 0 && query.length === 0
}

function protocolText(protocol: Protocol): string {
  if (protocol === Protocol.UNSPECIFIED) return 'detected'
  return (Object.entries(Protocol).find(([, value]) => value === protocol)?.[0] ?? String(protocol)).toLowerCase()
}

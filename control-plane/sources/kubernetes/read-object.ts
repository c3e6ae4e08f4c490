import { isDeepStrictEqual } from 'node:util'
import type { Document } from '../../../src/api/documents/document.ts'
import { type Problem, pathText } from '../../../src/api/documents/problem.ts'
import { readDocument } from '../../../src/api/documents/read-document.ts'
import { serviceNameLabel } from '../../../src/api/policy/endpoint-slice.ts'
import { type Kind, type KindTraits, kinds } from '../../../src/api/policy/kinds.ts'
import { isServiceRef } from '../../../src/api/policy/route-filter.ts'
import { marks } from '../../../src/base/kubernetes-names.ts'
import type { ApiObject, ObjectMeta } from '../../kubernetes/cluster.ts'
import { isRouteKind } from '../../model/route.ts'

/** What an object of the cluster says: a document, or why it is none. */
export interface ObjectReading {
  readonly document: Document | undefined
  readonly problems: readonly Problem[]
  readonly kind: Kind
  readonly namespace: string
  readonly name: string
  /** For conditions in its status. */
  readonly uid: string
  readonly generation: number
  /** Of a kind whose status we write: what stands there now. */
  readonly written: WrittenStatus | undefined
}

/** The status of an object as the API server has it. */
export interface WrittenStatus {
  readonly resourceVersion: string
  readonly status: unknown
  /** Of a route, as its owner wrote them: its status repeats them, also when the rest of it cannot be read. */
  readonly parentRefs: unknown
}

/** Where an object of a cluster "stands", in place of a file. */
export function objectOrigin(kind: string, namespace: string, name: string): string {
  return `cluster:${kind}/${namespace === '' ? '' : `${namespace}/`}${name}`
}

/** Reads one object. Lists leave out kind and apiVersion of their items; `kind` is what was listed. */
export function readObject(kind: Kind, object: ApiObject): ObjectReading {
  const { apiVersion }: KindTraits = kinds[kind]
  const { name = '', namespace = '', uid = '', generation = 0 } = object.metadata ?? {}
  const file = objectOrigin(kind, namespace, name)
  const { document, findings } = readDocument({
    value: { ...project(kind, object), apiVersion, kind },
    file,
    place: () => noPlace,
  })
  // Fields that the mesh does not know are the API server's own business, and newer Kubernetes has more of them.
  const problems = findings
    .filter(({ finding }) => (finding.severity ?? 'error') === 'error')
    .map(({ path, finding }): Problem => ({ severity: 'error', ...finding, file, ...noPlace, path: pathText(path) }))
  // It would keep the object as it came, too: what was read of it is enough.
  if (document !== undefined) Object.assign(document, { locate: () => noPlace })
  return { document, problems, kind, namespace, name, uid, generation, written: writtenStatus(kind, object) }
}

/**
 * Whether a Pod says what was read of it before: most of its versions are of its status alone, and a rollout brings
 * thousands. Looked at without reading it anew, which costs ten times as much.
 */
export function isSamePod(object: ApiObject, before: ObjectReading): boolean {
  const { uid = '', generation = 0 } = object.metadata ?? {}
  if (before.document === undefined || before.uid !== uid || before.generation !== generation) return false
  return isDeepStrictEqual({ ...project('Pod', object), apiVersion: 'v1', kind: 'Pod' }, before.document.value)
}

function writtenStatus(kind: Kind, { metadata, status, spec }: ApiObject): WrittenStatus | undefined {
  if (!hasConditions(kind)) return undefined
  const { parentRefs } = (spec ?? {}) as { readonly parentRefs?: unknown }
  return { resourceVersion: metadata?.resourceVersion ?? '', status, parentRefs }
}

/** Kinds whose status the control plane writes: routes and our own. */
export function hasConditions(kind: Kind): boolean {
  return isRouteKind(kind) || kinds[kind].apiVersion.startsWith('outrigger.dev/')
}

/** An object has no lines: its fields are named by their path. */
const noPlace = { line: 0, column: 0 }

/** Of a Pod's annotations, what the mesh reads: others are long and change often. */
const annotationPrefix = /(^|\.)outrigger\.dev\//

/**
 * The part of an object that the model reads. What is left out takes no memory and no time: a Pod has 10 to 50 KB, of
 * which 300 bytes matter here.
 */
function project(kind: Kind, object: ApiObject): Readonly<Record<string, unknown>> {
  const { metadata, status: _, ...rest } = object
  const slim = {
    name: metadata?.name,
    ...(metadata?.namespace === undefined ? {} : { namespace: metadata.namespace }),
    ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
    ...(metadata?.generation === undefined ? {} : { generation: metadata.generation }),
    ...(metadata?.creationTimestamp === undefined ? {} : { creationTimestamp: metadata.creationTimestamp }),
    ...annotationsOf(metadata?.annotations),
  }
  switch (kind) {
    case 'Pod':
      return { metadata: { ...slim, labels: podLabels(metadata) }, spec: podSpec(object['spec']) }
    case 'Namespace':
    case 'ServiceAccount':
      return { metadata: slim }
    case 'EndpointSlice':
      return {
        ...rest,
        metadata: { ...slim, labels: onlyLabel(metadata, serviceNameLabel) },
        endpoints: endpoints(object),
      }
    case 'HTTPRoute':
    case 'GRPCRoute':
      return { ...rest, metadata: slim, spec: routeSpec(object['spec']) }
    default:
      return { ...rest, metadata: slim }
  }
}

/** A route for Gateways alone is another controller's: what it may say there is not ours to judge, nor to keep. */
function routeSpec(spec: unknown): unknown {
  const { parentRefs } = (spec ?? {}) as { readonly parentRefs?: readonly { group?: string; kind?: string }[] }
  if (!Array.isArray(parentRefs) || parentRefs.some(namesService)) return spec
  return { parentRefs }
}

function namesService({ group = 'gateway.networking.k8s.io', kind = 'Gateway' }: { group?: string; kind?: string }) {
  return isServiceRef({ group, kind })
}

function onlyLabel(metadata: ObjectMeta | undefined, name: string): Readonly<Record<string, string>> {
  const value = metadata?.labels?.[name]
  return value === undefined ? {} : { [name]: value }
}

interface SliceEndpoint {
  readonly addresses?: readonly string[]
  readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean }
  readonly zone?: string
  readonly targetRef?: { readonly kind?: string; readonly namespace?: string; readonly name?: string }
}

/** An endpoint of a slice has 400 bytes, of which 100 are read; a cluster has as many as it has Pods. */
function endpoints(slice: ApiObject): unknown {
  return (slice['endpoints'] as readonly SliceEndpoint[] | null | undefined)?.map(
    ({ addresses, conditions, zone, targetRef }) => ({
      addresses,
      ...(conditions === undefined
        ? {}
        : {
            conditions: {
              ready: conditions.ready,
              // Says something of its own only of one that is ending.
              ...(conditions.terminating === true ? { serving: conditions.serving } : {}),
              terminating: conditions.terminating,
            },
          }),
      ...(zone === undefined ? {} : { zone }),
      ...(targetRef === undefined
        ? {}
        : { targetRef: { kind: targetRef.kind, namespace: targetRef.namespace, name: targetRef.name } }),
    }),
  )
}

function annotationsOf(annotations: Readonly<Record<string, string>> | undefined) {
  const ours = Object.entries(annotations ?? {}).filter(([name]) => annotationPrefix.test(name))
  return ours.length === 0 ? {} : { annotations: Object.fromEntries(ours) }
}

/**
 * In a cluster a Pod is meshed when injection has left its mark, and only then: a label says what somebody wants, and a
 * Pod that is older than the label has no sidecar.
 */
function podLabels(metadata: ObjectMeta | undefined): Readonly<Record<string, string>> {
  const status = metadata?.annotations?.[marks.status]
  return { ...metadata?.labels, [marks.inject]: String(status !== undefined && takesInbound(status)) }
}

/** Under interceptionMode NONE the sidecar serves what its application calls, and nothing comes in through it. */
function takesInbound(status: string): boolean {
  try {
    return (JSON.parse(status) as { inbound?: boolean } | null)?.inbound !== false
  } catch {
    return true
  }
}

interface PodSpec {
  readonly serviceAccountName?: string
  readonly containers?: readonly ContainerSpec[]
}

interface ContainerSpec {
  readonly name?: string
  readonly ports?: readonly { readonly name?: string; readonly containerPort?: number; readonly protocol?: string }[]
}

function podSpec(spec: unknown): unknown {
  const { serviceAccountName, containers } = (spec ?? {}) as PodSpec
  return {
    ...(serviceAccountName === undefined ? {} : { serviceAccountName }),
    containers: (containers ?? []).map(({ name, ports }) => ({
      name,
      ports: ports?.map(({ name: port, containerPort, protocol }) => ({
        ...(port === undefined ? {} : { name: port }),
        containerPort,
        ...(protocol === undefined ? {} : { protocol }),
      })),
    })),
  }
}

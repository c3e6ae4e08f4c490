import { type JsonSchema, jsonSchemaOf } from '../policy/json-schema.ts'
import { isKind, type Kind, type KindTraits, kindNames, kinds } from '../policy/kinds.ts'
import { closest } from './closest.ts'
import type { Document, Origin, Place } from './document.ts'
import { documentVersion } from './document-version.ts'
import { findingsOf, issueMessage, type PathFinding, unknownField } from './issue-finding.ts'
import type { Path } from './problem.ts'
import { unknownFields } from './unknown-fields.ts'

/** A value that should be one document, and where its parts stand. */
export interface RawDocument {
  readonly value: unknown
  readonly file: string
  place(path: Path, atKey?: boolean): Place
}

/** Who a document says it is; known even when the rest of it is wrong. */
export interface Identity {
  readonly kind: Kind
  readonly namespace: string
  readonly name: string
}

export interface ReadDocument {
  readonly document: Document | undefined
  readonly identity: Identity | undefined
  readonly findings: readonly PathFinding[]
}

// What people who come from elsewhere write, and the kind that does the same here.
const foreignKinds: Readonly<Record<string, Kind>> = {
  VirtualService: 'HTTPRoute',
  DestinationRule: 'BackendPolicy',
  Telemetry: 'TelemetryPolicy',
  MeshFaultInjection: 'FaultInjection',
  MeshCircuitBreaker: 'BackendPolicy',
  MeshRetry: 'BackendPolicy',
  MeshHTTPRoute: 'HTTPRoute',
  MeshGRPCRoute: 'GRPCRoute',
  MeshTrafficPermission: 'AuthorizationPolicy',
  Endpoints: 'EndpointSlice',
}

/** Checks one value against the schema of the kind that it names. */
export function readDocument(raw: RawDocument): ReadDocument {
  const { value } = raw
  if (!isRecord(value))
    return refuse([], {
      code: 'not-a-map',
      message: 'the document is not a map',
      expected: 'apiVersion, kind, metadata, spec',
    })
  const kind = value['kind']
  if (typeof kind !== 'string') return refuse(['kind'], missing('kind', kind))
  if (!isKind(kind)) return refuse(['kind'], unknownKind(kind))
  const { apiVersion, alsoVersions = [] }: KindTraits = kinds[kind]
  const identity = identityOf(kind, value)
  const written = value['apiVersion']
  if (written === apiVersion) return { ...parse(kind, value, raw), identity }
  if (typeof written === 'string' && alsoVersions.includes(written)) {
    return { ...parse(kind, { ...value, apiVersion }, raw), identity }
  }
  return { ...refuse(['apiVersion'], wrongApiVersion(kind, apiVersion, written)), identity }
}

function parse(kind: Kind, value: Readonly<Record<string, unknown>>, raw: RawDocument): Omit<ReadDocument, 'identity'> {
  const { schema, unknownFields: unknowns, apiVersion }: KindTraits = kinds[kind]
  const root = jsonSchemaOf(kind)
  const warnings = unknowns === 'loose' ? warnUnknown(value, root) : []
  const result = schema.safeParse(value, { reportInput: true, error: issueMessage })
  if (!result.success) {
    const findings = result.error.issues.flatMap((issue) => findingsOf(issue, root))
    return { document: undefined, findings: [...findings, ...warnings] }
  }
  const { namespace, name } = identityOf(kind, value)!
  const origin: Origin = { file: raw.file, ...raw.place([]) }
  const document = {
    kind,
    apiVersion,
    namespace,
    name,
    value: result.data,
    origin,
    version: documentVersion(value),
    locate: (path: Path) => raw.place(path),
  }
  // The registry pairs each kind with its schema, which has just accepted the value.
  return { document: document as Document, findings: warnings }
}

function warnUnknown(value: unknown, root: JsonSchema): PathFinding[] {
  return unknownFields(value, root).map((path) => unknownField(path, root, 'warning'))
}

function identityOf(kind: Kind, value: Readonly<Record<string, unknown>>): Identity | undefined {
  const metadata = value['metadata']
  if (!isRecord(metadata) || typeof metadata['name'] !== 'string') return undefined
  const named = metadata['namespace']
  const { scope }: KindTraits = kinds[kind]
  const namespace = scope === 'Cluster' ? '' : typeof named === 'string' ? named : 'default'
  return { kind, namespace, name: metadata['name'] }
}

function refuse(path: Path, finding: PathFinding['finding']): ReadDocument {
  return { document: undefined, identity: undefined, findings: [{ path, atKey: false, finding }] }
}

function missing(field: string, value: unknown): PathFinding['finding'] {
  if (value === undefined)
    return { code: 'missing-field', message: `missing field "${field}"`, expected: `one of ${kindNames.join(', ')}` }
  return { code: 'wrong-type', message: `${JSON.stringify(value).slice(0, 40)} is not a string`, expected: 'a string' }
}

function unknownKind(kind: string): PathFinding['finding'] {
  const foreign = Object.hasOwn(foreignKinds, kind) ? foreignKinds[kind] : undefined
  const suggestion = foreign ?? closest(kind, kindNames)
  return {
    code: 'unknown-kind',
    message: `unknown kind "${kind.slice(0, 80)}"`,
    expected: `one of ${kindNames.join(', ')}`,
    suggestion,
  }
}

function wrongApiVersion(kind: Kind, right: string, found: unknown): PathFinding['finding'] {
  if (found === undefined) return { code: 'missing-field', message: 'missing field "apiVersion"', expected: right }
  const written = typeof found === 'string' ? `"${found.slice(0, 80)}"` : 'this'
  return { code: 'unknown-api-version', message: `${kind} of apiVersion ${written} is not known`, suggestion: right }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

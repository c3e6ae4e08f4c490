/** Which resources bring a document to sidecars: those whose acknowledgement means that it is in force. */
import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import { documentKey, objectKey } from '../model/document-key.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import { nearby } from '../model/selection.ts'
import { byScope, telemetryOf } from '../model/workload-policy.ts'
import type { SnapshotEntry } from '../snapshot/entry.ts'

/** By the document's key, the names of resources. */
export type Carriers = ReadonlyMap<string, ReadonlySet<string>>

/** What is published: SnapshotCache. */
export interface Published {
  /** False: nothing is. */
  readonly synced: boolean
  get(name: string): SnapshotEntry | undefined
  names(): Iterable<string>
}

const policyRefType = 'outrigger.v1alpha1.PolicyRef'

/** An entry is replaced, never changed. */
const mentions = new WeakMap<SnapshotEntry, readonly string[]>()

/** Finds them: each resource names the documents that it was made of, but for two kinds, of which only the closest is named. */
export function carriersOf(model: MeshModel, published: Published): Carriers {
  const carriers = new Map<string, Set<string>>()
  const add = (key: string, resource: string): void => {
    const known = carriers.get(key)
    if (known === undefined) carriers.set(key, new Set([resource]))
    else known.add(resource)
  }
  for (const name of published.names()) {
    // Addresses and endpoints are many, and name no document.
    const entry = /^(?:mesh$|service\/|workload\/)/.test(name) ? published.get(name) : undefined
    if (entry !== undefined) for (const key of mentionedBy(entry)) add(key, name)
  }
  if (!mayBeUnnamed(model)) return carriers
  for (const pod of model.index.all('Pod')) {
    for (const policy of alsoOf(model, pod)) add(documentKey(policy), `workload/${objectKey(pod)}`)
  }
  return carriers
}

/** Most meshes have neither, and many Pods. */
function mayBeUnnamed({ index }: MeshModel): boolean {
  return (
    index.all('PeerAuthentication').some(({ value }) => value.spec.portLevelMtls !== undefined) ||
    index.all('TelemetryPolicy').some(({ value }) => value.spec.accessLog !== undefined)
  )
}

/** Ports by the workload's own policy, and the access log, may come from another document than the one that is named. */
function alsoOf(model: MeshModel, pod: DocumentOf<'Pod'>): Document[] {
  const own = byScope(nearby(model.index, 'PeerAuthentication', pod), pod).workload[0]
  const { accessLog } = telemetryOf(model.index, pod)
  return [own, accessLog].filter((policy) => policy !== undefined)
}

function mentionedBy(entry: SnapshotEntry): readonly string[] {
  let known = mentions.get(entry)
  if (known === undefined) {
    const found = new Set<string>()
    collect(entry.resource.body.value, found)
    mentions.set(entry, (known = [...found]))
  }
  return known
}

function collect(value: unknown, found: Set<string>): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) collect(item, found)
    return
  }
  const message = value as { readonly $typeName?: string; readonly kind: string; namespace: string; name: string }
  if (message.$typeName === policyRefType) found.add(documentKey(message))
  else for (const field of Object.values(value)) collect(field, found)
}

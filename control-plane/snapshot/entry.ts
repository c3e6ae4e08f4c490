import { createHash } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  AddressSchema,
  EndpointSetSchema,
  MeshSchema,
  type Resource,
  ResourceSchema,
  ServiceSchema,
  WorkloadSchema,
} from '../../src/api/gen/outrigger_pb.ts'

/** What a resource says, without name and version. */
export type ResourceBody = Exclude<Resource['body'], { case: undefined }>

/** One resource at one version, encoded once and shared by every stream that needs it. */
export interface SnapshotEntry {
  /** As in outrigger.proto: `service/NS/NAME`, `address/IP:PORT`, ... */
  readonly name: string
  /** Hash of the body's bytes: equal content has an equal version, also after a restart. */
  readonly version: string
  /** The encoded `Resource`, for `Delta.upserts`. */
  readonly bytes: Uint8Array
  readonly resource: Resource
}

/** Encodes a body under its name; `before` is returned as it is when it says the same. */
export function snapshotEntry(name: string, body: ResourceBody, before?: SnapshotEntry): SnapshotEntry {
  const version = createHash('sha256').update(bodyBytes(body)).digest('hex').slice(0, 16)
  if (before !== undefined && before.version === version) return before
  const resource = create(ResourceSchema, { name, version, body })
  return { name, version, resource, bytes: toBinary(ResourceSchema, resource) }
}

function bodyBytes(body: ResourceBody): Uint8Array {
  switch (body.case) {
    case 'mesh':
      return toBinary(MeshSchema, body.value)
    case 'workload':
      return toBinary(WorkloadSchema, body.value)
    case 'service':
      return toBinary(ServiceSchema, body.value)
    case 'endpoints':
      return toBinary(EndpointSetSchema, body.value)
    case 'address':
      return toBinary(AddressSchema, body.value)
  }
}

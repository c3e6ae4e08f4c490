import { create } from '@bufbuild/protobuf'
import type { Document } from '../../src/api/documents/document.ts'
import { type PolicyRef, PolicyRefSchema } from '../../src/api/gen/outrigger_pb.ts'

/** Names the document that decided. */
export function policyRef(document: Pick<Document, 'kind' | 'namespace' | 'name' | 'version'>): PolicyRef {
  const { kind, namespace, name, version } = document
  return create(PolicyRefSchema, { kind, namespace, name, version })
}

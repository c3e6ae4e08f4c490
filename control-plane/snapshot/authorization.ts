import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Authorization, AuthorizationSchema } from '../../src/api/gen/outrigger_pb.ts'
import { policyRef } from './policy-ref.ts'

/** One AuthorizationPolicy, in the form in which the callee evaluates it. */
export function authorization(document: DocumentOf<'AuthorizationPolicy'>): Authorization {
  const { action, mode, rules } = document.value.spec
  return create(AuthorizationSchema, {
    ref: policyRef(document),
    deny: action === 'DENY',
    shadow: mode === 'Shadow',
    rules: rules.map((rule) => ({ sources: (rule.from ?? []).map(listed), operations: (rule.to ?? []).map(listed) })),
  })
}

/** Leaves out what is not set: in the message an empty list is what says "anything". */
function listed<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(value).filter(([, list]) => list !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}

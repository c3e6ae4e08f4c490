import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type Message, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import {
  type Resource,
  ResourceSchema,
  RouteMatchSchema,
  RuleSchema,
  ServiceSchema,
  WorkloadSchema,
} from '../api/gen/outrigger_pb.ts'
import { decodeResource, nameOf } from './strict-decode.ts'

function encoded(body: Resource['body'], name = 'service/shop/a'): Uint8Array {
  return toBinary(ResourceSchema, create(ResourceSchema, { name, version: 'v1', body }))
}

/** A field that no version of the contract has, as a newer control plane would send it. */
function withUnknown<T extends Message>(message: T): T {
  message.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }]
  return message
}

test('what is understood whole is decoded', () => {
  const rules = [create(RuleSchema, { name: '0', matches: [create(RouteMatchSchema, { path: '/a' })] })]
  const resource = decodeResource(encoded({ case: 'service', value: create(ServiceSchema, { name: 'a', rules }) }))
  assert.equal(resource.body.case === 'service' && resource.body.value.rules[0]?.matches[0]?.path, '/a')
  decodeResource(encoded({ case: 'workload', value: create(WorkloadSchema, { mtls: 3, portMtls: { 80: 1 } }) }))
})

test('an unknown field is refused wherever it is, with its place', () => {
  const match = withUnknown(create(RouteMatchSchema, { path: '/a' }))
  const rules = [create(RuleSchema, {}), create(RuleSchema, { matches: [match] })]
  const deep = encoded({ case: 'service', value: create(ServiceSchema, { rules }) })
  assert.throws(
    () => decodeResource(deep),
    /^Error: service\.rules\[1\]\.matches\[0\] has a field \(number 99\).*upgrade the sidecar/,
  )
  const top = toBinary(ResourceSchema, withUnknown(create(ResourceSchema, { name: 'x', version: 'v' })))
  assert.throws(() => decodeResource(top), /the resource has a field \(number 99\)/)
  assert.deepEqual(nameOf(top), { name: 'x', version: 'v' })
})

test('an unknown enum value is refused: it may be the one that protects', () => {
  const workload = (value: MessageInitShape<typeof WorkloadSchema>) =>
    encoded({ case: 'workload', value: create(WorkloadSchema, value) })
  assert.throws(() => decodeResource(workload({ mtls: 9 as never })), /workload\.mtls has the value 9/)
  assert.throws(
    () => decodeResource(workload({ portMtls: { 80: 9 as never } })),
    /workload\.port_mtls\[80\] has the value 9/,
  )
})

test('a resource without name or body is none', () => {
  assert.throws(() => decodeResource(new Uint8Array()), /no name/)
  assert.throws(() => decodeResource(encoded({ case: undefined })), /no body/)
  assert.throws(() => decodeResource(Buffer.from([0xff])))
  assert.deepEqual(nameOf(Buffer.from([0xff])), { name: '', version: '' })
})

import { type DescEnum, fromBinary } from '@bufbuild/protobuf'
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect'
import { type Resource, ResourceSchema } from '../api/gen/outrigger_pb.ts'

/**
 * Decodes a resource and refuses what this program does not understand: an unknown field or enum value anywhere in it
 * may be the very part that protects something, and ignoring it would be falling back to a default in silence.
 * Throws an Error that names the place.
 */
export function decodeResource(bytes: Uint8Array): Resource {
  const resource = fromBinary(ResourceSchema, bytes)
  refuseUnknown(reflect(ResourceSchema, resource), '')
  if (resource.name === '') throw new Error('the resource has no name')
  if (resource.body.case === undefined) throw new Error('the resource has no body')
  return resource
}

/** The name and version of a resource that may not be understood; empty when not even those can be read. */
export function nameOf(bytes: Uint8Array): { readonly name: string; readonly version: string } {
  try {
    const { name, version } = fromBinary(ResourceSchema, bytes)
    return { name, version }
  } catch {
    return { name: '', version: '' }
  }
}

function refuseUnknown(message: ReflectMessage, path: string): void {
  const unknown = message.getUnknown()?.[0]
  if (unknown !== undefined) {
    throw new Error(
      `${path === '' ? 'the resource' : path.slice(1)} has a field (number ${unknown.no}) that this sidecar does not know: upgrade the sidecar`,
    )
  }
  for (const field of message.fields) {
    if (!message.isSet(field)) continue
    const at = `${path}.${field.name}`
    if (field.fieldKind === 'message') refuseUnknown(message.get(field), at)
    else if (field.fieldKind === 'enum') refuseUnknownValue(field.enum, message.get(field), at)
    else if (field.fieldKind === 'list') {
      let index = 0
      for (const item of message.get(field)) {
        const itemAt = `${at}[${index++}]`
        if (field.listKind === 'message') refuseUnknown(item as ReflectMessage, itemAt)
        else if (field.listKind === 'enum') refuseUnknownValue(field.enum, item as number, itemAt)
      }
    } else if (field.fieldKind === 'map' && field.mapKind !== 'scalar') {
      for (const [key, value] of message.get(field)) {
        const valueAt = `${at}[${String(key)}]`
        if (field.mapKind === 'message') refuseUnknown(value as ReflectMessage, valueAt)
        else refuseUnknownValue(field.enum, value as number, valueAt)
      }
    }
  }
}

function refuseUnknownValue(type: DescEnum, value: number, path: string): void {
  if (type.value[value] !== undefined) return
  throw new Error(`${path.slice(1)} has the value ${value}, which this sidecar does not know: upgrade the sidecar`)
}

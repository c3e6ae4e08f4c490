import { fromBinary } from '@bufbuild/protobuf'
import { ResourceSchema } from '../../../src/api/gen/outrigger_pb.ts'
import { readMark } from './mesh.ts'

/** What the bench wants to know of a resource. */
export interface Received {
  readonly name: string
  readonly version: string
  /** The newest change that it is of. */
  readonly mark: number
}

/** Decodes each resource once, however many sidecars get the same bytes: they are not what is measured. */
export function resourceReader(): (bytes: Uint8Array) => Received {
  const known = new Map<string, Received>()
  return (bytes) => {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    let received = known.get(text)
    if (received === undefined) {
      const { name, version } = fromBinary(ResourceSchema, bytes)
      known.set(text, (received = { name, version, mark: readMark(text) }))
    }
    return received
  }
}

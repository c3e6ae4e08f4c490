import { fromBinary } from '@bufbuild/protobuf'
import { ResourceSchema, type ServerMessage } from '../../../src/api/gen/outrigger_pb.ts'
import { watchMethod } from '../../../src/api/services.ts'
import { readMark } from './mesh.ts'

/** What the bench wants to know of a resource. */
export interface Received {
  readonly name: string
  readonly version: string
  /** The newest change that it is of. */
  readonly mark: number
}

/** Messages that are so long are the same for many, and few. */
const sharedBytesMin = 200
const sharedMax = 500

const messages = new Map<string, ServerMessage>()

/** Decodes each delta once, however many sidecars get the same bytes. */
export function readServerMessage(bytes: Buffer): ServerMessage {
  if (bytes.length < sharedBytesMin) return watchMethod.responseDeserialize(bytes)
  const text = bytes.toString('latin1')
  let message = messages.get(text)
  if (message === undefined) {
    // A first snapshot is nobody else's; what is forgotten is decoded again.
    if (messages.size >= sharedMax) messages.clear()
    // The bytes of its resources must not hold on to what came with them.
    messages.set(text, (message = watchMethod.responseDeserialize(Buffer.from(bytes))))
  }
  return message
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

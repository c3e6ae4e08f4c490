/** Requests of grpc.testing.TestService as files for the generator, encoded by hand: two fields are not worth a library. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'

/** Bytes in the body of an answer, or of each message of a stream. */
const bodyBytes = 128
/** Messages of one stream. */
export const streamMessages = 1_000

/** A message on the wire: its prefix (5), its payload (3 and 3), its body. */
export const messageBytes = 5 + 3 + 3 + bodyBytes

export const grpcPaths = {
  unary: '/grpc.testing.TestService/UnaryCall',
  stream: '/grpc.testing.TestService/StreamingOutputCall',
} as const

/** Writes both files to a folder. */
export function writeGrpcRequests(folder: string): void {
  // SimpleRequest: response_size = 2.
  writeFileSync(grpcRequest(folder, 'unary'), prefixed(Buffer.from([0x10, 0x80, 0x01])))
  // StreamingOutputCallRequest: response_parameters = 2, each with its size = 1.
  const one = Buffer.from([0x12, 3, 0x08, 0x80, 0x01])
  const all = Buffer.concat(Array.from({ length: streamMessages }, () => one))
  writeFileSync(grpcRequest(folder, 'stream'), prefixed(all))
}

export function grpcRequest(folder: string, name: keyof typeof grpcPaths): string {
  return path.join(folder, `${name}.grpc`)
}

function prefixed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

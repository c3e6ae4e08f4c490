/** grpc.health.v1.Health/Check (gRPC health checking protocol v1), one call on a connection of its own. Loaded when it is needed. */
import { connect, constants, type IncomingHttpHeaders } from 'node:http2'
import type { GrpcProbe } from '../api/app-probe.ts'
import { type Dial, type ProbeCall, ProbeFailure, type ProbeResult } from './probe-call.ts'

const ok = 0
const unimplemented = 12
const notFound = 5
/** HealthCheckResponse.ServingStatus. */
const servingStatus: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']
const answerBytesMax = 4_096

/** By hand and not by grpc-js: that cannot dial from the address that capture leaves alone. */
export function probeGrpc(probe: GrpcProbe, call: ProbeCall, dial: Dial, signal: AbortSignal): Promise<ProbeResult> {
  const { address } = call
  const authority = `${address.includes(':') ? `[${address}]` : address}:${probe.port}`
  const session = connect(`http://${authority}`, { createConnection: () => dial(address, probe.port) })
  return new Promise<ProbeResult>((resolve, reject) => {
    session.on('error', reject)
    session.on('close', () => reject(new ProbeFailure(503, 'the application closed the connection')))
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': call.headers['user-agent'] ?? 'kube-probe',
    })
    let head: IncomingHttpHeaders = {}
    let trailers: IncomingHttpHeaders = {}
    let body: Buffer = Buffer.alloc(0)
    stream.on('error', reject)
    stream.on('response', (headers) => {
      head = headers
    })
    stream.on('trailers', (headers) => {
      trailers = headers
    })
    stream.on('data', (chunk: Buffer) => {
      body = Buffer.concat([body, chunk])
      if (body.length > answerBytesMax) reject(new ProbeFailure(502, 'the answer is too long for a health check'))
    })
    stream.on('end', () => resolve(resultOf(head, trailers, body)))
    stream.end(question(probe.service))
  }).finally(() => session.destroy())
}

/** HealthCheckRequest{service}, behind the five bytes of gRPC's framing. */
function question(service: string): Buffer {
  const name = Buffer.from(service)
  const field = name.length === 0 ? [] : [Buffer.from([0x0a, ...varint(name.length)]), name]
  const message = Buffer.concat(field)
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(message.length, 1)
  return Buffer.concat([frame, message])
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80)
  return [...bytes, value]
}

function resultOf(head: IncomingHttpHeaders, trailers: IncomingHttpHeaders, body: Buffer): ProbeResult {
  const httpStatus = Number(head[':status'])
  if (httpStatus !== 200) return { status: 502, reason: `the application answers HTTP ${httpStatus}, not gRPC` }
  // An answer without a body has its status among the headers.
  const code = Number(trailers['grpc-status'] ?? head['grpc-status'] ?? Number.NaN)
  if (code === unimplemented) return { status: 501, reason: 'the application does not implement grpc.health.v1.Health' }
  if (code === notFound) return { status: 503, reason: 'the application knows no service of that name' }
  if (code !== ok) return { status: 503, reason: `the health check ended with gRPC status ${code}` }
  const status = servingStatusOf(body)
  if (status === undefined) return { status: 502, reason: 'the answer is no HealthCheckResponse' }
  return { status: status === 1 ? 200 : 503, reason: `the application is ${servingStatus[status] ?? status}` }
}

/** The field `status` (1, a varint) of one uncompressed message; a message without it says UNKNOWN. */
function servingStatusOf(body: Buffer): number | undefined {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) return undefined
  if (body.length === 5) return 0
  return body[5] === 0x08 && body.length === 7 ? body[6] : undefined
}

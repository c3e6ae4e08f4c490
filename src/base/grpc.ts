/**
 * What the mesh must know of gRPC (grpc doc/PROTOCOL-HTTP2.md): which requests are calls, and how a call went. Its
 * outcome is `grpc-status`, in the trailers, or among the headers of an answer that has nothing else ("Trailers-Only").
 */
import type { MeshError } from './errors.ts'
import type { Headers, RequestHead, Response } from './exchange.ts'
import { headerValue } from './headers.ts'

/** By number (grpc doc/statuscodes.md). */
export const grpcStatusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

export type GrpcStatusName = (typeof grpcStatusNames)[number]

/** Number of each name. */
export const grpcStatuses = Object.fromEntries(grpcStatusNames.map((name, number) => [name, number])) as Readonly<
  Record<GrpcStatusName, number>
>

/** Name of a status; '' for what is none (-1: it is not known yet). */
export function grpcStatusName(status: number): GrpcStatusName | '' {
  return grpcStatusNames[status] ?? ''
}

/**
 * Whether a request is a gRPC call: POST with a content type of its own, with whatever encoding behind it. gRPC-Web is
 * not: its answers have another form. Exchange has it as a member, so that it is looked at once.
 */
export function isGrpcRequest({ method, headers }: RequestHead): boolean {
  if (method !== 'POST') return false
  const type = headerValue(headers, 'content-type')
  return type !== undefined && /^application\/grpc(?:[+;]|$)/i.test(type)
}

/** `package.Service/Method` of a call's path `/package.Service/Method`; '' for a path that names none. */
export function grpcMethodOf(target: string): string {
  return /^\/([A-Za-z_][\w.]*\/[A-Za-z_]\w*)$/.exec(target)?.[1] ?? ''
}

/** Status that stands for an answer without one (grpc doc/http-grpc-status-mapping.md). */
export function grpcOfHttpStatus(status: number): number {
  switch (status) {
    case 400:
      return grpcStatuses.INTERNAL
    case 401:
      return grpcStatuses.UNAUTHENTICATED
    case 403:
      return grpcStatuses.PERMISSION_DENIED
    case 404:
      return grpcStatuses.UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return grpcStatuses.UNAVAILABLE
    default:
      return grpcStatuses.UNKNOWN
  }
}

/** Status of a call whose stream was reset with this error code of HTTP/2 (grpc doc/PROTOCOL-HTTP2.md, "Errors"). */
export function grpcOfReset(code: number): number {
  switch (code) {
    case 7: // REFUSED_STREAM
      return grpcStatuses.UNAVAILABLE
    case 8: // CANCEL
      return grpcStatuses.CANCELLED
    case 11: // ENHANCE_YOUR_CALM
      return grpcStatuses.RESOURCE_EXHAUSTED
    case 12: // INADEQUATE_SECURITY
      return grpcStatuses.PERMISSION_DENIED
    default:
      return grpcStatuses.INTERNAL
  }
}

/** What counts against a server (OpenTelemetry RPC conventions: error statuses of server spans). */
export function isServerError(status: number): boolean {
  switch (status) {
    case grpcStatuses.UNKNOWN:
    case grpcStatuses.DEADLINE_EXCEEDED:
    case grpcStatuses.UNIMPLEMENTED:
    case grpcStatuses.INTERNAL:
    case grpcStatuses.UNAVAILABLE:
    case grpcStatuses.DATA_LOSS:
      return true
    default:
      return false
  }
}

/**
 * Whether an answer to a call is its status and nothing else: no message came, and none will. In one head, or in a head
 * and trailers that came together with it.
 */
export function isTrailersOnly({ body }: Response): boolean {
  return body.length === 0
}

/**
 * What a client makes of an answer to a call. -1 while it is not known: the body is not at its end. An answer that ends
 * without a status is UNKNOWN, unless its HTTP status says more.
 */
export function grpcStatusOf(response: Response): number {
  const { trailers, status, failure } = response
  const told = trailers === undefined ? undefined : headerValue(trailers, 'grpc-status')
  if (told !== undefined) return readStatus(told)
  if (isTrailersOnly(response)) {
    const own = headerValue(response.headers, 'grpc-status')
    if (own !== undefined) return readStatus(own)
  }
  if (status !== 200) return grpcOfHttpStatus(status)
  if (!response.finished) return -1
  return failure === undefined ? grpcStatuses.UNKNOWN : failure.grpc
}

/** A number that nobody knows is UNKNOWN, as it is to clients. */
function readStatus(text: string): number {
  return /^(?:\d|1[0-6])$/.test(text) ? Number(text) : grpcStatuses.UNKNOWN
}

/** `grpc-status` and `grpc-message` of an error: what a call ends with, whether its answer has begun or not. */
export function grpcFieldsOf(error: MeshError): Headers {
  return ['grpc-status', String(error.grpc), 'grpc-message', percentEncoded(`${error.code}: ${error.publicMessage}`)]
}

/** As `grpc-message` wants it: what is not printable ASCII, and the percent sign, as %XX of its UTF-8 bytes. */
function percentEncoded(text: string): string {
  let encoded = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}

import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import {
  type AcksRequest,
  AcksRequestSchema,
  type AcksResponse,
  AcksResponseSchema,
  type CertificateRequest,
  CertificateRequestSchema,
  type CertificateResponse,
  CertificateResponseSchema,
  type ClientMessage,
  ClientMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from './gen/outrigger_pb.ts'

/** The version of the contract that this program speaks, as in `Hello.schemas`. */
export const schemaVersion = 'v1alpha1'

/** One method in the form that `@grpc/grpc-js` takes on both ends. */
export interface Method<Request, Response> {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestSerialize: (value: Request) => Buffer
  readonly requestDeserialize: (bytes: Buffer) => Request
  readonly responseSerialize: (value: Response) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => Response
}

/** `Control.Watch`: the policy stream. */
export const watchMethod: Method<ClientMessage, ServerMessage> = {
  path: '/outrigger.v1alpha1.Control/Watch',
  requestStream: true,
  responseStream: true,
  ...coded(ClientMessageSchema, ServerMessageSchema),
}

/** `Identity.SignCertificate`: a proof of identity becomes a certificate. */
export const signCertificateMethod: Method<CertificateRequest, CertificateResponse> = {
  path: '/outrigger.v1alpha1.Identity/SignCertificate',
  requestStream: false,
  responseStream: false,
  ...coded(CertificateRequestSchema, CertificateResponseSchema),
}

/** `Peers.Acks`: how far the sidecars of another replica are. */
export const acksMethod: Method<AcksRequest, AcksResponse> = {
  path: '/outrigger.v1alpha1.Peers/Acks',
  requestStream: false,
  responseStream: false,
  ...coded(AcksRequestSchema, AcksResponseSchema),
}

/** A ClientMessage of one kind. */
export function clientMessage(message: ClientMessage['message']): ClientMessage {
  return create(ClientMessageSchema, { message })
}

/** A ServerMessage of one kind. */
export function serverMessage(message: ServerMessage['message']): ServerMessage {
  return create(ServerMessageSchema, { message })
}

function coded<Request extends DescMessage, Response extends DescMessage>(request: Request, response: Response) {
  return {
    requestSerialize: (value: MessageShape<Request>) => buffer(toBinary(request, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(request, bytes),
    responseSerialize: (value: MessageShape<Response>) => buffer(toBinary(response, value)),
    responseDeserialize: (bytes: Buffer) => fromBinary(response, bytes),
  }
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

import { create } from '@bufbuild/protobuf'
import { type Metadata, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import {
  type CertificateRequest,
  type CertificateResponse,
  CertificateResponseSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { parseSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts'
import { type Authority, SigningRequestError } from './authority.ts'
import type { PeerProof } from './peer-proof.ts'
import { type TokenChecker, TokenError } from './token.ts'
import { TokenReviewUnavailable } from './token-review.ts'

// A P-256 request has about 250 bytes.
const requestBytesMax = 16_384

export interface IdentityServiceOptions {
  readonly authority: Authority
  readonly tokens: TokenChecker
  readonly log: Log
  /** What the connection of a call has proved. */
  readonly proofOf: (call: ServerUnaryCall<CertificateRequest, CertificateResponse>) => PeerProof
}

/** `Identity.SignCertificate`: a join token, or the certificate that is to be renewed, becomes a certificate. */
export class IdentityService {
  /** Certificates by what proved the identity, since the start: `token`, `certificate`. */
  readonly issued = new Map<string, number>()
  /** Refusals by cause since the start, for status: `expired`, `wrong-audience`, `wrong-key`, `malformed`, `no-proof`, ... */
  readonly refusals = new Map<string, number>()
  readonly #options: IdentityServiceOptions
  readonly #log: Log

  constructor(options: IdentityServiceOptions) {
    this.#options = options
    this.#log = options.log.named('identity')
  }

  readonly signCertificate = (
    call: ServerUnaryCall<CertificateRequest, CertificateResponse>,
    callback: sendUnaryData<CertificateResponse>,
  ): void => {
    this.#sign(call).then(
      (response) => callback(null, response),
      (error: unknown) => callback(this.#refusal(error, call.getPeer())),
    )
  }

  async #sign(call: ServerUnaryCall<CertificateRequest, CertificateResponse>): Promise<CertificateResponse> {
    const { authority } = this.#options
    const { csr } = call.request
    if (csr.length > requestBytesMax)
      throw new SigningRequestError(`the request has ${csr.length} bytes, at most ${requestBytesMax}`)
    const { id, by } = await this.#prove(call.metadata, this.#options.proofOf(call))
    const issued = await authority.signRequest(csr, id)
    this.issued.set(by, (this.issued.get(by) ?? 0) + 1)
    this.#log.info(`certificate issued to ${issued.spiffeId}`, {
      'client.address': call.getPeer(),
      proof: by,
      'tls.client.not_after': new Date(issued.expiresAtMs).toISOString(),
    })
    return create(CertificateResponseSchema, {
      certificateChain: issued.certificateChainPem,
      trustBundle: authority.trustBundlePem,
      trustDomain: authority.trustDomain,
    })
  }

  async #prove(metadata: Metadata, proof: PeerProof): Promise<{ id: SpiffeId; by: 'certificate' | 'token' }> {
    if (proof.is === 'verified') return { id: parseSpiffeId(proof.spiffeId)!, by: 'certificate' }
    const token = bearer(metadata)
    if (token !== undefined) {
      const { trustDomain } = this.#options.authority
      const { namespace, serviceAccount } = await this.#options.tokens.check(token, trustDomain)
      return { id: { trustDomain, namespace, serviceAccount }, by: 'token' }
    }
    if (proof.is === 'refused') throw new Refusal('bad-certificate', proof.reason)
    throw new Refusal(
      'no-proof',
      'neither a client certificate nor a join token: make one with `outrigger token NAMESPACE/SERVICEACCOUNT`',
    )
  }

  #refusal(error: unknown, peer: string): { code: status; details: string } {
    if (error instanceof SigningRequestError) {
      this.#count('bad-request', error.message, peer)
      return { code: status.INVALID_ARGUMENT, details: error.message }
    }
    if (error instanceof TokenError || error instanceof Refusal) {
      this.#count(error.fault, error.message, peer)
      return { code: status.UNAUTHENTICATED, details: error.message }
    }
    // Nobody's fault here: the sidecar asks again.
    if (error instanceof TokenReviewUnavailable) {
      this.#count('unavailable', messageOf(error.cause), peer)
      return { code: status.UNAVAILABLE, details: error.message }
    }
    this.#log.error('a certificate could not be issued', { error, 'client.address': peer })
    return { code: status.INTERNAL, details: `the control plane could not issue a certificate: ${messageOf(error)}` }
  }

  #count(fault: string, message: string, peer: string): void {
    this.refusals.set(fault, (this.refusals.get(fault) ?? 0) + 1)
    this.#log.warn(`certificate refused: ${message}`, { fault, 'client.address': peer })
  }
}

class Refusal extends Error {
  readonly fault: string
  constructor(fault: string, message: string) {
    super(message)
    this.fault = fault
  }
}

function bearer(metadata: Metadata): string | undefined {
  const [value] = metadata.get('authorization')
  return typeof value === 'string' && value.startsWith('Bearer ') ? value.slice('Bearer '.length) : undefined
}

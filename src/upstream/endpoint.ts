import type { ConnectionPool } from '../api/gen/outrigger_pb.ts'
import type { Attempt, Exchange, Response } from '../base/exchange.ts'

/** One address of a backend, ready to be dialled. */
export interface EndpointTarget {
  /** `ip:port`; the key of pools, breakers and health. IPv6 in brackets. */
  readonly key: string
  readonly address: string
  readonly port: number
  /** SPIFFE id that the peer must prove; '' = not meshed: plaintext. */
  readonly identity: string
  readonly workload: string
  readonly canonicalService: string
  readonly canonicalRevision: string
  readonly zone: string
}

/**
 * Sends one try of an exchange to one endpoint. Resolves with the response head as soon as it is there; the body
 * streams. Rejects with a MeshError whose `unsent` tells whether any byte of the request left.
 * While it runs (and while the body streams) it occupies `exchange.waiting`.
 */
export type SendTry = (
  exchange: Exchange,
  attempt: Attempt,
  target: EndpointTarget,
  limits: ConnectionPool | undefined,
) => Promise<Response>

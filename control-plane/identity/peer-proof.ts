import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../src/base/clock.ts'
import { messageOf } from '../../src/base/log.ts'
import { verifyPeer } from '../../src/base/peer.ts'

/** What a connection has proved about who is at its other end. */
export type PeerProof =
  | { readonly is: 'none' }
  | { readonly is: 'verified'; readonly spiffeId: string; readonly expiresAtMs: number }
  /** It showed a certificate that is not good; the reason is for its owner. */
  | { readonly is: 'refused'; readonly reason: string }

/** Looks once at a connection whose handshake is over. TLS checked the chain; the name is checked here. */
export function peerProof(socket: TLSSocket, trustDomain: string, clock: Clock): PeerProof {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return { is: 'none' }
  if (!socket.authorized) {
    // Typed as an Error, is a code such as CERT_HAS_EXPIRED or UNABLE_TO_VERIFY_LEAF_SIGNATURE.
    return { is: 'refused', reason: `client certificate refused: ${String(socket.authorizationError)}` }
  }
  try {
    const spiffeId = verifyPeer(certificate, { trustDomain, use: 'client', clock })
    return { is: 'verified', spiffeId, expiresAtMs: certificate.validToDate.getTime() }
  } catch (error) {
    return { is: 'refused', reason: messageOf(error) }
  }
}

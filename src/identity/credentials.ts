import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { verifyPeer } from './peer.ts'
import { parseSpiffeId } from './spiffe.ts'

/** Who this workload is and how it proves it. `tls.createSecureContext` takes key, certificate and bundle as they are. */
export interface Credentials {
  /** PKCS#8. */
  readonly privateKeyPem: string
  /** Leaf first. */
  readonly certificateChainPem: string
  /** Every root to trust. */
  readonly trustBundlePem: string
  readonly trustDomain: string
  readonly spiffeId: string
  /** Unix milliseconds. */
  readonly notBeforeMs: number
  readonly expiresAtMs: number
}

/**
 * Checks that key, chain and bundle belong together and hold now, and reads the names from the leaf. Throws an Error or
 * MeshError that says what does not fit.
 */
export function readCredentials(
  pem: Pick<Credentials, 'privateKeyPem' | 'certificateChainPem' | 'trustBundlePem'>,
  clock: Clock,
): Credentials {
  const chain = certificates(pem.certificateChainPem)
  const [leaf] = chain
  if (leaf === undefined) throw new Error('there is no certificate in PEM')
  if (!leaf.checkPrivateKey(createPrivateKey(pem.privateKeyPem))) {
    throw new Error('the certificate is for another key')
  }
  if (!leadsTo(chain, certificates(pem.trustBundlePem))) {
    throw new Error('no root of the trust bundle has signed the certificate')
  }
  const spiffeId = verifyPeer(leaf, { trustDomain: undefined, clock })
  return {
    ...pem,
    trustDomain: parseSpiffeId(spiffeId)!.trustDomain,
    spiffeId,
    notBeforeMs: leaf.validFromDate.getTime(),
    expiresAtMs: leaf.validToDate.getTime(),
  }
}

/** The certificates of a PEM text. */
export function certificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block))
}

/** Leaf, then each that has signed the one before it, until a root has. */
function leadsTo(chain: readonly X509Certificate[], trusted: readonly X509Certificate[]): boolean {
  for (const [at, one] of chain.entries()) {
    if (trusted.some((root) => hasSigned(root, one))) return true
    const next = chain[at + 1]
    if (next === undefined || !next.ca || !hasSigned(next, one)) return false
  }
  return false
}

function hasSigned(issuer: X509Certificate, one: X509Certificate): boolean {
  return one.checkIssued(issuer) && one.verify(issuer.publicKey)
}

/** Whether two PEM bundles have a root in common: a certificate of one mesh is worth nothing in another. */
export function shareRoot(bundlePem: string, otherPem: string): boolean {
  const prints = new Set(certificates(bundlePem).map((root) => root.fingerprint256))
  return certificates(otherPem).some((root) => prints.has(root.fingerprint256))
}

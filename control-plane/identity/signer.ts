import 'reflect-metadata'
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type Name,
  X509Certificate as SignerCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../../src/base/clock.ts'
import { printSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts'

/** What an authority is made of, all PEM. */
export interface AuthorityPem {
  /** P-256. */
  readonly key: string
  /** The certificate that signs; behind it, if it is no root, those up to the root. */
  readonly certificate: string
  /** Every root to trust; default: `certificate`. */
  readonly trustBundle?: string | undefined
}

export interface RootSettings {
  readonly trustDomain: string
  readonly clock: Pick<Clock, 'wall'>
}

/** A leaf and what it chains to. */
export interface IssuedCertificate {
  readonly certificateChainPem: string
  readonly spiffeId: string
  /** Unix milliseconds. */
  readonly expiresAtMs: number
}

export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const
const rootLifetimeMs = 10 * 365 * 86_400_000
// Sidecars whose clock is a little behind accept what was issued just now (reliability F13).
const backdatedMs = 5 * 60_000

/** A key that signs, its certificate, and every root that counts meanwhile. Never changes. */
export class Signer {
  /** PEM of every root to trust, as they were given. */
  readonly trustBundlePem: string
  /** SHA-256 of its certificate. */
  readonly fingerprint: string
  /** Unix milliseconds. */
  readonly expiresAtMs: number
  readonly #key: webcrypto.CryptoKey
  readonly #name: Name
  readonly #publicKey: webcrypto.CryptoKey
  /** What goes with each leaf so that it leads to a root of the bundle; empty when a root signs. */
  readonly #intermediatesPem: string

  private constructor(
    certificate: X509Certificate,
    key: webcrypto.CryptoKey,
    publicKey: webcrypto.CryptoKey,
    trustBundlePem: string,
    intermediatesPem: string,
  ) {
    this.fingerprint = certificate.fingerprint256
    this.expiresAtMs = certificate.validToDate.getTime()
    this.trustBundlePem = trustBundlePem
    this.#key = key
    this.#publicKey = publicKey
    this.#name = new SignerCertificate(certificate.toString()).subjectName
    this.#intermediatesPem = intermediatesPem
  }

  /** Throws an Error that says what of the three does not fit. `wallMs`: now. */
  static async fromPem(pem: AuthorityPem, wallMs: number): Promise<Signer> {
    const chain = certificatesOf(pem.certificate)
    const roots = certificatesOf(pem.trustBundle ?? pem.certificate)
    const [certificate] = chain
    if (certificate === undefined) throw new Error('no certificate in PEM')
    if (roots.length === 0) throw new Error('no root in PEM')
    if (!certificate.ca) throw new Error('its certificate is not one of an authority (CA:TRUE is missing)')
    const key = privateKey(pem.key, certificate)
    if (wallMs > certificate.validToDate.getTime() || wallMs < certificate.validFromDate.getTime()) {
      throw new Error(
        `its certificate is valid from ${certificate.validFromDate.toISOString()} to ${certificate.validToDate.toISOString()}, not now (${new Date(wallMs).toISOString()})`,
      )
    }
    if (rootsOf(chain, roots).length === 0) throw new Error('its certificate leads to none of the roots to trust')
    const isRoot = roots.some(({ fingerprint256 }) => fingerprint256 === certificate.fingerprint256)
    return new Signer(
      certificate,
      await webcrypto.subtle.importKey('pkcs8', new Uint8Array(key), keyAlgorithm, false, ['sign']),
      await importPublic(certificate),
      bundleOf(roots),
      isRoot ? '' : bundleOf(chain.filter(({ issuer, subject }) => issuer !== subject)),
    )
  }

  /** A leaf for server and client use; never a CA, never for longer than the signer. */
  async issue(
    publicKey: webcrypto.CryptoKey,
    id: SpiffeId,
    dnsNames: readonly string[],
    wallMs: number,
    lifetimeMs: number,
  ): Promise<IssuedCertificate> {
    const spiffeId = printSpiffeId(id)
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      // RFC 5280 section 4.2.1.6: an empty subject makes the alternative name critical.
      subject: '',
      issuer: this.#name,
      notBefore: new Date(wallMs - backdatedMs),
      notAfter: new Date(Math.min(wallMs + lifetimeMs, this.expiresAtMs)),
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: signing,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension(
          [{ type: 'url', value: spiffeId }, ...dnsNames.map((value) => ({ type: 'dns' as const, value }))],
          true,
        ),
        await AuthorityKeyIdentifierExtension.create(this.#publicKey),
      ],
    })
    return {
      certificateChainPem: `${certificate.toString('pem')}\n${this.#intermediatesPem}`,
      spiffeId,
      expiresAtMs: certificate.notAfter.getTime(),
    }
  }
}

/** A new self-made root for ten years. */
export async function makeRoot({ trustDomain, clock }: RootSettings): Promise<AuthorityPem> {
  const wallMs = clock.wall()
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: rootName(trustDomain),
    notBefore: new Date(wallMs - backdatedMs),
    notAfter: new Date(wallMs + rootLifetimeMs),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const pem = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const privateKey = createPrivateKey({ key: pem, format: 'der', type: 'pkcs8' })
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `${root.toString('pem')}\n`,
  }
}

/** The certificates of a PEM text. Throws when one of them is damaged. */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block))
}

/** PEM of certificates, each once, in their order. */
export function bundleOf(certificates: readonly X509Certificate[]): string {
  const each = new Map(certificates.map((one) => [one.fingerprint256, one.toString()]))
  return [...each.values()].map((text) => (text.endsWith('\n') ? text : `${text}\n`)).join('')
}

/** Those of `roots` to which a chain leads. */
export function rootsOf(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): readonly X509Certificate[] {
  const last = chain.at(-1)
  return roots.filter((root) => last?.checkIssued(root) === true && last.verify(root.publicKey))
}

function privateKey(pem: string, certificate: X509Certificate): Buffer {
  let key: ReturnType<typeof createPrivateKey>
  try {
    key = createPrivateKey(pem)
  } catch (cause) {
    throw new Error('its key is not a private key in PEM', { cause })
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('its key is not one of P-256 (ECDSA); cert-manager: privateKey {algorithm: ECDSA, size: 256}')
  }
  if (!certificate.checkPrivateKey(key)) throw new Error('its key is not the key of its certificate')
  return key.export({ type: 'pkcs8', format: 'der' })
}

function importPublic(certificate: X509Certificate): Promise<webcrypto.CryptoKey> {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return webcrypto.subtle.importKey('spki', new Uint8Array(spki), keyAlgorithm, true, ['verify'])
}

function rootName(trustDomain: string): string {
  return `CN=Outrigger root ${trustDomain}`
}

/** 127 random bits: positive, and unique without a counter (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}

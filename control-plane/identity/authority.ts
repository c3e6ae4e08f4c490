import 'reflect-metadata'
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../../src/base/clock.ts'
import { printSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts'
import { type StateFolder, StateFolderError } from '../../src/base/state-folder.ts'

export interface AuthorityOptions {
  readonly clock: Clock
  readonly state: StateFolder
  readonly trustDomain: string
  /** Life of a workload's certificate; 24 h by default. */
  readonly certificateLifetimeMs: number
}

/** A leaf and what it chains to. */
export interface IssuedCertificate {
  readonly certificateChainPem: string
  readonly spiffeId: string
  /** Unix milliseconds. */
  readonly expiresAtMs: number
}

/** The request is not one that a certificate can be made of; the message is for its sender. */
export class SigningRequestError extends Error {
  override readonly name = 'SigningRequestError'
}

/** In the state folder; the second is what a sidecar pins. */
export const authorityFiles = { key: 'ca-key.pem', root: 'root.pem' } as const

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const
const rootLifetimeMs = 10 * 365 * 86_400_000
// Sidecars whose clock is a little behind accept what was issued just now (reliability F13).
const backdatedMs = 5 * 60_000

/**
 * The mesh's certificate authority: a self-made P-256 root in the state folder, leaves with one SPIFFE URI each
 * (X509-SVID standard). Who may have which name is decided by its callers.
 */
export class Authority {
  /** PEM of every root to trust. */
  readonly trustBundlePem: string
  readonly trustDomain: string
  readonly #clock: Clock
  readonly #lifetimeMs: number
  readonly #key: webcrypto.CryptoKey
  readonly #root: X509Certificate
  readonly #rootPublicKey: webcrypto.CryptoKey

  private constructor(
    options: AuthorityOptions,
    key: webcrypto.CryptoKey,
    rootPublicKey: webcrypto.CryptoKey,
    root: X509Certificate,
  ) {
    this.trustDomain = options.trustDomain
    this.trustBundlePem = root.toString()
    this.#clock = options.clock
    this.#lifetimeMs = options.certificateLifetimeMs
    this.#key = key
    this.#rootPublicKey = rootPublicKey
    this.#root = root
  }

  /** The authority of a state folder, made on first use. Throws StateFolderError when what lies there cannot be used. */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const { state, trustDomain, clock } = options
    const keyPem = await state.read(authorityFiles.key)
    const rootPem = await state.read(authorityFiles.root)
    if (keyPem === undefined && rootPem === undefined) return createAuthority(options)
    if (keyPem === undefined || rootPem === undefined) {
      const [there, missing] =
        keyPem === undefined ? [authorityFiles.root, authorityFiles.key] : [authorityFiles.key, authorityFiles.root]
      throw new StateFolderError(
        `${state.path} has ${there} but no ${missing}: put it back, or remove both to start a new authority (all sidecars must enrol again)`,
      )
    }
    const root = readRoot(state, rootPem)
    const name = root.subjectAltName
    if (name !== `URI:spiffe://${trustDomain}`) {
      throw new StateFolderError(
        `the authority in ${state.path} is of ${name?.replace('URI:', '') ?? 'no trust domain'}, not of spiffe://${trustDomain}: ` +
          'choose that --trust-domain, or another --state-dir',
      )
    }
    if (clock.wall() > root.validToDate.getTime() || clock.wall() < root.validFromDate.getTime()) {
      throw new StateFolderError(
        `the root in ${state.path} is valid from ${root.validFromDate.toISOString()} to ${root.validToDate.toISOString()}, not now ` +
          `(${new Date(clock.wall()).toISOString()}): set this machine's clock, or remove ${authorityFiles.key} and ${authorityFiles.root} to start a new authority`,
      )
    }
    const key = readKey(state, keyPem, root)
    return new Authority(options, await importPrivate(key), await importPublic(root), root)
  }

  get rootExpiresAtMs(): number {
    return this.#root.validToDate.getTime()
  }

  /**
   * Issues for the public key of a PKCS#10 request, whose signature proves that the sender has the private one. Name and usages
   * in the request are not looked at. Throws SigningRequestError.
   */
  async signRequest(request: Uint8Array, id: SpiffeId): Promise<IssuedCertificate> {
    let publicKey: webcrypto.CryptoKey
    try {
      const parsed = new Pkcs10CertificateRequest(Buffer.from(request))
      publicKey = await parsed.publicKey.export(algorithm, ['verify'])
      if (!(await parsed.verify())) throw new Error('its signature is wrong')
    } catch (cause) {
      throw new SigningRequestError('not a certificate request (PKCS#10, DER) for a P-256 key', { cause })
    }
    return this.issue(publicKey, id)
  }

  /** A leaf for server and client use; never a CA, never for longer than the root. */
  async issue(publicKey: webcrypto.CryptoKey, id: SpiffeId): Promise<IssuedCertificate> {
    const spiffeId = printSpiffeId(id)
    const now = this.#clock.wall()
    const notAfter = Math.min(now + this.#lifetimeMs, this.#root.validToDate.getTime())
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      // RFC 5280 section 4.2.1.6: an empty subject makes the alternative name critical.
      subject: '',
      issuer: rootName(this.trustDomain),
      notBefore: new Date(now - backdatedMs),
      notAfter: new Date(notAfter),
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: signing,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }], true),
        await AuthorityKeyIdentifierExtension.create(this.#rootPublicKey),
      ],
    })
    return {
      certificateChainPem: `${certificate.toString('pem')}\n`,
      spiffeId,
      expiresAtMs: certificate.notAfter.getTime(),
    }
  }
}

async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { state, trustDomain, clock } = options
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const now = clock.wall()
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: rootName(trustDomain),
    notBefore: new Date(now - backdatedMs),
    notAfter: new Date(now + rootLifetimeMs),
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
  await state.write(authorityFiles.key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  await state.write(authorityFiles.root, `${root.toString('pem')}\n`)
  return Authority.open(options)
}

function readRoot(state: StateFolder, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new StateFolderError(`${authorityFiles.root} in ${state.path} is damaged: restore it`, { cause })
  }
}

function readKey(state: StateFolder, pem: Buffer, root: X509Certificate): Buffer {
  try {
    const key = createPrivateKey(pem)
    if (root.checkPrivateKey(key)) return key.export({ type: 'pkcs8', format: 'der' })
  } catch {
    // Said below.
  }
  throw new StateFolderError(
    `${authorityFiles.key} in ${state.path} is not the key of ${authorityFiles.root}: restore it`,
  )
}

function importPrivate(pkcs8: Buffer): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), algorithm, false, ['sign'])
}

function importPublic(root: X509Certificate): Promise<webcrypto.CryptoKey> {
  const spki = root.publicKey.export({ type: 'spki', format: 'der' })
  return webcrypto.subtle.importKey('spki', new Uint8Array(spki), algorithm, true, ['verify'])
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

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
  Pkcs10CertificateRequest,
  X509Certificate as SignerCertificate,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Clock } from '../../src/base/clock.ts'
import { printSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts'
import { type StateFolder, StateFolderError } from '../../src/base/state-folder.ts'

export interface AuthoritySettings {
  readonly clock: Clock
  readonly trustDomain: string
  /** Life of a workload's certificate; 24 h by default. */
  readonly certificateLifetimeMs: number
}

export interface AuthorityOptions extends AuthoritySettings {
  readonly state: StateFolder
}

/** What an authority is made of, all PEM. */
export interface AuthorityPem {
  /** PKCS#8, P-256. */
  readonly key: string
  /** The certificate that signs; behind it, if it is no root, those up to the root. */
  readonly certificate: string
  /** Every root to trust; default: `certificate`. */
  readonly trustBundle?: string | undefined
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
  readonly #signer: X509Certificate
  readonly #signerName: Name
  readonly #signerPublicKey: webcrypto.CryptoKey
  /** What goes with each leaf so that it leads to a root of the bundle; empty when a root signs. */
  readonly #intermediatesPem: string

  private constructor(
    settings: AuthoritySettings,
    key: webcrypto.CryptoKey,
    signerPublicKey: webcrypto.CryptoKey,
    signer: X509Certificate,
    trustBundlePem: string,
    intermediatesPem: string,
  ) {
    this.trustDomain = settings.trustDomain
    this.trustBundlePem = trustBundlePem
    this.#clock = settings.clock
    this.#lifetimeMs = settings.certificateLifetimeMs
    this.#key = key
    this.#signerPublicKey = signerPublicKey
    this.#signer = signer
    this.#signerName = new SignerCertificate(signer.toString()).subjectName
    this.#intermediatesPem = intermediatesPem
  }

  /** An authority of a key and a certificate from anywhere. Throws an Error that says what of them does not fit. */
  static async fromPem(settings: AuthoritySettings, pem: AuthorityPem): Promise<Authority> {
    const chain = pemBlocks(pem.certificate)
    const [first] = chain
    if (first === undefined) throw new Error('no certificate in PEM')
    const signer = new X509Certificate(first)
    if (!signer.ca) throw new Error('its certificate is not one of an authority (CA:TRUE is missing)')
    let key: Buffer
    try {
      const parsed = createPrivateKey(pem.key)
      if (parsed.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
        throw new Error('its key is not one of P-256 (ECDSA)')
      if (!signer.checkPrivateKey(parsed)) throw new Error('its key is not the key of its certificate')
      key = parsed.export({ type: 'pkcs8', format: 'der' })
    } catch (error) {
      throw error instanceof Error && error.message.startsWith('its key')
        ? error
        : new Error('its key is not a private key in PEM', { cause: error })
    }
    const now = settings.clock.wall()
    if (now > signer.validToDate.getTime() || now < signer.validFromDate.getTime()) {
      throw new Error(
        `its certificate is valid from ${signer.validFromDate.toISOString()} to ${signer.validToDate.toISOString()}, not now (${new Date(now).toISOString()})`,
      )
    }
    const roots = pemBlocks(pem.trustBundle ?? pem.certificate)
    if (roots.length === 0) throw new Error('no root in PEM')
    const isRoot = roots.some((root) => new X509Certificate(root).fingerprint256 === signer.fingerprint256)
    const intermediates = isRoot ? '' : chain.map((block) => `${block}\n`).join('')
    const bundle = roots.map((block) => `${block}\n`).join('')
    return new Authority(settings, await importPrivate(key), await importPublic(signer), signer, bundle, intermediates)
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
    return new Authority(options, await importPrivate(key), await importPublic(root), root, root.toString(), '')
  }

  get rootExpiresAtMs(): number {
    return this.#signer.validToDate.getTime()
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

  /** A leaf for server and client use; never a CA, never for longer than the root. `dnsNames`: for who checks by name. */
  async issue(
    publicKey: webcrypto.CryptoKey,
    id: SpiffeId,
    dnsNames: readonly string[] = [],
  ): Promise<IssuedCertificate> {
    const spiffeId = printSpiffeId(id)
    const now = this.#clock.wall()
    const notAfter = Math.min(now + this.#lifetimeMs, this.#signer.validToDate.getTime())
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      // RFC 5280 section 4.2.1.6: an empty subject makes the alternative name critical.
      subject: '',
      issuer: this.#signerName,
      notBefore: new Date(now - backdatedMs),
      notAfter: new Date(notAfter),
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
        await AuthorityKeyIdentifierExtension.create(this.#signerPublicKey),
      ],
    })
    return {
      certificateChainPem: `${certificate.toString('pem')}\n${this.#intermediatesPem}`,
      spiffeId,
      expiresAtMs: certificate.notAfter.getTime(),
    }
  }
}

async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { key, certificate } = await makeRoot(options)
  await options.state.write(authorityFiles.key, key)
  await options.state.write(authorityFiles.root, certificate)
  return Authority.open(options)
}

/** A new self-made root for ten years. */
export async function makeRoot({ trustDomain, clock }: AuthoritySettings): Promise<AuthorityPem> {
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
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `${root.toString('pem')}\n`,
  }
}

function pemBlocks(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
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

import 'reflect-metadata'
import { createPrivateKey, type webcrypto, X509Certificate } from 'node:crypto'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import type { Clock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import type { SpiffeId } from '../../src/base/spiffe.ts'
import { type StateFolder, StateFolderError } from '../../src/base/state-folder.ts'
import { type AuthorityPem, type IssuedCertificate, keyAlgorithm, makeRoot, Signer } from './signer.ts'

export interface AuthoritySettings {
  readonly clock: Clock
  readonly trustDomain: string
  /** Life of a workload's certificate; 24 h by default. */
  readonly certificateLifetimeMs: number
}

export interface AuthorityOptions extends AuthoritySettings {
  readonly state: StateFolder
}

/** The request is not one that a certificate can be made of; the message is for its sender. */
export class SigningRequestError extends Error {
  override readonly name = 'SigningRequestError'
}

/** In the state folder; the second is what a sidecar pins. */
export const authorityFiles = { key: 'ca-key.pem', root: 'root.pem' } as const

/** What of an authority others must follow. */
export interface AuthorityView {
  /** PEM of every root to trust. */
  readonly trustBundlePem: string
  /** Of the certificate that signs. */
  readonly signer: string
}

/**
 * The mesh's certificate authority: leaves with one SPIFFE URI each (X509-SVID standard), signed by a P-256 key. Who may
 * have which name is decided by its callers. What it signs with can be replaced while it runs: `use`, `current`.
 */
export class Authority {
  readonly trustDomain: string
  /** Heard by whoever hands out the roots, and by the owner of the control plane's own certificate. */
  readonly current: Live<AuthorityView>
  readonly #settings: AuthoritySettings
  #signer: Signer

  private constructor(settings: AuthoritySettings, signer: Signer) {
    this.trustDomain = settings.trustDomain
    this.#settings = settings
    this.#signer = signer
    this.current = new Live(viewOf(signer))
  }

  /** An authority of a key and a certificate from anywhere. Throws an Error that says what of them does not fit. */
  static async fromPem(settings: AuthoritySettings, pem: AuthorityPem): Promise<Authority> {
    return new Authority(settings, await Signer.fromPem(pem, settings.clock.wall()))
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
    checkKey(state, keyPem, root)
    return Authority.fromPem(options, { key: keyPem.toString('utf8'), certificate: rootPem.toString('utf8') })
  }

  /** PEM of every root to trust. */
  get trustBundlePem(): string {
    return this.#signer.trustBundlePem
  }

  /** When what signs now ends, Unix milliseconds. */
  get rootExpiresAtMs(): number {
    return this.#signer.expiresAtMs
  }

  /** Signs with something else from now on, or trusts other roots. Throws as `fromPem`; what was in use stays then. */
  async use(pem: AuthorityPem): Promise<void> {
    this.#signer = await Signer.fromPem(pem, this.#settings.clock.wall())
    this.current.set(viewOf(this.#signer))
  }

  /**
   * Issues for the public key of a PKCS#10 request, whose signature proves that the sender has the private one. Name and usages
   * in the request are not looked at. Throws SigningRequestError.
   */
  async signRequest(request: Uint8Array, id: SpiffeId): Promise<IssuedCertificate> {
    let publicKey: webcrypto.CryptoKey
    try {
      const parsed = new Pkcs10CertificateRequest(Buffer.from(request))
      publicKey = await parsed.publicKey.export(keyAlgorithm, ['verify'])
      if (!(await parsed.verify())) throw new Error('its signature is wrong')
    } catch (cause) {
      throw new SigningRequestError('not a certificate request (PKCS#10, DER) for a P-256 key', { cause })
    }
    return this.issue(publicKey, id)
  }

  /** A leaf for server and client use. `dnsNames`: for who checks by name. */
  issue(publicKey: webcrypto.CryptoKey, id: SpiffeId, dnsNames: readonly string[] = []): Promise<IssuedCertificate> {
    const { clock, certificateLifetimeMs } = this.#settings
    return this.#signer.issue(publicKey, id, dnsNames, clock.wall(), certificateLifetimeMs)
  }
}

function viewOf({ trustBundlePem, fingerprint }: Signer): AuthorityView {
  return { trustBundlePem, signer: fingerprint }
}

async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const { key, certificate } = await makeRoot(options)
  await options.state.write(authorityFiles.key, key)
  await options.state.write(authorityFiles.root, certificate)
  return Authority.open(options)
}

function readRoot(state: StateFolder, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new StateFolderError(`${authorityFiles.root} in ${state.path} is damaged: restore it`, { cause })
  }
}

function checkKey(state: StateFolder, pem: Buffer, root: X509Certificate): void {
  try {
    if (root.checkPrivateKey(createPrivateKey(pem))) return
  } catch {
    // Said below.
  }
  throw new StateFolderError(
    `${authorityFiles.key} in ${state.path} is not the key of ${authorityFiles.root}: restore it`,
  )
}

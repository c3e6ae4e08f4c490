import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errors, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../../src/base/clock.ts'
import { controlPlaneWorkload, printSpiffeId } from '../../src/base/spiffe.ts'
import type { StateFolder } from '../../src/base/state-folder.ts'

/** Whom a join token speaks for. */
export interface TokenSubject {
  readonly namespace: string
  readonly serviceAccount: string
}

/** Knows whom a token speaks for. */
export interface TokenChecker {
  /** Rejects with TokenError, which says nothing of the token's content. */
  check(token: string, trustDomain: string): Promise<TokenSubject>
}

/** Why a token was not accepted; the words are stable (they are counted). */
export type TokenFault = 'expired' | 'wrong-audience' | 'wrong-key' | 'malformed'

export class TokenError extends Error {
  override readonly name = 'TokenError'
  readonly fault: TokenFault
  constructor(fault: TokenFault, message: string) {
    super(message)
    this.fault = fault
  }
}

/** Only for enrolment at a control plane: a token made for anything else is refused, and ours are good for nothing else. */
export const tokenAudience = 'outrigger-enrolment'
export const tokenLifetimeDefaultMs = 10 * 60_000

const keyFile = 'token-key.pem'

/**
 * Makes and checks join tokens: JWTs (ES256) signed by a key in the state folder, bound to one namespace and service account, for
 * minutes. Whoever can read the folder can make them; there is no other way to get one.
 */
export class Tokens implements TokenChecker {
  readonly #key: KeyObject
  readonly #publicKey: KeyObject
  readonly #clock: Clock

  constructor(privateKey: KeyObject, clock: Clock) {
    this.#key = privateKey
    this.#publicKey = createPublicKey(privateKey)
    this.#clock = clock
  }

  /** The control plane's: makes the key on first use. */
  static async open(state: StateFolder, clock: Clock): Promise<Tokens> {
    const held = await state.read(keyFile)
    if (held !== undefined) return new Tokens(createPrivateKey(held), clock)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await state.write(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    return new Tokens(privateKey, clock)
  }

  /** Someone else's, beside a running control plane: reads only. Throws an Error that names the remedy. */
  static async read(stateDir: string, clock: Clock): Promise<Tokens> {
    const path = join(stateDir, keyFile)
    try {
      return new Tokens(createPrivateKey(await readFile(path)), clock)
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
      const why =
        code === 'ENOENT'
          ? `there is no ${path}: start the control plane once with this state folder, or name its folder with --state-dir`
          : code === 'EACCES'
            ? `no permission to read ${path}: run this as the control plane's user`
            : `${path} is damaged: remove it and restart the control plane`
      throw new Error(why, { cause })
    }
  }

  /** Throws an Error when the subject makes no identity, or is the control plane itself. */
  async make(subject: TokenSubject, trustDomain: string, lifetimeMs = tokenLifetimeDefaultMs): Promise<string> {
    const spiffeId = printSpiffeId({
      trustDomain,
      namespace: subject.namespace,
      serviceAccount: subject.serviceAccount,
    })
    if (isControlPlane(subject)) throw new Error('no token is made for the control plane itself')
    const nowS = Math.floor(this.#clock.wall() / 1000)
    const { namespace, serviceAccount } = subject
    return new SignJWT({ namespace, serviceAccount })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .setIssuer(trustDomain)
      .setSubject(spiffeId)
      .setAudience(tokenAudience)
      .setJti(randomUUID())
      .setIssuedAt(nowS)
      .setExpirationTime(nowS + Math.ceil(lifetimeMs / 1000))
      .sign(this.#key)
  }

  /** Throws TokenError, which says nothing of the token's content. */
  async check(token: string, trustDomain: string): Promise<TokenSubject> {
    const { payload } = await jwtVerify(token, this.#publicKey, {
      algorithms: ['ES256'],
      audience: tokenAudience,
      issuer: trustDomain,
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
      currentDate: new Date(this.#clock.wall()),
    }).catch((error: unknown) => {
      throw faultOf(error)
    })
    const { namespace, serviceAccount } = payload
    if (typeof namespace !== 'string' || typeof serviceAccount !== 'string') throw malformed()
    const subject = { namespace, serviceAccount }
    if (isControlPlane(subject)) throw malformed()
    return subject
  }
}

/** Nobody enrols as the control plane. */
export function isControlPlane(subject: TokenSubject): boolean {
  const { namespace, serviceAccount } = controlPlaneWorkload
  return subject.namespace === namespace && subject.serviceAccount === serviceAccount
}

function faultOf(error: unknown): TokenError {
  if (error instanceof errors.JWTExpired) {
    return new TokenError(
      'expired',
      'the join token has expired: make a new one with `outrigger token NAMESPACE/SERVICEACCOUNT`',
    )
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new TokenError(
      'wrong-key',
      'the join token was made by another control plane: make one with the state folder of this one',
    )
  }
  if (error instanceof errors.JWTClaimValidationFailed && (error.claim === 'aud' || error.claim === 'iss')) {
    return new TokenError('wrong-audience', 'the token was not made for enrolment at this control plane')
  }
  return malformed()
}

function malformed(): TokenError {
  return new TokenError(
    'malformed',
    'this is not a join token: make one with `outrigger token NAMESPACE/SERVICEACCOUNT`',
  )
}

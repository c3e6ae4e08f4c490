/** Service-account tokens of Pods, checked by the API server (authentication.k8s.io TokenReview). */
import { decodeJwt } from 'jose'
import { isControlPlane, type TokenChecker, TokenError, type TokenSubject } from './token.ts'

/** What the API server says of a token. */
export interface TokenReviewStatus {
  readonly authenticated?: boolean
  readonly audiences?: readonly string[]
  readonly user?: { readonly username?: string }
  readonly error?: string
}

/** Asks the API server; rejects when it cannot be asked. */
export type ReviewToken = (token: string, audience: string) => Promise<TokenReviewStatus>

/** The API server could not be asked: nobody is refused for that, the sidecar asks again. */
export class TokenReviewUnavailable extends Error {
  override readonly name = 'TokenReviewUnavailable'
}

export interface ClusterTokensOptions {
  readonly review: ReviewToken
  readonly audience: string
  /** Unix milliseconds. */
  readonly wall: () => number
}

/** Reviews at once: a thousand sidecars that come back together must not take the API server's whole budget. */
const reviewsMax = 20
// A projected token has about 1.1 KB.
const tokenBytesMax = 16_384

/**
 * Checks projected service-account tokens. Only ones for our audience count: a token that a Pod uses with the API server,
 * or with anyone else, is good for nothing here.
 */
export class ClusterTokens implements TokenChecker {
  readonly #options: ClusterTokensOptions
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(options: ClusterTokensOptions) {
    this.#options = options
  }

  async check(token: string): Promise<TokenSubject> {
    const { audience, wall } = this.#options
    // What can be seen without the API server is told precisely and does not bother it; nothing is believed of it.
    const claims = this.#claims(token)
    const audiences = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? [])
    if (!audiences.includes(audience)) {
      throw new TokenError(
        'wrong-audience',
        `the token is for ${audiences.join(', ') || 'nobody'}, not for ${audience}: project one with that audience`,
      )
    }
    const status = await this.#review(token)
    if (status.authenticated !== true) {
      // Whether it has expired the API server says, by its clock; ours only tells why.
      if (claims.exp !== undefined && claims.exp * 1_000 < wall()) {
        throw new TokenError(
          'expired',
          `the token expired at ${new Date(claims.exp * 1_000).toISOString()}, it is ${new Date(wall()).toISOString()} here`,
        )
      }
      throw new TokenError(
        'wrong-key',
        'the API server does not know the token: it is of another cluster, or of a Pod that is gone',
      )
    }
    if (status.audiences?.includes(audience) !== true) {
      throw new TokenError('wrong-audience', `the API server did not check the audience ${audience}`)
    }
    const match = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '')
    if (match === null) throw new TokenError('malformed', 'the token is not one of a service account')
    const subject = { namespace: match[1]!, serviceAccount: match[2]! }
    if (isControlPlane(subject)) throw new TokenError('malformed', 'nobody enrols as the control plane')
    return subject
  }

  #claims(token: string): { aud?: string | string[]; exp?: number } {
    if (token.length > tokenBytesMax) throw new TokenError('malformed', 'the token is too long')
    try {
      return decodeJwt(token)
    } catch {
      throw new TokenError('malformed', 'the token is not a JWT')
    }
  }

  async #review(token: string): Promise<TokenReviewStatus> {
    if (this.#running >= reviewsMax) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running++
    try {
      return await this.#options.review(token, this.#options.audience)
    } catch (cause) {
      throw new TokenReviewUnavailable('the API server cannot be asked about tokens just now', { cause })
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }
}

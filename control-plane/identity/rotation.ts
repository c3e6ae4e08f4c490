/** Replacing the root of a mesh that runs: trusted first, signed with later, the old one let go last. Pure. */
import { type AuthorityPem, bundleOf, certificatesOf, rootsOf } from './signer.ts'

export type Phase =
  | { readonly is: 'steady' }
  /** `next` is trusted already; everybody hears of it meanwhile. */
  | { readonly is: 'announced'; readonly sinceMs: number }
  /** `next` signs; certificates of the one before are still about. */
  | { readonly is: 'switched'; readonly sinceMs: number }

/** The authority as all replicas see it: what the Secret holds. */
export interface AuthorityState {
  readonly signing: AuthorityPem & { readonly trustBundle: string }
  readonly next: AuthorityPem | undefined
  readonly phase: Phase
  /** Somebody wants a new root. */
  readonly asked: boolean
}

export interface RotationSettings {
  /** How long a new root is trusted before anything is signed with it: the slowest way it is heard takes some minutes. */
  readonly announceMs: number
  /** The longest that a certificate of the old root can still be about. */
  readonly retainMs: number
  /** A new root, when one is due or asked for; somebody else's authority has none of ours. */
  readonly makeRoot: (() => Promise<AuthorityPem>) | undefined
  /** What somebody else's authority is now. */
  readonly source: AuthorityPem | undefined
  /** A root of ours is replaced when it has so much left. */
  readonly renewBeforeMs: number
}

/**
 * What the state must become now, and why, for the log; undefined: it is as it should be. Each step is one write, made by
 * one replica: who comes in between two steps finds a state that holds.
 */
export async function nextState(
  state: AuthorityState,
  wallMs: number,
  settings: RotationSettings,
): Promise<{ readonly state: AuthorityState; readonly why: string } | undefined> {
  const { signing, next, phase } = state
  const { source } = settings
  const newest = next ?? signing
  if (source !== undefined && !sameCertificate(source, newest)) {
    return { state: announced(state, source, wallMs), why: 'the Secret of the authority has a new certificate' }
  }
  if (phase.is === 'announced' && next !== undefined) {
    if (wallMs - phase.sinceMs < settings.announceMs) return undefined
    const switched = { ...next, trustBundle: signing.trustBundle }
    return {
      state: { signing: switched, next: undefined, phase: { is: 'switched', sinceMs: wallMs }, asked: state.asked },
      why: 'the new root has been trusted for long enough: it signs from now on',
    }
  }
  if (phase.is === 'switched') {
    if (wallMs - phase.sinceMs < settings.retainMs) return undefined
    const own = rootsOf(certificatesOf(signing.certificate), certificatesOf(signing.trustBundle))
    return {
      state: { ...state, signing: { ...signing, trustBundle: bundleOf(own) }, phase: { is: 'steady' } },
      why: 'no certificate of the old root can be in use any more: it is not trusted from now on',
    }
  }
  if (settings.makeRoot === undefined)
    return state.asked ? { state: { ...state, asked: false }, why: notOurs } : undefined
  const leftMs = (certificatesOf(signing.certificate)[0]?.validToDate.getTime() ?? 0) - wallMs
  if (!state.asked && leftMs > settings.renewBeforeMs) return undefined
  return {
    state: announced(state, await settings.makeRoot(), wallMs),
    why: state.asked ? 'a new root was asked for' : `the root ends in ${Math.floor(leftMs / 86_400_000)} days`,
  }
}

const notOurs = "a new root was asked for, but the authority is somebody else's: renew it there (cmctl renew)"

function announced(state: AuthorityState, next: AuthorityPem, wallMs: number): AuthorityState {
  const before = certificatesOf(state.signing.trustBundle)
  const added = certificatesOf(next.trustBundle ?? next.certificate)
  return {
    signing: { ...state.signing, trustBundle: bundleOf([...before, ...added]) },
    next,
    phase: { is: 'announced', sinceMs: wallMs },
    asked: false,
  }
}

function sameCertificate(a: AuthorityPem, b: AuthorityPem): boolean {
  return certificatesOf(a.certificate)[0]?.fingerprint256 === certificatesOf(b.certificate)[0]?.fingerprint256
}

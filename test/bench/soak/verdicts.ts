import type { Sample } from './sample.ts'
import { growth, secondHalf, slope } from './trend.ts'

export interface SoakResult {
  readonly asked: number
  readonly sent: number
  readonly ok: number
  readonly otherStatus: number
  readonly failed: number
  readonly firstFailure: string | undefined
  /** Changes of policy that were written, and revisions that the client's sidecar has taken. */
  readonly changes: number
  readonly revisions: number
  /** By process, oldest first. */
  readonly samples: Readonly<Record<string, readonly Sample[]>>
}

export interface SoakVerdict {
  readonly says: string
  readonly met: boolean
}

/** Bytes of RSS that a sidecar may gain in ten minutes. */
const slopeMax = 1_000_000
/** Changes that come while another is under way may be taken together. */
const revisionShare = 0.8
/** Descriptors, sockets and timers that come and go: a scrape, a timer of a request. A leak has a thousand chances. */
const growthMax = 10

/** `judged`: the processes that are held to it; others are shown only. */
export function judgeSoak(result: SoakResult, judged: readonly string[]): SoakVerdict[] {
  const { asked, sent, ok, otherStatus, failed, firstFailure, changes, revisions } = result
  const lost = firstFailure === undefined ? '' : `, the first: ${firstFailure}`
  return [
    {
      says: `${ok} of ${asked} requests answered 2xx; ${otherStatus} other answers, ${failed} failed, ${asked - sent} not sent${lost}`,
      met: ok === asked,
    },
    {
      says: `${revisions} revisions for ${changes} changes of policy (at least ${Math.round(changes * revisionShare)})`,
      met: changes > 0 && revisions >= changes * revisionShare,
    },
    ...judged.flatMap((name) => judgeProcess(name, result.samples[name] ?? [])),
  ]
}

function judgeProcess(name: string, samples: readonly Sample[]): SoakVerdict[] {
  const points = secondHalf(samples).map(({ seconds, rss }) => ({ seconds, value: rss }))
  const inTenMinutes = slope(points) * 600
  const counts = Object.keys(samples[0]?.counts ?? {}).map((what) => {
    const grown = growth(samples.map((sample) => sample.counts[what] ?? 0))
    return { says: `${name}: ${what} grew by ${grown} (at most ${growthMax})`, met: grown <= growthMax }
  })
  return [
    {
      says: `${name}: RSS ${inTenMinutes < 0 ? '' : '+'}${(inTenMinutes / 1e6).toFixed(2)} MB in 10 minutes (below 1.00)`,
      met: points.length >= 2 && inTenMinutes < slopeMax,
    },
    ...counts,
  ]
}

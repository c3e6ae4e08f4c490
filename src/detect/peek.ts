import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { detect, detectLate, type Protocol } from './detect.ts'
import { firstBytes } from './first-bytes.ts'

export interface PeekOptions {
  readonly clock: Clock
  /** How long a connection may stay silent or undecided: what a server-first protocol waits at most. */
  readonly timeoutMs: number
}

/**
 * Why it was decided. `bytes`: they told. `timeout`: nobody spoke in time (opaque: a server-first protocol), or too
 * little (see `detectLate`). `end`: the peer half-closed before it had said enough; opaque.
 */
export type PeekCause = 'bytes' | 'timeout' | 'end'

export type Peek =
  | {
      readonly is: 'detected'
      readonly protocol: Protocol
      readonly cause: PeekCause
      /** What came so far, to look at. It is back in the socket already, but for `head`; do not write it on. */
      readonly bytes: Buffer
      /** What came and could not be put back, because the peer half-closed: `heads` of a relay. Empty otherwise. */
      readonly head: Buffer
    }
  | { readonly is: 'gone'; readonly error: Error | undefined }

const nothing: Buffer = Buffer.alloc(0)

/**
 * Reads the first bytes of a connection until they tell its protocol (at most `detectBytesMax` and one chunk), then
 * leaves the socket paused with every byte back in it (`firstBytes`). Never rejects: a connection that dies first is
 * `gone`.
 */
export async function peek(socket: Duplex, { clock, timeoutMs }: PeekOptions): Promise<Peek> {
  const first = await firstBytes(socket, { clock, timeoutMs, judge: protocolOf })
  switch (first.is) {
    case 'judged':
      return { is: 'detected', protocol: first.verdict, cause: 'bytes', bytes: first.bytes, head: nothing }
    case 'late':
      return { is: 'detected', protocol: detectLate(first.bytes), cause: 'timeout', bytes: first.bytes, head: nothing }
    case 'ended':
      return { is: 'detected', protocol: 'opaque', cause: 'end', bytes: first.bytes, head: first.bytes }
    default:
      return first
  }
}

function protocolOf(bytes: Buffer): Protocol | undefined {
  const detection = detect(bytes)
  return detection === 'need-more' ? undefined : detection
}

/**
 * `grpc-timeout`: how long the caller of a gRPC call waits (grpc doc/PROTOCOL-HTTP2.md: at most eight digits, then a unit).
 */

const unitMs = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }

/** Eight digits. */
const countMax = 99_999_999

/** Milliseconds, with a fraction; undefined for what is no timeout. */
export function grpcTimeoutMs(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text)
  return match === null ? undefined : Number(match[1]) * unitMs[match[2] as keyof typeof unitMs]
}

/**
 * Rounded up to a unit that is at most a hundredth of it: who waits decides when the time is over, and nobody on the way is
 * to do so before. Never zero, which not every server takes.
 */
export function grpcTimeoutText(ms: number): string {
  if (ms < 100) return `${Math.max(1, Math.ceil(ms * 1_000))}u`
  for (const unit of ['m', 'S', 'M'] as const) {
    const count = Math.ceil(ms / unitMs[unit])
    if (count <= countMax) return `${count}${unit}`
  }
  return `${Math.min(countMax, Math.ceil(ms / unitMs['H']!))}H`
}

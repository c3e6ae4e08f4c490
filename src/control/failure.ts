import { status } from '@grpc/grpc-js'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/log.ts'

/**
 * Why a call to the control plane failed, in one line that names the remedy. gRPC folds what TLS and TCP said into its
 * details, so this reads text; what it does not know it passes on.
 */
export function explainFailure(error: unknown, address: string, clock: Clock): string {
  const text = messageOf(error)
  if (
    /certificate (is not yet valid|has expired)|CERT_(NOT_YET_VALID|HAS_EXPIRED)|certificate of \S+ (is not valid before|expired at)/.test(
      text,
    )
  ) {
    return (
      `a certificate does not hold at this machine's time, ${new Date(clock.wall()).toISOString()}: ` +
      `compare the clocks of this machine and of ${address} (is NTP running?) (${shortened(text)})`
    )
  }
  if (/self.signed|unable to verify|unable to get (local )?issuer|SELF_SIGNED|UNABLE_TO/.test(text)) {
    return `${address} is not signed by the pinned root: give this workload root.pem of that control plane's state folder`
  }
  if (/ECONNREFUSED/.test(text)) return `nothing listens on ${address}: start the control plane, or correct its address`
  if (/ENOTFOUND|EAI_AGAIN|Name resolution failed/.test(text)) {
    return `the name in ${address} does not resolve: correct the control plane's address`
  }
  if (/peer refused: /.test(text)) return `${address} is not a control plane: ${shortened(text)}`
  return shortened(text)
}

/**
 * The longest wait that makes sense after this failure. Nobody listening costs nobody anything, and the control plane
 * should find its sidecars back within 2 s of its own return; one that answers with a refusal is left in peace.
 */
export function waitMaxMs(error: unknown): number {
  return /ECONNREFUSED|ECONNRESET|UNAVAILABLE/.test(messageOf(error)) || codeOf(error) === status.UNAVAILABLE
    ? 1_300
    : 10_000
}

function shortened(text: string): string {
  return text.replace(/^\d+ [A-Z_]+: /, '').slice(0, 400)
}

function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined
}

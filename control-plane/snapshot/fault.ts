import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Fault, FaultSchema } from '../../src/api/gen/outrigger_pb.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import { grpcStatuses } from '../../src/base/grpc.ts'
import { policyRef } from './policy-ref.ts'
import { ppm } from './ppm.ts'
import { routeMatch } from './route-match.ts'

/** One fault. An expired one is sent too: the sidecar compares `expires_at` with its own clock, at every request. */
export function fault(document: DocumentOf<'FaultInjection'>): Fault {
  const { mode, match, delay, abort, expiresAt } = document.value.spec
  return create(FaultSchema, {
    ref: policyRef(document),
    shadow: mode === 'Shadow',
    matches: (match ?? []).map(routeMatch),
    delayPpm: delay === undefined ? 0 : ppm(delay.percentage),
    delayMs: durationMs(delay?.fixed ?? delay?.range?.min ?? '0s'),
    delayMaxMs: durationMs(delay?.range?.max ?? '0s'),
    abortPpm: abort === undefined ? 0 : ppm(abort.percentage),
    abortStatus: abort?.httpStatus ?? 0,
    abortGrpcStatus: abort?.grpcStatus === undefined ? 0 : grpcStatuses[abort.grpcStatus],
    expiresAt: expiresAt === undefined ? 0n : BigInt(Date.parse(expiresAt)),
  })
}

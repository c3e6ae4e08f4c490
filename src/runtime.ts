/** What the parts of one sidecar share. Built once by data-plane.ts, passed by constructor. */
import type { Mesh } from './api/gen/outrigger_pb.ts'
import type { Clock } from './base/clock.ts'
import type { Live } from './base/live.ts'
import type { Log } from './base/log.ts'
import type { Credentials } from './identity/credentials.ts'
import type { LoopGuard } from './listener/loop-guard.ts'
import type { ProxyOptions } from './options.ts'
import type { InFlight } from './policy/in-flight.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
import type { Connector } from './upstream/connect.ts'

export interface Runtime {
  readonly options: ProxyOptions
  readonly clock: Clock
  readonly log: Log
  readonly telemetry: Telemetry
  readonly credentials: Live<Credentials | undefined>
  /** Mesh-wide settings; undefined before the first snapshot. */
  readonly mesh: Live<Mesh | undefined>
  readonly connector: Connector
  readonly inFlight: InFlight
  readonly guard: LoopGuard
  /** "ns/workload", for x-outrigger-reason. */
  readonly by: string
}

import type { BackendRegistry } from '../balance/backends.ts'
import type { Clock } from '../base/clock.ts'
import type { PolicyRef } from '../base/errors.ts'
import type { Attempt, Exchange } from '../base/exchange.ts'
import type { SendTry } from '../upstream/endpoint.ts'

/** Something that a policy did to a request, or would have done in Shadow. For metrics; rare. */
export interface PolicyEvent {
  /** Name of the layer. */
  readonly layer: 'authorize' | 'fault' | 'mirror' | 'retry' | 'hedge' | 'circuit-breaker'
  readonly outcome:
    | 'allowed'
    | 'denied'
    | 'delayed'
    | 'aborted'
    | 'mirrored'
    | 'mirror-dropped'
    | 'budget-exhausted'
    | 'rejected'
  readonly policy: PolicyRef | undefined
  /** It changed nothing. */
  readonly shadow: boolean
}

/** What every layer may need. */
export interface PolicyEnv {
  readonly clock: Clock
  readonly onEvent?: ((event: PolicyEvent) => void) | undefined
}

export interface OutboundEnv extends PolicyEnv {
  readonly backends: BackendRegistry
  readonly send: SendTry
  /** Called with each attempt before it is sent: telemetry gives it its span and writes the trace headers. */
  readonly onAttempt?: ((exchange: Exchange, attempt: Attempt) => void) | undefined
}

export interface InboundEnv extends PolicyEnv {
  /** Longest time that a request may take to the local application; 0 = no limit. */
  readonly deadlineMs?: number | undefined
}

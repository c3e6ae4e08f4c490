import type { OutlierDetection } from '../api/gen/outrigger_pb.ts'
import type { Clock } from '../base/clock.ts'
import type { Endpoint, EndpointSet } from './endpoint-set.ts'

/** An endpoint was taken out for its failures, or came back. */
export interface Ejection {
  /** "ns/name". */
  readonly service: string
  /** ip:port. */
  readonly endpoint: string
  readonly ejected: boolean
  /** 0 when it came back. */
  readonly durationMs: number
  readonly cause: string
  /** Unix milliseconds. */
  readonly at: number
  /** It would have been ejected; nothing changed. */
  readonly shadow: boolean
}

/** Who ejected an endpoint lets it back; another thread does it this much later, should that one be gone. */
const followMs = 100

/**
 * Envoy's outlier detection by consecutive 5xx, or gRPC statuses that stand for one: so many in a row eject an endpoint for the base time, multiplied by
 * how often it was ejected lately, as long as no more than the given share is out.
 */
export class OutlierDetector {
  policy: OutlierDetection
  readonly #service: string
  readonly #clock: Clock
  readonly #endpoints: EndpointSet
  readonly #onEjection: (ejection: Ejection) => void
  readonly #followed = new Set<Endpoint>()

  constructor(
    policy: OutlierDetection,
    service: string,
    endpoints: EndpointSet,
    clock: Clock,
    onEjection: (ejection: Ejection) => void,
  ) {
    this.policy = policy
    this.#service = service
    this.#endpoints = endpoints
    this.#clock = clock
    this.#onEjection = onEjection
  }

  /** Counts one outcome of a try that reached the endpoint. */
  record(endpoint: Endpoint, failed: boolean, now: number): void {
    if (!failed) {
      endpoint.forgetFailures()
      return
    }
    const failures = endpoint.countFailure()
    if (failures < (this.policy.consecutive5xx || 5) || endpoint.ejectedUntil !== 0) return
    if (!this.#mayEject()) return
    this.#eject(endpoint, failures, now)
  }

  /** Another thread has ejected it, and may die before it lets it back. */
  follow(endpoint: Endpoint): void {
    const until = endpoint.ejectedUntil
    if (until === 0 || this.#followed.has(endpoint)) return
    this.#followed.add(endpoint)
    this.#clock.after(until - this.#clock.now() + followMs, () => {
      this.#followed.delete(endpoint)
      if (this.#endpoints.get(endpoint.target.key) !== endpoint) return
      if (endpoint.ejectedUntil !== 0 && endpoint.ejectedUntil <= this.#clock.now()) this.#return(endpoint)
      else this.follow(endpoint)
    })
  }

  /** The first may always go if another stays, or a share of 10 % would protect nobody in a small set. */
  #mayEject(): boolean {
    const ready = this.#endpoints.ready
    let ejected = 0
    for (const endpoint of ready) if (endpoint.ejectedUntil !== 0) ejected++
    const share = this.policy.maxEjectionPercent || 10
    return (ejected + 1) * 100 <= share * ready.length || (ejected === 0 && ready.length > 1)
  }

  #eject(endpoint: Endpoint, failures: number, now: number): void {
    endpoint.forgetFailures()
    // A quiet interval since the return forgives one ejection.
    const forgiven = Math.floor((now - endpoint.returnedAt) / (this.policy.intervalMs || 10_000))
    const times = Math.max(0, endpoint.timesEjected - forgiven) + 1
    const durationMs = (this.policy.baseEjectionMs || 30_000) * times
    const cause = `${failures} failures in a row`
    if (!this.policy.shadow) {
      if (!endpoint.eject(now + durationMs, times)) return
      this.#endpoints.changed()
      this.#clock.after(durationMs, () => this.#return(endpoint))
    }
    this.#tell(endpoint, true, durationMs, cause)
  }

  #return(endpoint: Endpoint): void {
    if (!endpoint.return(this.#clock.now())) return
    this.#endpoints.changed()
    this.#tell(endpoint, false, 0, 'ejection time is over')
  }

  #tell(endpoint: Endpoint, ejected: boolean, durationMs: number, cause: string): void {
    this.#onEjection({
      service: this.#service,
      endpoint: endpoint.target.key,
      ejected,
      durationMs,
      cause,
      at: this.#clock.wall(),
      shadow: this.policy.shadow,
    })
  }
}

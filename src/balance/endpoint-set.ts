import type { Endpoint as EndpointMessage, EndpointSet as EndpointSetMessage } from '../api/gen/outrigger_pb.ts'
import type { Attempt } from '../base/exchange.ts'
import type { EndpointTarget } from '../upstream/endpoint.ts'
import type { Breaker } from './breaker.ts'

/** One endpoint and what is known of its health. Lives as long as the endpoint is in the set. */
export class Endpoint {
  target: EndpointTarget
  /** Tries that have no end yet, their bodies included. */
  inFlight = 0
  /** Peak-sensitive moving average of the time to the response head; 0 = not known. */
  latencyMs = 0
  latencyAt = 0
  /** Made on the first try where the policy has an endpoint breaker. */
  breaker: Breaker | undefined = undefined
  #failuresInRow = 0
  #ejectedUntil = 0
  #timesEjected = 0
  #returnedAt = 0

  constructor(target: EndpointTarget) {
    this.target = target
  }

  /** One more failure in a row; how many these are now. */
  countFailure(): number {
    return ++this.#failuresInRow
  }

  forgetFailures(): void {
    this.#failuresInRow = 0
  }

  get failuresInRow(): number {
    return this.#failuresInRow
  }

  /** Outlier ejection: clock milliseconds; 0 = not ejected. */
  get ejectedUntil(): number {
    return this.#ejectedUntil
  }

  get timesEjected(): number {
    return this.#timesEjected
  }

  /** When the last ejection ended, clock milliseconds. */
  get returnedAt(): number {
    return this.#returnedAt
  }

  /** False: it is ejected already. */
  eject(until: number, times: number): boolean {
    this.#ejectedUntil = until
    this.#timesEjected = times
    return true
  }

  /** False: it is back already. */
  return(now: number): boolean {
    this.#ejectedUntil = 0
    this.#returnedAt = now
    this.#failuresInRow = 0
    return true
  }

  /** It left. */
  close(): void {
    this.breaker?.close()
  }

  /** Takes one time to a response head into the average (Finagle's peak EWMA: up at once, down over seconds). */
  observe(latencyMs: number, now: number): void {
    if (latencyMs >= this.latencyMs) this.latencyMs = latencyMs
    else {
      const weight = Math.exp((this.latencyAt - now) / decayMs)
      this.latencyMs = this.latencyMs * weight + latencyMs * (1 - weight)
    }
    this.latencyAt = now
  }
}

/** Where endpoints have their health if other threads of this sidecar have a part in it. */
export interface SharedHealth {
  /** Changes when any thread has learnt something. */
  readonly epoch: number
  make(target: EndpointTarget): Endpoint
  /** Something may be different about it: follow. */
  hear(endpoint: Endpoint): void
}

/** The endpoints of one Service port. Health survives updates, keyed by address and port. */
export class EndpointSet {
  /** Ready ones, in the order of the message. */
  ready: readonly Endpoint[] = []
  /** Ready or not. */
  total = 0
  readonly #port: number
  readonly #byKey = new Map<string, Endpoint>()
  readonly #shared: SharedHealth | undefined
  #usable: readonly Endpoint[] | undefined = []
  #epoch = 0

  constructor(port: number, shared?: SharedHealth) {
    this.#port = port
    this.#shared = shared
  }

  /** Takes over a new set; returns the endpoints that left. */
  update(set: EndpointSetMessage | undefined): Endpoint[] {
    const ready: Endpoint[] = []
    const kept = new Set<string>()
    this.total = 0
    for (const message of set?.endpoints ?? []) {
      const target = targetOf(message, this.#port)
      if (target === undefined || kept.has(target.key)) continue
      this.total++
      kept.add(target.key)
      let endpoint = this.#byKey.get(target.key)
      if (endpoint === undefined) {
        endpoint = this.#shared === undefined ? new Endpoint(target) : this.#shared.make(target)
        this.#byKey.set(target.key, endpoint)
      } else endpoint.target = target
      if (message.ready) ready.push(endpoint)
    }
    const gone: Endpoint[] = []
    for (const [key, endpoint] of this.#byKey) {
      if (kept.has(key)) continue
      this.#byKey.delete(key)
      gone.push(endpoint)
    }
    this.ready = ready
    this.refresh()
    return gone
  }

  /** All, ready or not. */
  all(): Iterable<Endpoint> {
    return this.#byKey.values()
  }

  /** By `ip:port`. */
  get(key: string): Endpoint | undefined {
    return this.#byKey.get(key)
  }

  /** Something that `usable` depends on is different now. */
  changed(): void {
    this.#usable = undefined
  }

  /** As `changed`, and what other threads know is asked for anew. */
  refresh(): void {
    this.#epoch = Number.NaN
    this.changed()
  }

  /**
   * Whom to choose from: ready, not ejected, breaker not rejecting. If all are ejected all are used (Envoy's panic
   * mode: a wrong judgement must not cost the whole service); if every breaker rejects, their refusal is the answer.
   * The same array until something changes, so that a picker may keep a table for it.
   */
  usable(): readonly Endpoint[] {
    if (this.#shared !== undefined) this.#hear(this.#shared)
    if (this.#usable === undefined) {
      const present = this.ready.filter((endpoint) => endpoint.ejectedUntil === 0)
      const judged = present.length === 0 ? this.ready : present
      const accepting = judged.filter((endpoint) => endpoint.breaker?.rejecting !== true)
      this.#usable = accepting.length === 0 ? judged : accepting
    }
    return this.#usable
  }

  /** What another thread has learnt holds here from the next choice on. */
  #hear(shared: SharedHealth): void {
    const { epoch } = shared
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.changed()
    for (const endpoint of this.#byKey.values()) shared.hear(endpoint)
  }
}

/** Those that no attempt has met yet; all if every one has. */
export function untried(endpoints: readonly Endpoint[], attempts: readonly Attempt[]): readonly Endpoint[] {
  const rest = endpoints.filter((endpoint) => !wasTried(endpoint, attempts))
  return rest.length === 0 ? endpoints : rest
}

export function wasTried(endpoint: Endpoint, attempts: readonly Attempt[]): boolean {
  return attempts.some((attempt) => attempt.endpoint === endpoint.target.key)
}

/** Linkerd's default decay. */
const decayMs = 10_000

function targetOf(message: EndpointMessage, servicePort: number): EndpointTarget | undefined {
  const port = message.ports[servicePort]
  if (port === undefined) return undefined
  const host = message.address.includes(':') ? `[${message.address}]` : message.address
  return {
    key: `${host}:${port}`,
    address: message.address,
    port,
    identity: message.identity,
    workload: message.workload,
    canonicalService: message.canonicalService,
    canonicalRevision: message.canonicalRevision,
    zone: message.zone,
  }
}

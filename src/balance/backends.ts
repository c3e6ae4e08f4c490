import type {
  BackendPolicy,
  CircuitBreaker,
  ConnectionPool,
  EndpointSet as EndpointSetMessage,
} from '../api/gen/outrigger_pb.ts'
import type { Clock } from '../base/clock.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import type { Exchange } from '../base/exchange.ts'
import type { SharedTable } from '../base/shared-table.ts'
import { OwnRetryBudget, type RetryBudget } from '../policy/retry-budget.ts'
import { SharedRetryBudget } from '../policy/shared-limits.ts'
import { Breaker, type BreakerSnapshot, type Transition } from './breaker.ts'
import { type Endpoint, EndpointSet, type SharedHealth, untried, wasTried } from './endpoint-set.ts'
import { type Ejection, OutlierDetector } from './outlier.ts'
import { makePicker, type Picker } from './pickers.ts'
import { SharedBreakerState, SharedEndpoint } from './shared-health.ts'

export interface BackendRegistryOptions {
  readonly clock: Clock
  readonly onTransition: (transition: Transition) => void
  readonly onEjection: (ejection: Ejection) => void
  /** What the threads of this sidecar share; without it all state is here. */
  readonly shared?: SharedTable | undefined
}

/** What the admin API and the metrics show of one endpoint. */
export interface EndpointSnapshot {
  readonly endpoint: string
  readonly workload: string
  readonly ready: boolean
  readonly inFlight: number
  readonly latencyMs: number
  /** Clock milliseconds; 0 = not ejected. */
  readonly ejectedUntil: number
  readonly breaker: BreakerSnapshot | undefined
}

/** One Service port that is called. */
export interface BackendSnapshot {
  readonly port: number
  readonly endpoints: readonly EndpointSnapshot[]
  readonly budgets: readonly { readonly intervalMs: number; readonly requests: number; readonly retries: number }[]
}

/** One Service that is called. */
export interface ServiceSnapshot {
  /** "ns/name". */
  readonly service: string
  readonly policy: PolicyRef | undefined
  readonly breaker: BreakerSnapshot | undefined
  readonly backends: readonly BackendSnapshot[]
}

/**
 * State that outlives the stacks: endpoints and their health, pickers, breakers, budgets, by what they protect.
 * A change of policy changes limits here, and resets nothing.
 */
export class BackendRegistry {
  readonly #options: BackendRegistryOptions
  readonly #services = new Map<string, ServiceBackends>()

  constructor(options: BackendRegistryOptions) {
    this.#options = options
  }

  /** Takes over the BackendPolicy of "ns/name". Throws an Error, and changes nothing, if it cannot be compiled. */
  update(serviceName: string, policy: BackendPolicy | undefined): void {
    makePicker(policy?.loadBalancer, this.#options.clock)
    this.#service(serviceName).update(policy)
  }

  /** Takes over the endpoints of "ns/name". */
  updateEndpoints(serviceName: string, set: EndpointSetMessage | undefined): void {
    this.#service(serviceName).updateEndpoints(set)
  }

  /** The state of one port of "ns/name"; the same object for as long as the Service is known. */
  backend(serviceName: string, port: number): Backend {
    return this.#service(serviceName).backend(port)
  }

  /** Forgets a Service that is not called any more. */
  remove(serviceName: string): void {
    this.#services.get(serviceName)?.close()
    this.#services.delete(serviceName)
  }

  snapshot(): ServiceSnapshot[] {
    return [...this.#services.values()].map((service) => service.snapshot())
  }

  #service(name: string): ServiceBackends {
    let service = this.#services.get(name)
    if (service === undefined) {
      service = new ServiceBackends(name, this.#options)
      this.#services.set(name, service)
    }
    return service
  }
}

/** All ports of one Service; its breaker is one for all of them. */
class ServiceBackends {
  readonly name: string
  readonly options: BackendRegistryOptions
  policy: BackendPolicy | undefined
  breaker: Breaker | undefined
  endpointBreaker: CircuitBreaker | undefined
  readonly #ports = new Map<number, Backend>()
  #set: EndpointSetMessage | undefined

  constructor(name: string, options: BackendRegistryOptions) {
    this.name = name
    this.options = options
  }

  backend(port: number): Backend {
    let backend = this.#ports.get(port)
    if (backend === undefined) {
      backend = new Backend(this, port)
      backend.updatePolicy(this.policy)
      backend.updateEndpoints(this.#set)
      this.#ports.set(port, backend)
    }
    return backend
  }

  update(policy: BackendPolicy | undefined): void {
    this.policy = policy
    this.endpointBreaker = policy?.circuitBreakers.find((breaker) => breaker.endpointScope)
    const wanted = policy?.circuitBreakers.find((breaker) => !breaker.endpointScope)
    if (wanted === undefined) {
      this.breaker?.close()
      this.breaker = undefined
    } else if (this.breaker === undefined) {
      this.breaker = new Breaker(wanted, {
        clock: this.options.clock,
        service: this.name,
        endpoint: '',
        onChange: () => {},
        onTransition: this.options.onTransition,
        shared: this.sharedBreaker(''),
      })
    } else this.breaker.configure(wanted)
    for (const backend of this.#ports.values()) backend.updatePolicy(policy)
  }

  updateEndpoints(set: EndpointSetMessage | undefined): void {
    this.#set = set
    for (const backend of this.#ports.values()) backend.updateEndpoints(set)
  }

  close(): void {
    this.update(undefined)
    this.updateEndpoints(undefined)
    for (const backend of this.#ports.values()) backend.close()
  }

  sharedBreaker(scope: string): SharedBreakerState | undefined {
    const { shared } = this.options
    return shared === undefined ? undefined : new SharedBreakerState(shared, `${this.name} ${scope}`)
  }

  snapshot(): ServiceSnapshot {
    return {
      service: this.name,
      policy: this.policy?.ref,
      breaker: this.breaker?.snapshot(),
      backends: [...this.#ports.values()].map((backend) => backend.snapshot()),
    }
  }
}

/** One port of one Service. */
export class Backend {
  readonly port: number
  readonly endpoints: EndpointSet
  outlier: OutlierDetector | undefined
  readonly #service: ServiceBackends
  readonly #budgets = new Map<number, RetryBudget>()
  #picker: Picker
  #loadBalancer: string | undefined

  constructor(service: ServiceBackends, port: number) {
    this.#service = service
    this.port = port
    this.endpoints = new EndpointSet(port, this.#sharedHealth())
    this.#picker = makePicker(undefined, service.options.clock)
  }

  /** "ns/name". */
  get name(): string {
    return this.#service.name
  }

  get policy(): PolicyRef | undefined {
    return this.#service.policy?.ref
  }

  get connectionPool(): ConnectionPool | undefined {
    return this.#service.policy?.connectionPool
  }

  /** The breaker of the whole Service; undefined without one. */
  get breaker(): Breaker | undefined {
    return this.#service.breaker
  }

  /** The breaker of one endpoint, made on its first try; undefined without one. */
  breakerOf(endpoint: Endpoint): Breaker | undefined {
    if (endpoint.breaker !== undefined) return endpoint.breaker
    const policy = this.#service.endpointBreaker
    if (policy === undefined) return undefined
    endpoint.breaker = new Breaker(policy, {
      clock: this.#service.options.clock,
      service: this.name,
      endpoint: endpoint.target.key,
      onChange: () => this.endpoints.changed(),
      onTransition: this.#service.options.onTransition,
      shared: this.#service.sharedBreaker(this.#scopeOf(endpoint)),
    })
    return endpoint.breaker
  }

  /** Requests and retries towards this backend; one window for each interval that a policy names. */
  budget(intervalMs: number): RetryBudget {
    let budget = this.#budgets.get(intervalMs)
    if (budget === undefined) {
      const { shared, clock } = this.#service.options
      budget =
        shared === undefined
          ? new OwnRetryBudget(intervalMs, clock.now())
          : new SharedRetryBudget(shared, `${this.name} ${this.port}`, intervalMs)
      this.#budgets.set(intervalMs, budget)
    }
    return budget
  }

  /**
   * Chooses the endpoint of the next try: one that was not tried yet if there is one. A captured connection whose
   * original destination is one of the endpoints gets that one (headless services).
   * Throws NO_HEALTHY_ENDPOINT.
   */
  choose(exchange: Exchange): Endpoint {
    let candidates = this.endpoints.usable()
    if (exchange.downstream.captured) {
      const pinned = this.#pinned(exchange)
      if (pinned !== undefined) return pinned
    }
    if (candidates.length === 0) throw this.#noEndpoint()
    if (exchange.attempts.length > 0) candidates = untried(candidates, exchange.attempts)
    return candidates.length === 1 ? candidates[0]! : this.#picker.pick(candidates, exchange)
  }

  /** Whether `choose` would find an endpoint that was not tried yet. */
  another(exchange: Exchange): boolean {
    if (exchange.downstream.captured && this.#pinned(exchange) !== undefined) return false
    return this.endpoints.usable().some((endpoint) => !wasTried(endpoint, exchange.attempts))
  }

  updatePolicy(policy: BackendPolicy | undefined): void {
    const loadBalancer = JSON.stringify(policy?.loadBalancer ?? null)
    // A picker has state (the table, the turn), so it is made anew only for a reason.
    if (loadBalancer !== this.#loadBalancer) {
      this.#loadBalancer = loadBalancer
      this.#picker = makePicker(policy?.loadBalancer, this.#service.options.clock)
    }
    for (const endpoint of this.endpoints.all()) {
      if (this.#service.endpointBreaker !== undefined) endpoint.breaker?.configure(this.#service.endpointBreaker)
      else {
        endpoint.breaker?.close()
        endpoint.breaker = undefined
      }
    }
    if (policy?.outlierDetection === undefined) this.outlier = undefined
    else if (this.outlier !== undefined) this.outlier.policy = policy.outlierDetection
    else {
      const { clock, onEjection } = this.#service.options
      this.outlier = new OutlierDetector(policy.outlierDetection, this.name, this.endpoints, clock, onEjection)
    }
    this.endpoints.refresh()
  }

  updateEndpoints(set: EndpointSetMessage | undefined): void {
    for (const gone of this.endpoints.update(set)) gone.close()
  }

  close(): void {
    for (const budget of this.#budgets.values()) if (budget instanceof SharedRetryBudget) budget.close()
  }

  snapshot(): BackendSnapshot {
    const ready = new Set(this.endpoints.ready)
    return {
      port: this.port,
      endpoints: [...this.endpoints.all()].map((endpoint) => ({
        endpoint: endpoint.target.key,
        workload: endpoint.target.workload,
        ready: ready.has(endpoint),
        inFlight: endpoint.inFlight,
        latencyMs: endpoint.latencyMs,
        ejectedUntil: endpoint.ejectedUntil,
        breaker: endpoint.breaker?.snapshot(),
      })),
      budgets: [...this.#budgets].map(([intervalMs, { requests, retries }]) => ({ intervalMs, requests, retries })),
    }
  }

  #sharedHealth(): SharedHealth | undefined {
    const { shared } = this.#service.options
    if (shared === undefined) return undefined
    return {
      get epoch() {
        return shared.epoch
      },
      make: (target) => new SharedEndpoint(target, shared, `${this.name} ${this.port}`),
      hear: (endpoint) => {
        if (endpoint.breaker !== undefined) endpoint.breaker.follow()
        // Another thread has met it and this one has not: its breaker may reject.
        else if (this.#service.endpointBreaker !== undefined && endpoint instanceof SharedEndpoint) {
          if (endpoint.breakerExists(`${this.name} ${this.#scopeOf(endpoint)}`)) this.breakerOf(endpoint)
        }
        this.outlier?.follow(endpoint)
      },
    }
  }

  #scopeOf(endpoint: Endpoint): string {
    return `${this.port} ${endpoint.target.key}`
  }

  #pinned(exchange: Exchange): Endpoint | undefined {
    const { localAddress, localPort } = exchange.downstream
    const host = localAddress.includes(':') ? `[${localAddress}]` : localAddress
    return this.endpoints.get(`${host}:${localPort}`)
  }

  #noEndpoint(): MeshError {
    const { total } = this.endpoints
    const what = total === 0 ? 'has no endpoints' : `has ${total} endpoints, none of them ready`
    return new MeshError('NO_HEALTHY_ENDPOINT', `${this.name} port ${this.port} ${what}`, { unsent: true })
  }
}

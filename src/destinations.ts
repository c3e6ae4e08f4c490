/**
 * What this sidecar calls: for each Service (or captured address) that was named once, its policy is watched, compiled
 * when it changes, and the stacks stand ready. Memory follows the workload's own traffic, not the cluster.
 */
import type { Address, EndpointSet, Resource, Service as ServiceMessage } from './api/gen/outrigger_pb.ts'
import type { BackendRegistry } from './balance/backends.ts'
import { makePicker } from './balance/pickers.ts'
import { type Clock, systemClock } from './base/clock.ts'
import { MeshError } from './base/errors.ts'
import type { PolicySource } from './control/policy-source.ts'
import type { OutboundEnv } from './policy/env.ts'
import { type CompiledService, outboundService } from './policy/order.ts'

/** Longest wait for a name that was never asked for before; the control plane answers in milliseconds. */
const lookupTimeoutMs = 2_000
/** Names that were asked for and mean nothing, or nothing yet, are forgotten past this many (a client may invent names). */
const absentMax = 10_000

export interface DestinationsOptions {
  readonly source: PolicySource
  readonly namespace: string
  readonly env: OutboundEnv
  readonly backends: BackendRegistry
  readonly clock: Clock
}

/** A value that is first awaited, then known (perhaps known not to exist), then changes. */
class Known<T> {
  value: T | undefined = undefined
  known = false
  watching: Disposable | undefined = undefined
  readonly #waiters = new Set<() => void>()

  set(value: T | undefined): void {
    this.value = value
    this.known = true
    for (const waiter of this.#waiters) waiter()
    this.#waiters.clear()
  }

  /** Resolves true when known, false after `timeoutMs`. */
  whenKnown(clock: Clock, timeoutMs: number): Promise<boolean> {
    if (this.known) return Promise.resolve(true)
    return new Promise((resolve) => {
      const waiter = (): void => {
        timer.cancel()
        resolve(true)
      }
      const timer = clock.after(timeoutMs, () => {
        this.#waiters.delete(waiter)
        resolve(false)
      })
      this.#waiters.add(waiter)
    })
  }
}

/** One Service, ready to be called. */
export interface ServiceEntry {
  /** "ns/name" */
  readonly name: string
  readonly message: ServiceMessage
  readonly compiled: CompiledService
}

export class Destinations {
  readonly #options: DestinationsOptions
  readonly #services = new Map<string, Known<ServiceEntry>>()
  readonly #addresses = new Map<string, Known<Address>>()
  readonly #endpoints = new Map<string, Known<EndpointSet>>()
  readonly #policies = new Map<string, Known<ServiceMessage>>()
  /** Names without a meaning, oldest first, and how to forget them. */
  readonly #absent = new Map<object, () => void>()

  constructor(options: DestinationsOptions) {
    this.#options = options
  }

  /** The Service "ns/name"; undefined if there is none. Throws POLICY_UNAVAILABLE if nobody can tell now. */
  service(name: string): ServiceEntry | undefined | Promise<ServiceEntry | undefined> {
    let known = this.#services.get(name)
    if (known === undefined) {
      known = this.#watchService(name)
      this.#bound(this.#services, name, known)
    }
    if (known.known) return known.value
    return this.#await(known, `service ${name}`)
  }

  /** What the address "ip:port" means; undefined if the mesh does not know it. */
  address(key: string): Address | undefined | Promise<Address | undefined> {
    let known = this.#addresses.get(key)
    if (known === undefined) {
      known = this.#watch<Address>(this.#addresses, key, `address/${key}`, (resource) =>
        resource.body.case === 'address' ? resource.body.value : undefined,
      )
      this.#bound(this.#addresses, key, known)
    }
    if (known.known) return known.value
    return this.#await(known, `address ${key}`)
  }

  /** Names of the Services that are watched. */
  get names(): string[] {
    return [...this.#services.keys()]
  }

  async #await<T>(known: Known<T>, what: string): Promise<T | undefined> {
    if (await known.whenKnown(this.#options.clock, lookupTimeoutMs)) return known.value
    throw new MeshError(
      'POLICY_UNAVAILABLE',
      `${what} was never called before and the control plane does not answer; services in use go on working`,
    )
  }

  #watch<T>(
    map: Map<string, Known<T>>,
    key: string,
    resourceName: string,
    read: (resource: Resource) => T | undefined,
  ): Known<T> {
    const known = new Known<T>()
    map.set(key, known)
    known.watching = this.#options.source.watch(resourceName, (resource) => {
      known.set(resource === undefined ? undefined : read(resource))
    })
    return known
  }

  /** Called when a name is asked for the first time. What has come to mean something by then is no longer bounded. */
  #bound<T>(map: Map<string, Known<T>>, key: string, known: Known<T>): void {
    this.#absent.set(known, () => {
      if (known.value !== undefined || map.get(key) !== known) return
      known.watching?.[Symbol.dispose]()
      map.delete(key)
    })
    if (this.#absent.size <= absentMax) return
    const [oldest, forget] = this.#absent.entries().next().value!
    this.#absent.delete(oldest)
    forget()
  }

  #watchService(name: string): Known<ServiceEntry> {
    const known = new Known<ServiceEntry>()
    this.#services.set(name, known)
    let latest = 0
    known.watching = this.#options.source.watch(`service/${name}`, (resource) => {
      const serial = ++latest
      if (resource?.body.case !== 'service') {
        known.set(undefined)
        return
      }
      const message = resource.body.value
      const entry = { name, message, compiled: outboundService(message, this.#options.namespace, this.#options.env) }
      const unknown = backendsOf(message)
        .map((backend) => this.#needBackend(backend))
        .filter((endpoints) => !endpoints.known)
      if (unknown.length === 0) {
        known.set(entry)
        return
      }
      // A rule must not come into force before the endpoints that it sends to are known; until then the old one stays.
      void Promise.all(unknown.map((endpoints) => endpoints.whenKnown(this.#options.clock, lookupTimeoutMs))).then(
        () => {
          if (serial === latest) known.set(entry)
        },
      )
    })
    return known
  }

  /** Keeps endpoints and backend policy of "ns/name" in the registry up to date. */
  #needBackend(name: string): Known<EndpointSet> {
    const watched = this.#endpoints.get(name)
    if (watched !== undefined) return watched
    const { backends } = this.#options
    const endpoints = this.#watch<EndpointSet>(this.#endpoints, name, `endpoints/${name}`, (resource) => {
      const set = resource.body.case === 'endpoints' ? resource.body.value : undefined
      backends.updateEndpoints(name, set)
      return set
    })
    this.#watch<ServiceMessage>(this.#policies, name, `service/${name}`, (resource) => {
      const message = resource.body.case === 'service' ? resource.body.value : undefined
      backends.update(name, message?.policy)
      return message
    })
    return endpoints
  }

  close(): void {
    for (const map of [this.#services, this.#addresses, this.#endpoints, this.#policies]) {
      for (const known of map.values()) known.watching?.[Symbol.dispose]()
      map.clear()
    }
  }
}

/** "ns/name" of the Service itself and of all that its rules send to. */
function backendsOf(message: ServiceMessage): string[] {
  const names = new Set([`${message.namespace}/${message.name}`])
  for (const rule of message.rules) {
    for (const backend of rule.backends) names.add(`${backend.namespace}/${backend.name}`)
    for (const { filter } of rule.filters) {
      const mirrored = filter.case === 'mirror' ? filter.value.backend : undefined
      if (mirrored !== undefined) names.add(`${mirrored.namespace}/${mirrored.name}`)
    }
  }
  return [...names]
}

/**
 * Throws if this sidecar could not put the resource in force; called before it is accepted. Compiles to nowhere.
 */
export function checkResource(resource: Resource, namespace: string, env: OutboundEnv): void {
  const { body } = resource
  if (body.case !== 'service') return
  outboundService(body.value, namespace, env)
  makePicker(body.value.policy?.loadBalancer, systemClock)
}

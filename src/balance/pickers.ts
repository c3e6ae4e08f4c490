import { Algorithm, type LoadBalancer } from '../api/gen/outrigger_pb.ts'
import type { Clock } from '../base/clock.ts'
import type { Exchange } from '../base/exchange.ts'
import { headerValue } from '../base/headers.ts'
import type { Endpoint } from './endpoint-set.ts'
import { hash, MaglevTable } from './maglev.ts'

/** Chooses an endpoint for one try. */
export interface Picker {
  /** `candidates` has at least two members. */
  pick(candidates: readonly Endpoint[], exchange: Exchange): Endpoint
}

/** The picker that a policy asks for; least request without one. Throws an Error that names what is wrong. */
export function makePicker(policy: LoadBalancer | undefined, clock: Clock): Picker {
  switch (policy?.algorithm) {
    case undefined:
    case Algorithm.UNSPECIFIED:
    case Algorithm.LEAST_REQUEST:
      return new LeastRequest(clock)
    case Algorithm.ROUND_ROBIN:
      return new RoundRobin(clock)
    case Algorithm.EWMA:
      return new Ewma(clock)
    case Algorithm.RANDOM:
      return new RandomPicker(clock)
    case Algorithm.CONSISTENT_HASH:
      return new ConsistentHash(hashKey(policy), clock)
    default:
      throw new Error(`load balancer algorithm ${policy?.algorithm} is not known to this version`)
  }
}

class RoundRobin implements Picker {
  #next: number

  constructor(clock: Clock) {
    // Sidecars that start together must not march in step.
    this.#next = Math.floor(clock.random() * 1_024)
  }

  pick(candidates: readonly Endpoint[]): Endpoint {
    this.#next = (this.#next + 1) % 0x40000000
    return candidates[this.#next % candidates.length]!
  }
}

class RandomPicker implements Picker {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  pick(candidates: readonly Endpoint[]): Endpoint {
    return candidates[Math.floor(this.#clock.random() * candidates.length)]!
  }
}

/** Power of two choices (Mitzenmacher 2001): the better of two at random, by `load`. */
abstract class TwoChoices implements Picker {
  protected readonly clock: Clock

  constructor(clock: Clock) {
    this.clock = clock
  }

  pick(candidates: readonly Endpoint[]): Endpoint {
    const count = candidates.length
    const first = Math.floor(this.clock.random() * count)
    // Of the others, so that the two are never the same.
    let second = Math.floor(this.clock.random() * (count - 1))
    if (second >= first) second++
    const a = candidates[first]!
    const b = candidates[second]!
    return this.load(a) <= this.load(b) ? a : b
  }

  protected abstract load(endpoint: Endpoint): number
}

class LeastRequest extends TwoChoices {
  protected override load(endpoint: Endpoint): number {
    return endpoint.inFlight
  }
}

class Ewma extends TwoChoices {
  protected override load(endpoint: Endpoint): number {
    // One that has not answered yet gets one try, not all of them.
    if (endpoint.latencyMs === 0) return endpoint.inFlight === 0 ? 0 : Number.MAX_VALUE
    return endpoint.latencyMs * (endpoint.inFlight + 1)
  }
}

type HashKey = (exchange: Exchange) => string | undefined

/** Requests with the same key go to the same endpoint while the set stands; without a key, to any. */
class ConsistentHash implements Picker {
  readonly #key: HashKey
  readonly #clock: Clock
  #table: MaglevTable | undefined
  #members: readonly Endpoint[] = []

  constructor(key: HashKey, clock: Clock) {
    this.#key = key
    this.#clock = clock
  }

  pick(candidates: readonly Endpoint[], exchange: Exchange): Endpoint {
    const key = this.#key(exchange)
    if (key === undefined) return candidates[Math.floor(this.#clock.random() * candidates.length)]!
    let table = this.#table
    // On a retry the candidates are what is left of the members: the next slots lead to the second choice.
    if (table === undefined || (candidates !== this.#members && exchange.attempts.length === 0)) {
      this.#members = candidates
      table = this.#table = new MaglevTable(candidates.map((endpoint) => endpoint.target.key))
    }
    const slot = hash(key, 0)
    if (candidates === this.#members) return candidates[table.at(slot)]!
    for (let step = 0; step < table.size; step++) {
      const endpoint = this.#members[table.at(slot + step)]!
      if (candidates.includes(endpoint)) return endpoint
    }
    return candidates[slot % candidates.length]!
  }
}

function hashKey(policy: LoadBalancer): HashKey {
  const given = Number(policy.hashHeader !== '') + Number(policy.hashCookie !== '') + Number(policy.hashSourceIp)
  if (given !== 1) {
    throw new Error('load balancer ConsistentHash needs exactly one of header, cookie and source address as its key')
  }
  if (policy.hashSourceIp) return (exchange) => exchange.downstream.remoteAddress
  if (policy.hashCookie !== '') {
    const name = policy.hashCookie
    return (exchange) => cookieValue(headerValue(exchange.request.headers, 'cookie'), name)
  }
  const lowerName = policy.hashHeader.toLowerCase()
  return (exchange) => headerValue(exchange.request.headers, lowerName)
}

/** RFC 6265 section 5.4. */
function cookieValue(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
  }
  return undefined
}

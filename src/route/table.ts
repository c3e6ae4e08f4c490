import type { PolicyRef, Rule, Service as ServiceMessage } from '../api/gen/outrigger_pb.ts'
import type { Service } from '../base/stack.ts'
import { compileMatch, type RequestMatch, type Routed } from './match.ts'
import { pathOf } from './path.ts'

/** One match of one rule. */
export interface CompiledMatch {
  readonly rule: Rule
  /** Route and rule, for people: `HTTPRoute ns/name rule`, `GRPCRoute ns/name rule` or `default`. */
  readonly name: string
  readonly ref: PolicyRef | undefined
  readonly match: RequestMatch
  /** What the PathPrefix match matched, without a slash at its end; '' for every other type. */
  readonly prefix: string
  /** What answers it; filled by whoever builds the stacks (`policy/order.ts`). */
  stack: Service | undefined
}

/** The rules of one Service as one caller's namespace sees them. */
export interface RouteTable {
  readonly matches: readonly CompiledMatch[]
  /** The first in order of precedence that holds; undefined = 404. `port` is the Service's port that was called. */
  match(of: Routed, port: number): CompiledMatch | undefined
}

/**
 * Compiles the rules of a Service in Gateway API's order of precedence (HTTPRouteMatch). Consumer routes of the caller's
 * namespace stand in place of the producer's (GEP-1294, "Multiple routes for a Service"). Then Exact path, longest PathPrefix, regular expression, then a
 * method, the number of headers, the number of query parameters, then the order in which they were given.
 * A regular expression ranks above the catch-all prefix `/`: below it it could never be reached. Of a GRPCRoute's regular
 * expressions the one with more characters of the service comes first, then of the method (GRPCRouteRule); its other matches
 * are in that order by their paths.
 * Throws an Error that names rule and part if anything cannot be compiled.
 */
export function compileRoutes(service: ServiceMessage, consumerNamespace: string): RouteTable {
  const entries: Entry[] = []
  for (const rule of service.rules) {
    if (rule.consumerNamespace !== '' && rule.consumerNamespace !== consumerNamespace) continue
    const name =
      rule.ref === undefined ? 'default' : `${rule.ref.kind} ${rule.ref.namespace}/${rule.ref.name} ${rule.name}`
    if (rule.matches.length === 0) throw new Error(`${name}: a rule without matches`)
    for (const wire of rule.matches) {
      const match = inPlace(name, () => compileMatch(wire))
      const prefix = match.path.is === 'prefix' ? match.path.path : ''
      entries.push({
        compiled: { rule, name, ref: rule.ref, match, prefix, stack: undefined },
        consumer: rule.consumerNamespace !== '',
        port: rule.port,
        order: entries.length,
      })
    }
  }
  return new Table(entries)
}

interface Entry {
  readonly compiled: CompiledMatch
  readonly consumer: boolean
  readonly port: number
  readonly order: number
}

function inPlace<T>(place: string, compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    throw new Error(`${place}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

class Table implements RouteTable {
  readonly matches: readonly CompiledMatch[]
  /** One index per port that a rule names; the others share `#anyPort`. */
  readonly #byPort = new Map<number, PortTable>()
  readonly #anyPort: PortTable

  constructor(entries: readonly Entry[]) {
    this.matches = entries.map((entry) => entry.compiled)
    this.#anyPort = new PortTable(entries.filter((entry) => entry.port === 0))
    for (const port of new Set(entries.map((entry) => entry.port))) {
      if (port === 0) continue
      this.#byPort.set(port, new PortTable(entries.filter((entry) => entry.port === 0 || entry.port === port)))
    }
  }

  match(of: Routed, port: number): CompiledMatch | undefined {
    const table = this.#byPort.size === 0 ? this.#anyPort : (this.#byPort.get(port) ?? this.#anyPort)
    return table.match(of)
  }
}

class PortTable {
  readonly #rules: PathIndex

  constructor(entries: readonly Entry[]) {
    // Routes merge within a group only: a namespace with routes of its own does without the producer's.
    const consumer = entries.filter((entry) => entry.consumer)
    // A Service with any route is controlled by its routes only: the implied rule steps back.
    const anyRoute = entries.some((entry) => entry.compiled.ref !== undefined)
    const producer = entries.filter((entry) => !entry.consumer && !(anyRoute && entry.compiled.ref === undefined))
    this.#rules = new PathIndex(consumer.length > 0 ? consumer : producer)
  }

  match(of: Routed): CompiledMatch | undefined {
    const path = pathOf(of.request.target)
    return this.#rules.match(of, path)
  }
}

/** Finds candidates by hash of the path and of its leading elements, so that the number of rules does not matter. */
class PathIndex {
  readonly #exact = new Map<string, CompiledMatch[]>()
  readonly #prefixes = new Map<string, CompiledMatch[]>()
  readonly #regexes: CompiledMatch[] = []
  readonly #any: CompiledMatch[] = []
  #prefixLengthMax = 0

  constructor(entries: readonly Entry[]) {
    for (const { compiled } of [...entries].sort(bySpecificity)) {
      const path = compiled.match.path
      if (path.is === 'exact') put(this.#exact, path.path, compiled)
      else if (path.is === 'prefix') {
        put(this.#prefixes, path.path, compiled)
        this.#prefixLengthMax = Math.max(this.#prefixLengthMax, path.path.length)
      } else if (path.is === 'regex') this.#regexes.push(compiled)
      else this.#any.push(compiled)
    }
  }

  match(of: Routed, path: string): CompiledMatch | undefined {
    if (this.#exact.size > 0) {
      const candidates = this.#exact.get(path)
      if (candidates !== undefined) {
        const found = firstOf(candidates, of)
        if (found !== undefined) return found
      }
    }
    if (this.#prefixLengthMax > 0) {
      const found = this.#longestPrefix(of, path)
      if (found !== undefined) return found
    }
    for (const candidate of this.#regexes) {
      if (candidate.match.matchesPath(path) && candidate.match.matchesRest(of)) return candidate
    }
    return firstOf(this.#any, of)
  }

  #longestPrefix(of: Routed, path: string): CompiledMatch | undefined {
    let end = path.length
    while (end > 0) {
      if (end <= this.#prefixLengthMax) {
        const candidates = this.#prefixes.get(end === path.length ? path : path.slice(0, end))
        if (candidates !== undefined) {
          const found = firstOf(candidates, of)
          if (found !== undefined) return found
        }
      }
      end = path.lastIndexOf('/', end - 1)
    }
    return undefined
  }
}

function firstOf(candidates: readonly CompiledMatch[], of: Routed): CompiledMatch | undefined {
  for (const candidate of candidates) if (candidate.match.matchesRest(of)) return candidate
  return undefined
}

function bySpecificity(a: Entry, b: Entry): number {
  const left = a.compiled.match
  const right = b.compiled.match
  return (
    (right.grpc?.serviceCharacters ?? 0) - (left.grpc?.serviceCharacters ?? 0) ||
    (right.grpc?.methodCharacters ?? 0) - (left.grpc?.methodCharacters ?? 0) ||
    Number(right.method !== '') - Number(left.method !== '') ||
    right.headers.length - left.headers.length ||
    right.query.length - left.query.length ||
    a.order - b.order
  )
}

function put(map: Map<string, CompiledMatch[]>, key: string, value: CompiledMatch): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

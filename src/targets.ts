/** What the application means to call: the Service, endpoint or outside host that an authority or an address names. */
import { isIP } from 'node:net'
import { type Address, Protocol } from './api/gen/outrigger_pb.ts'
import { MeshError } from './base/errors.ts'
import type { Destinations, ServiceEntry } from './destinations.ts'
import type { ServerName } from './detect/client-hello.ts'
import { serviceOf } from './route/authority.ts'
import type { Runtime } from './runtime.ts'
import type { Destination } from './upstream/connect.ts'

/** Where a connection or request means to go. */
export type Target =
  | { readonly is: 'service'; readonly entry: ServiceEntry; readonly port: number }
  | { readonly is: 'endpoint'; readonly to: Destination; readonly service: string; readonly workload: string }
  | { readonly is: 'unknown'; readonly host: string; readonly port: number }

/** What an authority names, read once; `target` as it was last made. */
interface Named {
  /** "ns/name"; '' if it cannot be the name of a Service. */
  readonly service: string
  readonly port: number
  target: (Target & { readonly is: 'service' }) | undefined
}

/** Authorities whose reading is kept. */
const namedMax = 1_000

/** Asked for every request: policy changes while a connection is kept. */
export type Resolve = () => Target | Promise<Target>

const noServerName =
  'a TLS connection without a server name (SNI): nobody can tell whom it is for; send one, or CONNECT first, ' +
  'or give the Service a local port (--upstream)'

export class Targets {
  readonly #runtime: Runtime
  readonly #destinations: Destinations
  readonly #named = new Map<string, Named>()

  constructor(runtime: Runtime, destinations: Destinations) {
    this.#runtime = runtime
    this.#destinations = destinations
    runtime.mesh.subscribe(() => this.#named.clear())
  }

  /** By `Host`, by the target of CONNECT, or by a TLS server name with its port. */
  byAuthority(authority: string): Target | Promise<Target> {
    const named = this.#named.get(authority) ?? this.#name(authority)
    if (named.service === '') {
      const unknown = unknownTarget(authority)
      // A name is no Service's; an address may be one's, or a Pod's.
      return isIP(unknown.host) === 0 ? unknown : this.meaningOf(unknown.host, unknown.port)()
    }
    const entry = this.#destinations.service(named.service)
    return entry instanceof Promise
      ? entry.then((found) => serviceTarget(authority, named, found))
      : serviceTarget(authority, named, entry)
  }

  /**
   * By the server name of a TLS client, as `Host` would be read. It says no port: 443, or where the Service has none, its
   * only port that is declared TLS.
   */
  async byServerName(hello: ServerName): Promise<Target> {
    if (hello.is !== 'name') throw new MeshError('UNKNOWN_DESTINATION', noServerName)
    const target = await this.byAuthority(`${hello.name}:443`)
    if (target.is !== 'service' || hasPort(target.entry, target.port)) return target
    const { entry } = target
    const [only, ...more] = entry.message.ports.filter(({ protocol }) => protocol === Protocol.TLS)
    if (only !== undefined && more.length === 0) return { is: 'service', entry, port: only.port }
    const what = more.length > 0 ? 'more than one' : 'none'
    throw new MeshError(
      'NO_ROUTE',
      `TLS to ${hello.name}: Service ${entry.name} has no port 443, and ${what} declared TLS`,
    )
  }

  #name(authority: string): Named {
    const { mesh, options } = this.#runtime
    const scope = { namespace: options.namespace, clusterDomain: mesh.current?.clusterDomain || 'cluster.local' }
    const name = serviceOf(authority, scope)
    const named: Named = {
      service: name === undefined ? '' : `${name.namespace}/${name.name}`,
      port: name?.port ?? 0,
      target: undefined,
    }
    // All at once: a client that invents names costs others a microsecond each, and no list has to be kept.
    if (this.#named.size >= namedMax) this.#named.clear()
    this.#named.set(authority, named)
    return named
  }

  /** What an original destination means now. A target is made anew only when something about it has changed. */
  meaningOf(address: string, port: number): Resolve {
    const destinations = this.#destinations
    const key = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const unknown: Target = { is: 'unknown', host: address, port }
    let target: Target | undefined
    let madeOf: Address | undefined
    const toService = (found: Address, entry: ServiceEntry | undefined): Target => {
      if (entry === undefined) return unknown
      if (target?.is === 'service' && target.entry === entry && madeOf === found) return target
      madeOf = found
      target = { is: 'service', entry, port: found.servicePort }
      return target
    }
    const of = (found: Address | undefined): Target | Promise<Target> => {
      if (found === undefined) return unknown
      if (found.endpoint === undefined) {
        const entry = destinations.service(found.service)
        return entry instanceof Promise ? entry.then((known) => toService(found, known)) : toService(found, entry)
      }
      if (target !== undefined && madeOf === found) return target
      madeOf = found
      const { identity, workload } = found.endpoint
      target = { is: 'endpoint', to: { key, address, port, identity }, service: found.service, workload }
      return target
    }
    return () => {
      const found = destinations.address(key)
      return found instanceof Promise ? found.then(of) : of(found)
    }
  }
}

export function hasPort(entry: ServiceEntry, port: number): boolean {
  return entry.message.ports.some((known) => known.port === port)
}

export function declaredProtocol(target: Target): Protocol {
  if (target.is !== 'service') return Protocol.UNSPECIFIED
  return target.entry.message.ports.find((port) => port.port === target.port)?.protocol ?? Protocol.UNSPECIFIED
}

function serviceTarget(authority: string, named: Named, entry: ServiceEntry | undefined): Target {
  if (entry === undefined) return unknownTarget(authority)
  if (named.target?.entry !== entry) named.target = { is: 'service', entry, port: named.port }
  return named.target
}

function unknownTarget(authority: string): Target & { readonly is: 'unknown' } {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(authority)
  return { is: 'unknown', host: match?.[1] ?? match?.[2] ?? authority, port: Number(match?.[3] ?? 80) }
}

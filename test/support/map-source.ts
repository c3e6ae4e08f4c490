import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  type AddressSchema,
  type EndpointSchema,
  type Protocol,
  type Resource,
  ResourceSchema,
  StringMatchType,
} from '../../src/api/gen/outrigger_pb.ts'
import type { PolicySource } from '../../src/control/policy-source.ts'

export interface ServiceSpec {
  readonly port: number
  readonly protocol: Protocol
  /** Where its one endpoint listens. */
  readonly endpointPort: number
}

/** Policy that a test sets by hand; what was never set is known not to exist, unless `silent`. */
export class MapSource implements PolicySource {
  readonly synced = true
  /** Says nothing about names that were never set, as during an outage. */
  silent = false
  /** Names that are watched now, once per watcher. */
  readonly watched: string[] = []
  readonly #known = new Map<string, Resource>()
  readonly #listeners = new Map<string, Set<(resource: Resource | undefined) => void>>()

  watch(name: string, listener: (resource: Resource | undefined) => void): Disposable {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener)
    this.watched.push(name)
    const known = this.#known.get(name)
    if (known !== undefined || !this.silent) listener(known)
    return {
      [Symbol.dispose]: () => {
        listeners.delete(listener)
        this.watched.splice(this.watched.indexOf(name), 1)
      },
    }
  }

  set(name: string, body: Resource['body']): void {
    const resource = create(ResourceSchema, { name, version: '1', body })
    this.#known.set(name, resource)
    this.#tell(name, resource)
  }

  remove(name: string): void {
    this.#known.delete(name)
    this.#tell(name, undefined)
  }

  /** The Service test/NAME with one endpoint. */
  setService(name: string, spec: ServiceSpec): void {
    const { port, protocol, endpointPort } = spec
    const endpoint = { address: '127.0.0.1', ports: { [port]: endpointPort }, ready: true, workload: name }
    const made = create(ResourceSchema, {
      body: { case: 'endpoints', value: { namespace: 'test', name, endpoints: [endpoint] } },
    })
    this.set(`endpoints/test/${name}`, made.body)
    const service = create(ResourceSchema, {
      body: {
        case: 'service',
        value: {
          namespace: 'test',
          name,
          ports: [{ port, name: 'p', protocol }],
          rules: [
            {
              name: '0',
              matches: [{ pathType: StringMatchType.PREFIX, path: '/' }],
              backends: [{ namespace: 'test', name, port, weight: 1 }],
            },
          ],
        },
      },
    })
    this.set(`service/test/${name}`, service.body)
  }

  setAddress(
    key: string,
    address: Omit<MessageInitShape<typeof AddressSchema>, 'endpoint' | '$typeName'> & {
      endpoint?: Omit<MessageInitShape<typeof EndpointSchema>, '$typeName'>
    },
  ): void {
    const made = create(ResourceSchema, { body: { case: 'address', value: address } })
    this.set(`address/${key}`, made.body)
  }

  #tell(name: string, resource: Resource | undefined): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(resource)
  }
}

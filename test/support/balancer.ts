/** A TCP load balancer in front of replicas, as a Service is: it chooses per connection, and knows after a moment who is gone. */
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { reset } from '../../src/tcp/reset.ts'

export interface Backend {
  readonly host: string
  readonly port: number
}

interface Pair {
  readonly backend: Backend
  readonly client: net.Socket
  readonly server: net.Socket
}

export class Balancer implements AsyncDisposable {
  /** Gets new connections, in turn. */
  backends: readonly Backend[]
  readonly #server: net.Server
  readonly #pairs = new Set<Pair>()
  #turn = 0

  private constructor(backends: readonly Backend[]) {
    this.backends = backends
    this.#server = net.createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
  }

  static async start(backends: readonly Backend[]): Promise<Balancer> {
    const balancer = new Balancer(backends)
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    return balancer
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Connections to a backend that are open. */
  connections(backend: Backend): number {
    return [...this.#pairs].filter((pair) => pair.backend === backend).length
  }

  /** From now on nothing passes to or from that backend, and nobody is told: the network between is cut. */
  cut(backend: Backend): void {
    this.backends = this.backends.filter((each) => each !== backend)
    for (const pair of this.#pairs) {
      if (pair.backend !== backend) continue
      pair.client.unpipe().resume()
      pair.server.unpipe().resume()
    }
  }

  #accept(client: net.Socket): void {
    const backend = this.backends[this.#turn++ % this.backends.length]
    client.on('error', () => {})
    if (backend === undefined) {
      reset(client)
      return
    }
    const server = net.connect({ ...backend, allowHalfOpen: true })
    const pair: Pair = { backend, client, server }
    this.#pairs.add(pair)
    server.on('error', () => reset(client))
    client.pipe(server)
    server.pipe(client)
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('close', () => {
        this.#pairs.delete(pair)
        to.destroy()
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { client, server } of this.#pairs) {
      client.destroy()
      server.destroy()
    }
    this.#server.close()
    await once(this.#server, 'close')
  }
}

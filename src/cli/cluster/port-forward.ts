/** A port of a Pod, reached through the API server: loopback ports of the Pod, too. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import type { PortForward } from '@kubernetes/client-node'
import type { Cluster } from '../../../control-plane/kubernetes/cluster.ts'
import { messageOf } from '../../base/log.ts'

export interface PodPort {
  readonly namespace: string
  readonly pod: string
  readonly port: number
}

/** Listens on a free loopback port; each connection to it is one to the port of the Pod. */
export class Forward implements AsyncDisposable {
  readonly #server: Server
  readonly #target: PodPort
  readonly #sockets = new Set<Socket>()
  #failure = ''

  private constructor(target: PodPort, server: Server) {
    this.#target = target
    this.#server = server
  }

  static async open(cluster: Cluster, target: PodPort): Promise<Forward> {
    const { PortForward } = await import('@kubernetes/client-node')
    const server = createServer()
    const forward = new Forward(target, server)
    const library = new PortForward(cluster.config)
    server.on('connection', (socket) => void forward.#connect(library, socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return forward
  }

  /** `127.0.0.1:PORT` */
  get address(): string {
    const address = this.#server.address()
    return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  }

  /** Why the last connection failed, with the remedy; '' when none did. */
  get failure(): string {
    return this.#failure
  }

  /** The text of a path by HTTP. Throws an Error that names the Pod and the remedy. */
  async get(path: string): Promise<string> {
    const { request } = await import('undici')
    try {
      const timeouts = { headersTimeout: 10_000, bodyTimeout: 10_000 }
      const { statusCode, body } = await request(`http://${this.address}${path}`, { reset: true, ...timeouts })
      const text = await body.text()
      if (statusCode === 200) return text
      throw new Error(`answered ${statusCode}: ${text.trim().slice(0, 200)}`)
    } catch (cause) {
      throw this.explained(cause)
    }
  }

  /** An error of a connection through here, in words that say why. */
  explained(cause: unknown): Error {
    const { namespace, pod, port } = this.#target
    const why = this.#failure === '' ? messageOf(cause) : this.#failure
    return new Error(`port ${port} of Pod ${namespace}/${pod}: ${why}`, { cause })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** Never rejects. */
  async #connect(library: PortForward, socket: Socket): Promise<void> {
    const { namespace, pod, port } = this.#target
    this.#sockets.add(socket)
    // The other side may be gone before we notice.
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#sockets.delete(socket))
    // What the kubelet says when nobody listens there.
    const errors = new PassThrough()
    errors.on('data', (chunk: Buffer) => {
      const text = chunk.toString('utf8').trim()
      if (text === '') return
      this.#failure = /connection refused/i.test(text) ? 'nothing listens there' : text
      socket.destroy()
    })
    try {
      const stream = await library.portForward(namespace, pod, [port], socket, errors, socket)
      if (typeof stream === 'function') return
      // The library's own handlers stay; these end what it leaves open.
      stream.onclose = () => void socket.end()
      // Not close(): that waits for the other side to agree.
      socket.once('close', () => stream.terminate())
      if (socket.destroyed) stream.terminate()
    } catch (error) {
      this.#failure = upgradeFailure(error)
      socket.destroy()
    }
  }
}

function upgradeFailure(error: unknown): string {
  // What `ws` gives is an ErrorEvent.
  const message = error instanceof Error ? error.message : String((error as { message?: unknown }).message ?? error)
  if (/\b403\b/.test(message))
    return 'port-forward is forbidden: this user needs the verbs get and create on pods/portforward'
  if (/\b404\b/.test(message)) return 'the Pod is gone'
  if (/\b(400|500)\b/.test(message)) return 'the Pod does not run (kubectl describe pod says why)'
  return `port-forward failed: ${message}`
}

import type { Mirror } from '../api/gen/outrigger_pb.ts'
import { type Body, type BodySink, WholeBody } from '../base/body.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import { Exchange, type Headers, type RequestHead } from '../base/exchange.ts'
import type { Layer, Service } from '../base/stack.ts'
import type { PolicyEnv } from './env.ts'
import { TimeoutQueue } from './timeout-queue.ts'

/** Bodies above this are not mirrored. */
export const mirrorBodyBytesMax = 65_536
/** Mirrors of one filter that may be under way; more are dropped, so that a slow mirror costs nobody anything. */
export const mirrorsMax = 100
/** A mirror that takes longer is given up. */
export const mirrorTimeoutMs = 10_000

/**
 * Sends a copy of a share of the requests to another backend and throws its answer away (HTTPRequestMirrorFilter).
 * The copy is an exchange of its own: nothing that happens to it is seen by the client.
 */
export function mirror(
  filter: Mirror,
  send: Service,
  policy: PolicyRef | undefined,
  env: PolicyEnv,
): Layer | undefined {
  if (filter.ppm === 0) return undefined
  const sender = new Mirrorer(send, policy, env)
  const share = filter.ppm / 1_000_000
  return (next) => (exchange) => {
    if (share >= 1 || env.clock.random() < share) sender.copy(exchange)
    return next(exchange)
  }
}

class Mirrorer {
  readonly #send: Service
  readonly #policy: PolicyRef | undefined
  readonly #env: PolicyEnv
  readonly #timeouts: TimeoutQueue<Exchange>
  #running = 0

  constructor(send: Service, policy: PolicyRef | undefined, env: PolicyEnv) {
    this.#send = send
    this.#policy = policy
    this.#env = env
    this.#timeouts = new TimeoutQueue(env.clock, mirrorTimeoutMs, ({ of }) => of.cancel(givenUp))
  }

  copy(exchange: Exchange): void {
    const { body } = exchange
    const tooLarge = body.length !== undefined && body.length > mirrorBodyBytesMax
    if (this.#running >= mirrorsMax || tooLarge || exchange.request.upgrade !== undefined) {
      this.#tell('mirror-dropped')
      return
    }
    this.#running++
    // The original may be rewritten while the copy waits for its body.
    const { method, target, authority, scheme, version, headers } = exchange.request
    const request: RequestHead = {
      method,
      target,
      authority,
      scheme,
      version,
      headers: [...headers],
      upgrade: undefined,
      expectContinue: false,
    }
    const begin = (copied: Body | undefined): void => {
      if (copied === undefined) {
        this.#running--
        this.#tell('mirror-dropped')
        return
      }
      const init = { request, body: copied, downstream: exchange.downstream, startedAt: this.#env.clock.now() }
      const child = new Exchange(init)
      child.service = exchange.service
      child.servicePort = exchange.servicePort
      child.route = exchange.route
      void this.#run(child)
    }
    if (body.whole !== undefined) begin(new WholeBody(body.whole, body.trailers, body.announced))
    else exchange.body = new TeeBody(body, begin)
  }

  async #run(child: Exchange): Promise<void> {
    const timeout = this.#timeouts.add(child)
    this.#tell('mirrored')
    try {
      const response = await this.#send(child)
      response.tunnel?.socket.destroy()
      response.body.discard(givenUp)
    } catch {
      // Nobody waits for it; its attempt and the endpoint's books have the failure.
    }
    this.#timeouts.cancel(timeout)
    this.#running--
  }

  #tell(outcome: 'mirrored' | 'mirror-dropped'): void {
    this.#env.onEvent?.({ layer: 'mirror', outcome, policy: this.#policy, shadow: false })
  }
}

/** Passes a body on and keeps a copy of it, up to the limit. */
class TeeBody implements Body {
  readonly length: number | undefined
  readonly whole: undefined = undefined
  readonly #source: Body
  #begin: ((copy: Body | undefined) => void) | undefined
  #kept: Buffer[] = []
  #keptBytes = 0

  constructor(source: Body, begin: (copy: Body | undefined) => void) {
    this.#source = source
    this.#begin = begin
    this.length = source.length
  }

  pipe(sink: BodySink): void {
    this.#source.pipe({
      data: (chunk) => {
        this.#keep(chunk)
        return sink.data(chunk)
      },
      end: (trailers: Headers | undefined) => {
        this.#finish(true, trailers)
        sink.end(trailers)
      },
      fail: (error) => {
        this.#finish(false)
        sink.fail(error)
      },
    })
  }

  pause(): void {
    this.#source.pause()
  }

  resume(): void {
    this.#source.resume()
  }

  discard(reason: MeshError): void {
    this.#finish(false)
    this.#source.discard(reason)
  }

  #keep(chunk: Buffer): void {
    if (this.#begin === undefined) return
    this.#keptBytes += chunk.length
    if (this.#keptBytes > mirrorBodyBytesMax) this.#finish(false)
    else this.#kept.push(Buffer.from(chunk))
  }

  #finish(whole: boolean, trailers?: Headers): void {
    const begin = this.#begin
    if (begin === undefined) return
    this.#begin = undefined
    const announced = this.length !== undefined
    begin(whole ? new WholeBody(Buffer.concat(this.#kept).toString('latin1'), trailers, announced) : undefined)
    this.#kept = []
  }
}

const givenUp = new MeshError('DEADLINE', 'nobody waits for the answer to a mirrored request')

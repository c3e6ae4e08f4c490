import type { Clock } from '../base/clock.ts'
import { MeshError, type PolicyRef } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { grpcTimeoutMs, grpcTimeoutText } from '../base/grpc-timeout.ts'
import { headerValue, setHeader } from '../base/headers.ts'
import type { Layer, Service } from '../base/stack.ts'
import { DeadlineQueue, type Due } from './deadline-queue.ts'
import { TimeoutQueue, timed, untilWhole } from './timeout-queue.ts'

const timeoutHeader = 'grpc-timeout'

/**
 * The time for the whole exchange, retries and response body included (HTTPRoute `timeouts.request`, GEP-1742; 0 = none).
 * The caller of a gRPC call says by `grpc-timeout` how long it waits: then the smaller one holds, and what is left of it
 * goes upstream, with each try anew. Cancels the exchange with DEADLINE. A tunnel, once made, may last.
 */
export function deadline(ms: number, policy: PolicyRef | undefined, clock: Clock): Layer {
  const queue =
    ms === 0
      ? undefined
      : new TimeoutQueue<Exchange>(clock, ms, ({ of: exchange }) => expire(exchange, `${ms} ms`, policy, clock))
  const calls = new CallDeadlines(ms, policy, clock)
  return (next) => {
    const other = queue === undefined ? next : timed(queue, next)
    return (exchange) => (exchange.isGrpc ? calls.run(next, exchange) : other(exchange))
  }
}

class CallDeadlines {
  readonly #ms: number
  readonly #policy: PolicyRef | undefined
  readonly #clock: Clock
  readonly #queue: DeadlineQueue

  constructor(ms: number, policy: PolicyRef | undefined, clock: Clock) {
    this.#ms = ms
    this.#policy = policy
    this.#clock = clock
    this.#queue = new DeadlineQueue(clock, (due) => this.#expire(due))
  }

  run(next: Service, exchange: Exchange): Promise<Response> {
    const now = this.#clock.now()
    const asked = headerValue(exchange.request.headers, timeoutHeader)
    let at = this.#ms === 0 ? Number.POSITIVE_INFINITY : now + this.#ms
    let byCaller = false
    if (asked !== undefined) {
      const askedMs = grpcTimeoutMs(asked)
      if (askedMs === undefined) return Promise.reject(malformed(asked))
      // It began to run when the caller sent it.
      const until = exchange.startedAt + askedMs
      if (until < at) {
        at = until
        byCaller = true
      }
    }
    if (at === Number.POSITIVE_INFINITY) return next(exchange)
    if (at <= now) {
      return Promise.reject(new MeshError('DEADLINE', `the caller's ${timeoutHeader} is over`, { unsent: true }))
    }
    exchange.deadlineAt = at
    tellTimeLeft(exchange, now)
    return untilWhole(this.#queue, this.#queue.add(exchange, at, byCaller), next, exchange)
  }

  #expire({ of, at, byCaller }: Due): void {
    if (byCaller)
      expire(of, `${Math.round(at - of.startedAt)} ms, the caller's ${timeoutHeader}`, undefined, this.#clock)
    else expire(of, `${this.#ms} ms`, this.#policy, this.#clock)
  }
}

function expire(exchange: Exchange, time: string, policy: PolicyRef | undefined, clock: Clock): void {
  exchange.decide(clock.now(), 'deadline', `${time} are over`, policy)
  exchange.cancel(new MeshError('DEADLINE', `no answer within ${time}`, { policy }))
}

/** INTERNAL, as grpc-go answers it. */
function malformed(text: string): MeshError {
  return new MeshError(
    'BAD_REQUEST',
    `${timeoutHeader} ${JSON.stringify(text.slice(0, 32))}: expected one to eight digits and one of H, M, S, m, u, n`,
    { unsent: true },
  )
}

/** Tells the upstream how long its answer is of use, where there is such a limit. */
export function tellTimeLeft({ request, deadlineAt }: Exchange, now: number): void {
  if (deadlineAt === Number.POSITIVE_INFINITY) return
  setHeader(request.headers, timeoutHeader, grpcTimeoutText(deadlineAt - now))
}

import type { Hedging } from '../api/gen/outrigger_pb.ts'
import type { Backend } from '../balance/backends.ts'
import { type Body, ReplayBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, RequestHead, Response } from '../base/exchange.ts'
import type { Layer, Service } from '../base/stack.ts'
import { announceTry, isCallersRetry, noteHedge } from './attempt.ts'
import type { PolicyEnv } from './env.ts'
import { mayHaveActed } from './failure.ts'
import type { RetryBudget, RetryLimits } from './retry-budget.ts'
import type { RetryConditions } from './retry-conditions.ts'
import { type Timeout, TimeoutQueue } from './timeout-queue.ts'

/** What hedging shares with the retries of the same rule: a hedge is paid for, and judged, as a retry is. */
export interface HedgeParts {
  readonly conditions: RetryConditions
  readonly budget: RetryBudget
  readonly limits: RetryLimits
  readonly backend: Backend
  readonly env: PolicyEnv
}

/**
 * A try that has no answer after `delayMs` gets company: another try at another endpoint, while it goes on (gRPC A6
 * "hedging", Envoy `hedge_policy`). The first answer that retry would not repeat wins, and the others are ended with
 * SUPERSEDED, their connections with them. An error wins only when no other try runs; then retry, above, may go on.
 *
 * Each try is a branch of the exchange, so that each waits and is ended by itself. Requests whose method is not among
 * the policy's, which upgrade, or which are a retry of their caller pass with no more than that look.
 */
export function hedge(policy: Hedging | undefined, parts: HedgeParts): Layer | undefined {
  if (policy === undefined || policy.attemptsMax < 2 || policy.delayMs === 0) return undefined
  const hedger = new Hedger(policy, parts)
  return (next) => (exchange) => hedger.run(next, exchange)
}

class Hedger {
  readonly policy: Hedging
  readonly parts: HedgeParts
  readonly queue: TimeoutQueue<HedgedTry>
  readonly #methods: ReadonlySet<string>

  constructor(policy: Hedging, parts: HedgeParts) {
    this.policy = policy
    this.parts = parts
    this.queue = new TimeoutQueue(parts.env.clock, policy.delayMs, ({ of }) => of.addTry())
    this.#methods = new Set(policy.methods.length === 0 ? safeMethods : policy.methods)
  }

  run(next: Service, exchange: Exchange): Promise<Response> {
    const { request } = exchange
    if (!this.#methods.has(request.method) || request.upgrade !== undefined) return next(exchange)
    const callers = exchange.attempts.length === 0 && isCallersRetry(exchange)
    return callers ? next(exchange) : new HedgedTry(this, next, exchange).run()
  }

  note(exchange: Exchange, what: string): void {
    if (exchange.decisions !== undefined) exchange.decide(this.parts.env.clock.now(), 'hedge', what, this.policy.ref)
  }
}

/** What retry sees as one try: one or more that run beside each other. */
class HedgedTry {
  readonly #hedger: Hedger
  readonly #next: Service
  readonly #exchange: Exchange
  readonly #running: Exchange[] = []
  readonly #outcome = Promise.withResolvers<Response>()
  #timeout: Timeout<HedgedTry>
  /** Hedges begun here; those of earlier tries are found among the attempts. */
  #hedges = 0
  #over = false
  /** The last failure after which an endpoint may have acted on the request. */
  #delivered: MeshError | undefined

  constructor(hedger: Hedger, next: Service, exchange: Exchange) {
    this.#hedger = hedger
    this.#next = next
    this.#exchange = exchange
    for (const attempt of exchange.attempts) if (attempt.hedge) this.#hedges++
    this.#timeout = hedger.queue.add(this)
  }

  run(): Promise<Response> {
    const exchange = this.#exchange
    exchange.waiting = (reason) => this.#end(reason)
    this.#begin(exchange.branch(exchange.request, exchange.body))
    return this.#outcome.promise
  }

  /** The delay is over and nothing was answered. */
  addTry(): void {
    const exchange = this.#exchange
    const { policy, queue } = this.#hedger
    if (this.#over || exchange.cancelled !== undefined || this.#hedges >= policy.attemptsMax - 1) return
    const body = wholeOf(exchange.body)
    const withheld = this.#withheld(body)
    if (withheld !== undefined) {
      this.#hedger.note(exchange, `not hedged: ${withheld}`)
      return
    }
    this.#hedges++
    const cause = `no answer within ${policy.delayMs} ms`
    const branch = exchange.branch(copyOf(exchange.request), body!)
    const number = Math.max(exchange.attempts.length, this.#running.length) + 1
    announceTry(branch, number, this.#hedger.parts.env.clock.now())
    noteHedge(branch, cause)
    this.#hedger.note(exchange, `try ${number} beside the one that runs: ${cause}`)
    if (this.#hedges < policy.attemptsMax - 1) this.#timeout = queue.add(this)
    this.#begin(branch)
  }

  /** Why no other try may be made; takes one from the budget if one may. */
  #withheld(body: Body | undefined): string | undefined {
    const { backend, budget, limits, env } = this.#hedger.parts
    if (body === undefined) return 'the request body is not here whole, or larger than is kept'
    if (!backend.another(this.#exchange)) return 'no other endpoint'
    if (budget.tryRetry(limits, env.clock.now())) return undefined
    const { policy } = this.#hedger
    env.onEvent?.({ layer: 'hedge', outcome: 'budget-exhausted', policy: policy.ref, shadow: false })
    return 'the retry budget is spent'
  }

  #begin(branch: Exchange): void {
    this.#running.push(branch)
    this.#next(branch).then(
      (response) => this.#answered(branch, response),
      (error: unknown) => this.#failed(branch, error),
    )
  }

  #answered(branch: Exchange, response: Response): void {
    this.#leave(branch)
    const { conditions } = this.#hedger.parts
    const wanted = this.#running.length === 0 || !conditions.ofResponse(response, branch)
    if (this.#over || !wanted) {
      response.tunnel?.socket.destroy()
      response.body.discard(superseded)
      return
    }
    const exchange = this.#exchange
    this.#settle(branch)
    this.#end(superseded)
    // Until its body has ended, what ends the exchange ends the try that is the answer.
    if (!response.finished) {
      const stop = (reason: MeshError): void => branch.cancel(reason)
      exchange.waiting = stop
      response.onFinish(() => {
        if (exchange.waiting === stop) exchange.waiting = undefined
      })
    }
    this.#outcome.resolve(response)
  }

  #failed(branch: Exchange, caught: unknown): void {
    this.#leave(branch)
    if (this.#over) return
    if (caught instanceof MeshError) {
      if (mayHaveActed(caught)) this.#delivered = caught
      if (this.#running.length > 0) return
    }
    this.#settle(branch)
    this.#end(superseded)
    // What retry may do depends on whether any of these tries reached an endpoint, not on which one ended last.
    const mild = this.#exchange.cancelled === undefined && caught instanceof MeshError && !mayHaveActed(caught)
    this.#outcome.reject(mild && this.#delivered !== undefined ? this.#delivered : caught)
  }

  /** This branch decides. Its attempt stands last from now on: there telemetry looks for who answered. */
  #settle(branch: Exchange): void {
    this.#over = true
    const { attempts } = this.#exchange
    const own = branch.attempts.at(-1)
    if (own !== undefined && attempts.at(-1) !== own) {
      attempts.splice(attempts.indexOf(own), 1)
      attempts.push(own)
    }
  }

  #leave(branch: Exchange): void {
    this.#running.splice(this.#running.indexOf(branch), 1)
  }

  /** Ends all that still run, and the wait for another. */
  #end(reason: MeshError): void {
    this.#hedger.queue.cancel(this.#timeout)
    this.#exchange.waiting = undefined
    // None leaves before this is over: what ends a try tells its promise, which tells us later.
    for (const branch of this.#running) branch.cancel(reason)
  }
}

/** The body, if it can be sent by several tries at the same time. */
function wholeOf(body: Body): Body | undefined {
  if (body.whole !== undefined) return body
  return body instanceof ReplayBody ? body.kept : undefined
}

function copyOf(request: RequestHead): RequestHead {
  return { ...request, headers: [...request.headers] }
}

/** They change nothing (RFC 9110 section 9.2.1), so that one which is still under way cannot undo what came later. */
const safeMethods = ['GET', 'HEAD', 'OPTIONS']

const superseded = new MeshError('SUPERSEDED', 'another try was answered first')

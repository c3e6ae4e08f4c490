import type { Retry } from '../api/gen/outrigger_pb.ts'
import type { Backend } from '../balance/backends.ts'
import { type Body, type BodySink, ReplayBody, WholeBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { headerValue, setHeader } from '../base/headers.ts'
import type { Layer, Service } from '../base/stack.ts'
import { announceTry, attemptHeader, isCallersRetry, noteRetry } from './attempt.ts'
import type { PolicyEnv } from './env.ts'
import { answerText } from './failure.ts'
import { type HedgeParts, hedge } from './hedge.ts'
import { type RetryBudget, type RetryLimits, retryLimitsOf } from './retry-budget.ts'
import { pushbackMs, RetryConditions } from './retry-conditions.ts'
import { wait } from './wait.ts'

/**
 * Tries again what may be tried again. A response is judged by its head, before any byte of it went to the client; a
 * request whose method is not repeatable only if none of it was sent; a body only while all of it is kept. The last
 * response or error is the answer when nothing may follow. Layers do not multiply: a request that came as somebody's
 * retry, and an answer that took several tries below, are not tried again.
 */
export function retry(policy: Retry | undefined, backend: Backend, env: PolicyEnv): Layer | undefined {
  if (policy === undefined || (policy.retries === 0 && policy.hedging === undefined)) return undefined
  const retrier = new Retrier(policy, backend, env)
  const hedged = hedge(policy.hedging, retrier)
  return (inner) => {
    const next = hedged === undefined ? inner : hedged(inner)
    return (exchange) => retrier.run(next, exchange)
  }
}

class Retrier implements HedgeParts {
  readonly conditions: RetryConditions
  readonly limits: RetryLimits
  readonly budget: RetryBudget
  readonly backend: Backend
  readonly env: PolicyEnv
  readonly #policy: Retry
  readonly #bodyBytesMax: number
  readonly #backoffBaseMs: number
  readonly #backoffMaxMs: number

  constructor(policy: Retry, backend: Backend, env: PolicyEnv) {
    this.#policy = policy
    this.conditions = new RetryConditions(policy)
    this.limits = retryLimitsOf(policy.budget)
    this.budget = backend.budget(this.limits.intervalMs)
    this.backend = backend
    this.env = env
    this.#bodyBytesMax = policy.bodyBytesMax || 65_536
    // Envoy's defaults.
    this.#backoffBaseMs = policy.backoffBaseMs || 25
    this.#backoffMaxMs = policy.backoffMaxMs || this.#backoffBaseMs * 10
  }

  async run(next: Service, exchange: Exchange): Promise<Response> {
    this.budget.request(this.env.clock.now())
    const body = this.#keepBody(exchange)
    for (let tries = 1; ; tries++) {
      let response: Response | undefined
      let error: MeshError | undefined
      try {
        response = await next(exchange)
      } catch (caught) {
        if (!(caught instanceof MeshError)) {
          body?.settle()
          throw caught
        }
        error = caught
      }
      const again = error === undefined ? this.#wantsAnother(exchange, response!) : this.#mayFollow(exchange, error)
      if (!again || !this.#mayRetry(exchange, body, tries)) {
        body?.settle()
        if (error !== undefined) throw error
        const made = Math.max(tries, exchange.attempts.length)
        if (made > 1) setHeader(response!.headers, attemptHeader, String(made))
        return response!
      }
      response?.body.discard(givenUp)
      body?.detach()
      try {
        await this.#prepare(exchange, tries, response, error)
      } catch (cancelled) {
        body?.settle()
        throw cancelled
      }
    }
  }

  #wantsAnother(exchange: Exchange, response: Response): boolean {
    const { request } = exchange
    if (!this.conditions.ofResponse(response, exchange)) return false
    if (request.upgrade !== undefined || response.tunnel !== undefined) return false
    const below = headerValue(response.headers, attemptHeader)
    if (Number(below ?? 1) > 1) {
      this.#note(exchange, `not tried again: the answer took ${below} tries already`)
      return false
    }
    if (!exchange.isGrpc) return true
    const waitMs = pushbackMs(response)
    const leftMs = exchange.deadlineAt - this.env.clock.now()
    if (waitMs < Math.min(leftMs, pushbackMaxMs)) return true
    this.#note(exchange, `not tried again: the server asks to wait ${waitMs} ms`)
    return false
  }

  #mayFollow(exchange: Exchange, error: MeshError): boolean {
    return this.conditions.ofError(error, exchange)
  }

  /** The outcome is worth another try: is there one to spend? */
  #mayRetry(exchange: Exchange, body: RetryBody | undefined, tries: number): boolean {
    if (exchange.cancelled !== undefined) return false
    if (tries > this.#policy.retries) {
      this.#note(exchange, `gave up after ${tries} tries`)
      return false
    }
    if (tries === 1 && isCallersRetry(exchange)) {
      this.#note(exchange, 'not tried again: the request is a retry of the caller')
      return false
    }
    if (body?.repeatable === false) {
      this.#note(exchange, `not tried again: the request body is larger than ${this.#bodyBytesMax} bytes`)
      return false
    }
    if (this.budget.tryRetry(this.limits, this.env.clock.now())) return true
    this.#note(exchange, 'not tried again: the retry budget is spent')
    this.env.onEvent?.({
      layer: 'retry',
      outcome: 'budget-exhausted',
      policy: this.#policy.budget?.ref ?? this.#policy.ref,
      shadow: false,
    })
    return false
  }

  /** Waits with full jitter ("Exponential Backoff And Jitter", Brooker 2015), or as long as a gRPC server asks to. */
  async #prepare(
    exchange: Exchange,
    tries: number,
    response: Response | undefined,
    error: MeshError | undefined,
  ): Promise<void> {
    const { clock } = this.env
    const cause = error === undefined ? answerText(response!, exchange) : error.code
    const jitterMs = clock.random() * Math.min(this.#backoffMaxMs, this.#backoffBaseMs * 2 ** (tries - 1))
    const askedMs = response !== undefined && exchange.isGrpc ? pushbackMs(response) : 0
    const backoffMs = askedMs > 0 ? askedMs : jitterMs
    this.#note(exchange, `try ${tries + 1} because of ${cause}`)
    await wait(clock, exchange, backoffMs)
    noteRetry(exchange, cause, backoffMs)
    announceTry(exchange, tries + 1, clock.now())
    const { body } = exchange
    if (body.whole !== undefined && !(body instanceof WholeBody))
      exchange.body = new WholeBody(body.whole, body.trailers, body.announced)
  }

  /** A body that still streams is kept as it passes; one that is here already can be sent again as it is. */
  #keepBody(exchange: Exchange): RetryBody | undefined {
    if (exchange.body.whole !== undefined) return undefined
    const body = new RetryBody(exchange.body, this.#bodyBytesMax)
    exchange.body = body
    return body
  }

  #note(exchange: Exchange, what: string): void {
    if (exchange.decisions !== undefined) exchange.decide(this.env.clock.now(), 'retry', what, this.#policy.ref)
  }
}

/**
 * Knows whether it was asked for at all: one past the limit may go out once, by whichever try gets that far. And a try
 * that wants no more of it (the upstream answered early) does not end it for the next one.
 */
class RetryBody extends ReplayBody {
  #piped = false
  #settled = false
  #unwanted: MeshError | undefined

  constructor(source: Body, bytesMax: number) {
    super(source, bytesMax)
  }

  get repeatable(): boolean {
    return this.replayable || !this.#piped
  }

  override pipe(sink: BodySink): void {
    this.#piped = true
    this.#unwanted = undefined
    super.pipe(sink)
  }

  override discard(reason: MeshError): void {
    if (this.#settled) super.discard(reason)
    else {
      this.#unwanted = reason
      this.detach()
    }
  }

  /** No try follows: who discards it now means it, and so does the last try if it did already. */
  settle(): void {
    this.#settled = true
    if (this.#unwanted !== undefined) super.discard(this.#unwanted)
  }
}

/** A server that asks to wait longer asks its client: nobody holds a call that long on the way. */
const pushbackMaxMs = 10_000

const givenUp = new MeshError('UPSTREAM_RESET', 'another try is made in place of this one')

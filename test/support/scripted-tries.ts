/** A Service with endpoints whose every try goes as a script says, under the real stack and a clock of the test's own. */
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  BackendPolicySchema,
  EndpointSetSchema,
  type RetrySchema,
  ServiceSchema,
  StringMatchType,
} from '../../src/api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../../src/balance/backends.ts'
import type { BreakerState } from '../../src/balance/breaker.ts'
import { type Body, type BodySink, noBody } from '../../src/base/body.ts'
import { MeshError, type MeshErrorCode } from '../../src/base/errors.ts'
import { type Attempt, type Exchange, Response } from '../../src/base/exchange.ts'
import type { Service } from '../../src/base/stack.ts'
import type { PolicyEvent } from '../../src/policy/env.ts'
import { outboundService } from '../../src/policy/order.ts'
import { FakeClock } from './fake-clock.ts'

/** What an upstream does with one try; times are milliseconds from the try's start. */
export interface Act {
  /** The request is out after so long; until then nothing was sent. */
  readonly connectMs: number
  /** How it goes on: `head` answers, `reset` loses the connection, the others fail without having sent anything. */
  readonly does: 'head' | 'reset' | 'refused' | 'tls' | 'overflow' | 'garbage' | 'hang'
  /** From connected to that. */
  readonly afterMs: number
  readonly status: number
  /** Of a gRPC call: with the head, if the body is whole with it, else at its end. */
  readonly grpcStatus: number
  /** How the body goes: it is whole with the head, ends later, breaks off later, never ends. */
  readonly body: 'whole' | 'ends' | 'breaks' | 'hangs'
  readonly bodyMs: number
  readonly retryAfter: boolean
}

export const answers = (over: Partial<Act> = {}): Act => ({
  connectMs: 0,
  does: 'head',
  afterMs: 0,
  status: 200,
  grpcStatus: 0,
  body: 'whole',
  bodyMs: 0,
  retryAfter: false,
  ...over,
})

/** One try as the upstream saw it: what the mesh says of it is held against this. */
export interface Delivery {
  readonly exchange: Exchange
  readonly attempt: Attempt
  readonly beganAt: number
  /** The first byte left; undefined while none did. */
  sentAt: number | undefined
  /** Response head. */
  status: number
  /** The gRPC call was answered by that and nothing else; -1: it was not. */
  trailersOnly: number
  /** Its answer had messages, and ended with that; -1: it had none, or has not ended so. */
  trailers: number
  endedAt: number | undefined
  /** Why it ended, if not well. */
  error: MeshError | undefined
}

const failures: Readonly<Record<string, readonly [MeshErrorCode, unsent: boolean]>> = {
  reset: ['UPSTREAM_RESET', false],
  refused: ['UPSTREAM_CONNECT', true],
  tls: ['UPSTREAM_TLS', true],
  overflow: ['POOL_OVERFLOW', true],
  garbage: ['UPSTREAM_PROTOCOL', false],
}

export interface ScriptedOptions {
  readonly acts: readonly Act[]
  readonly endpoints?: number
  readonly retry?: MessageInitShape<typeof RetrySchema>
  readonly policy?: MessageInitShape<typeof BackendPolicySchema>
  readonly deadlineMs?: number
  readonly perTryMs?: number
  readonly seed?: number
}

export class ScriptedTries {
  readonly clock: FakeClock
  readonly backends: BackendRegistry
  readonly deliveries: Delivery[] = []
  readonly events: PolicyEvent[] = []
  /** Changes of the breaker of the Service, each with the number of tries that had begun. */
  readonly transitions: { readonly to: BreakerState; readonly deliveredBefore: number }[] = []
  readonly serve: Service
  readonly #acts: readonly Act[]

  constructor(options: ScriptedOptions) {
    this.#acts = options.acts
    this.clock = new FakeClock(options.seed)
    this.backends = new BackendRegistry({
      clock: this.clock,
      onTransition: ({ to, endpoint }) => {
        if (endpoint === '') this.transitions.push({ to, deliveredBefore: this.deliveries.length })
      },
      onEjection: () => {},
    })
    this.backends.update('shop/orders', create(BackendPolicySchema, options.policy ?? {}))
    const endpoints = Array.from({ length: options.endpoints ?? 2 }, (_, i) => ({
      address: `10.0.0.${i + 1}`,
      ports: { 80: 8080 },
      ready: true,
    }))
    this.backends.updateEndpoints('shop/orders', create(EndpointSetSchema, { endpoints }))
    const service = create(ServiceSchema, {
      namespace: 'shop',
      name: 'orders',
      ports: [{ port: 80 }],
      rules: [
        {
          name: '0',
          matches: [{ pathType: StringMatchType.PREFIX, path: '/' }],
          backends: [{ namespace: 'shop', name: 'orders', port: 80, weight: 1 }],
          ...(options.retry !== undefined && { retry: options.retry }),
          requestTimeoutMs: options.deadlineMs ?? 0,
          backendRequestTimeoutMs: options.perTryMs ?? 0,
        },
      ],
    })
    const env = {
      clock: this.clock,
      backends: this.backends,
      onEvent: (event: PolicyEvent) => void this.events.push(event),
      send: (exchange: Exchange, attempt: Attempt) => this.#send(exchange, attempt),
    }
    this.serve = outboundService(service, 'shop', env).serve
  }

  /** Sends it; the outcome comes as the clock is moved on. */
  begin(exchange: Exchange): Promise<Response | MeshError> {
    exchange.servicePort = 80
    return this.serve(exchange).catch((error: unknown) => {
      if (error instanceof MeshError) return error
      throw error
    })
  }

  get running(): number {
    return this.deliveries.filter(({ endedAt }) => endedAt === undefined).length
  }

  /** Tries that the mesh thinks are under way, and its timers. */
  get leftOver(): { readonly inFlight: number; readonly timers: number } {
    const endpoints = this.backends.snapshot().flatMap(({ backends }) => backends.flatMap((port) => port.endpoints))
    return { inFlight: endpoints.reduce((sum, { inFlight }) => sum + inFlight, 0), timers: this.clock.pendingTimers }
  }

  #send(exchange: Exchange, attempt: Attempt): Promise<Response> {
    const act = this.#acts[this.deliveries.length % this.#acts.length]!
    const { clock } = this
    const delivery: Delivery = {
      exchange: exchange.origin ?? exchange,
      attempt,
      beganAt: clock.now(),
      sentAt: undefined,
      status: 0,
      trailersOnly: -1,
      trailers: -1,
      endedAt: undefined,
      error: undefined,
    }
    this.deliveries.push(delivery)
    return new Promise((resolve, reject) => {
      let response: Response | undefined
      let sink: BodySink | undefined
      let tail: MeshError | 'end' | undefined
      let streamsCall = false
      const over = (error: MeshError | undefined): void => {
        if (delivery.endedAt !== undefined) return
        delivery.endedAt = clock.now()
        delivery.error = error
        timer.cancel()
        if (exchange.waiting === stop) exchange.waiting = undefined
        tail = error ?? 'end'
        if (response === undefined) reject(error)
        else {
          if (streamsCall && error === undefined) {
            delivery.trailers = act.grpcStatus
            response.trailers = ['grpc-status', String(act.grpcStatus)]
          }
          response.finish(error)
          tell()
        }
      }
      const tell = (): void => {
        if (tail === 'end') sink?.end(undefined)
        else if (tail !== undefined) sink?.fail(tail)
      }
      const stop = (reason: MeshError): void => {
        const unsent = delivery.sentAt === undefined
        over(unsent ? new MeshError(reason.code, reason.message, { policy: reason.policy, unsent }) : reason)
      }
      const fail = (kind: string): void => {
        const [code, unsent] = failures[kind]!
        over(new MeshError(code, kind, { unsent }))
      }
      const head = (): void => {
        delivery.status = act.status
        const body: Body = {
          length: undefined,
          whole: undefined,
          pipe: (to) => {
            sink = to
            tell()
          },
          pause: () => {},
          resume: () => {},
          discard: (reason) => over(reason),
        }
        const headers = act.retryAfter ? ['retry-after', '1'] : []
        const isCall = exchange.isGrpc && act.status === 200
        streamsCall = isCall && act.body !== 'whole'
        if (isCall && !streamsCall) {
          delivery.trailersOnly = act.grpcStatus
          headers.push('grpc-status', String(act.grpcStatus))
        }
        response = new Response(act.status, '', headers, act.body === 'whole' ? noBody : body)
        if (act.body === 'whole') over(undefined)
        else if (act.body !== 'hangs')
          timer = clock.after(act.bodyMs, () => (act.body === 'ends' ? over(undefined) : fail('reset')))
        resolve(response)
      }
      exchange.waiting = stop
      let timer = clock.after(act.connectMs, () => {
        if (act.does === 'refused' || act.does === 'tls' || act.does === 'overflow') return fail(act.does)
        delivery.sentAt = clock.now()
        if (act.does === 'hang') return
        timer = clock.after(act.afterMs, () => (act.does === 'head' ? head() : fail(act.does)))
      })
    })
  }
}

/**
 * One request and its answer, the same shape for every engine. Layers work on it and do not know which
 * engine is below. Made by an engine's server side, answered by an engine's client side.
 */
import type { Duplex } from 'node:stream'
import type { Body } from './body.ts'
import type { MeshError, PolicyRef } from './errors.ts'
import { isGrpcRequest } from './grpc.ts'

/** Header fields in wire order: [name, value, name, value, ...]. Names as received, values trimmed, latin1. */
export type Headers = string[]

/**
 * Framing and connection fields (Host, Content-Length, Transfer-Encoding, Connection and what it names,
 * Upgrade, Expect) are not among the headers: an engine reads them into the members below and writes its own.
 */
export interface RequestHead {
  method: string
  /** Origin form, in normal form: path and query. `*` for OPTIONS, empty for CONNECT. */
  target: string
  /** Whom it is for, lower case, with a port if one was given. The absolute form beats Host (RFC 9112 3.2.2). */
  authority: string
  scheme: 'http' | 'https'
  version: '1.0' | '1.1' | '2'
  headers: Headers
  /** Protocol asked for by Upgrade, e.g. `websocket`. */
  readonly upgrade: string | undefined
  readonly expectContinue: boolean
  /** Names of fields that its sender lets no hop index (RFC 7541 6.2.3): HTTP/2 sends them on so. */
  neverIndexed?: ReadonlySet<string>
}

/** Who sent it and how it came. One object per connection, shared by its exchanges. */
export interface Downstream {
  readonly direction: 'outbound' | 'inbound'
  readonly remoteAddress: string
  readonly remotePort: number
  /** The far end of the connection itself, where a PROXY header named another remote address; else undefined. */
  readonly proxy: { readonly address: string; readonly port: number } | undefined
  /** Where the peer meant to go: original destination under redirect, else the local address. */
  readonly localAddress: string
  readonly localPort: number
  /** SPIFFE id proved by mTLS; undefined in plaintext. */
  readonly identity: string | undefined
  readonly tls: boolean
  /** True if `localAddress:localPort` selects the service (redirect capture), not the authority. */
  readonly captured: boolean
}

/** One try at one endpoint. */
export interface Attempt {
  /** 1 for the first. */
  readonly number: number
  /** "ns/name" of the backend. */
  readonly backend: string
  /** ip:port. */
  endpoint: string
  workload: string
  identity: string
  revision: string
  /** Clock milliseconds. */
  readonly startedAt: number
  endedAt: number
  /** 0 while there is no response. */
  status: number
  /** How a gRPC call went; -1 while it is not known, and for any other request. */
  grpcStatus: number
  error: MeshError | undefined
  /** Why this try was made; '' for the first. */
  readonly cause: string
  /** It was begun beside a try that had no answer yet. */
  readonly hedge: boolean
  /** Waited before this try. */
  readonly backoffMs: number
  /** Delay that a fault added. */
  faultDelayMs: number
  /** W3C span id, 16 hex digits; '' when not traced. */
  spanId: string
}

/** A choice that a layer made, for spans and `outrigger explain`. */
export interface Decision {
  readonly at: number
  /** Name of the layer. */
  readonly layer: string
  readonly what: string
  readonly policy: PolicyRef | undefined
}

/** W3C trace context of one exchange. */
export interface Trace {
  readonly traceId: string
  readonly parentSpanId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly state: string
}

/** How an exchange ended. */
export interface Completion {
  /** Body bytes from and to the client. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** 0 if no response head was sent. */
  readonly status: number
  /** Set if it did not end as it should (reset on either side, deadline in the body). */
  readonly error: MeshError | undefined
}

export interface ExchangeInit {
  readonly request: RequestHead
  readonly body: Body
  readonly downstream: Downstream
  readonly startedAt: number
}

export class Exchange {
  readonly request: RequestHead
  /** Replaced by a layer that must keep it for replay or tee it. */
  body: Body
  readonly downstream: Downstream
  /** Clock milliseconds. */
  readonly startedAt: number

  // Facts that stages find out; later stages, telemetry and explain read them.
  /** "ns/name" of the called service; '' until known. */
  service = ''
  servicePort = 0
  /** "ns/name" of the backend that was chosen. */
  backend = ''
  /** Route and rule, for people; '' until matched. */
  route = ''
  routePolicy: PolicyRef | undefined = undefined
  trace: Trace | undefined = undefined
  /** In the order in which they began; once tries ran beside each other, the one that decided stands last. */
  readonly attempts: Attempt[] = []
  /** Filled only when someone will read it: use `decide`. */
  decisions: Decision[] | undefined = undefined
  /** The refusal that became the response, set by rescue. */
  error: MeshError | undefined = undefined
  /** It goes on by HTTP/2. */
  http2: boolean

  /** Sends an informational response (1xx, not 101) to the client. Set by the engine. */
  informational: ((status: number, headers: Headers) => void) | undefined = undefined
  /** What the engine answers the client with; undefined until then. */
  response: Response | undefined = undefined
  /** Called once by the engine when the last byte is out, or when it died. Set by `record`. */
  onComplete: ((completion: Completion) => void) | undefined = undefined
  /**
   * Whoever makes the exchange wait right now (a connect, a response that is awaited or streamed, a backoff, an
   * injected delay) puts here how to stop it. One slot: an exchange waits for one thing at a time.
   */
  waiting: ((reason: MeshError) => void) | undefined = undefined
  /** Set once the exchange as a whole is over (client gone, deadline): no new try may start. */
  cancelled: MeshError | undefined = undefined
  /** Clock milliseconds at which the caller of a gRPC call waits no longer, or policy does not; infinite without a limit. */
  deadlineAt = Number.POSITIVE_INFINITY
  /** The exchange that this one is a branch of. */
  origin: Exchange | undefined = undefined
  #isGrpc: boolean | undefined = undefined

  constructor(init: ExchangeInit) {
    this.request = init.request
    this.body = init.body
    this.downstream = init.downstream
    this.startedAt = init.startedAt
    this.http2 = init.request.version === '2'
  }

  /**
   * An exchange for one of several tries that run at the same time: it waits, and is ended, by itself. What is known so
   * far goes with it; decisions and attempts are told to the origin.
   */
  branch(request: RequestHead, body: Body): Exchange {
    const branch = new Exchange({ request, body, downstream: this.downstream, startedAt: this.startedAt })
    branch.origin = this
    branch.service = this.service
    branch.servicePort = this.servicePort
    branch.backend = this.backend
    branch.route = this.route
    branch.routePolicy = this.routePolicy
    branch.trace = this.trace
    branch.http2 = this.http2
    branch.attempts.push(...this.attempts)
    branch.decisions = this.decisions
    branch.informational = this.informational
    branch.cancelled = this.cancelled
    branch.deadlineAt = this.deadlineAt
    return branch
  }

  /** It is a gRPC call. Decided when it is first asked. */
  get isGrpc(): boolean {
    this.#isGrpc ??= isGrpcRequest(this.request)
    return this.#isGrpc
  }

  /** Ends what the exchange waits for now; a retry may follow. */
  abort(reason: MeshError): void {
    const waiting = this.waiting
    if (waiting === undefined) return
    this.waiting = undefined
    waiting(reason)
  }

  /** Ends the exchange. */
  cancel(reason: MeshError): void {
    if (this.cancelled !== undefined) return
    this.cancelled = reason
    this.abort(reason)
  }

  /** Notes a decision if anyone will read it. */
  decide(at: number, layer: string, what: string, policy?: PolicyRef): void {
    this.decisions?.push({ at, layer, what, policy })
  }
}

/** Two sockets to be spliced after `101 Switching Protocols` or CONNECT. */
export interface Tunnel {
  readonly socket: Duplex
  /** Bytes that came with the head. */
  readonly head: Buffer
}

export class Response {
  status: number
  reason: string
  headers: Headers
  body: Body
  tunnel: Tunnel | undefined = undefined
  /** Set by whoever produces the body, before `finish`. gRPC's outcome stands in them. */
  trailers: Headers | undefined = undefined
  /** As of a request. */
  neverIndexed: ReadonlySet<string> | undefined = undefined
  /** The body has ended (or there is none): the upstream is done with it. */
  finished = false
  /** Why the body did not end as it should. */
  failure: MeshError | undefined = undefined
  #listeners: ((failure: MeshError | undefined) => void)[] | undefined = undefined

  constructor(status: number, reason: string, headers: Headers, body: Body) {
    this.status = status
    this.reason = reason
    this.headers = headers
    this.body = body
  }

  /** Called once by whoever produces the body. */
  finish(failure: MeshError | undefined): void {
    if (this.finished) return
    this.finished = true
    this.failure = failure
    const listeners = this.#listeners
    this.#listeners = undefined
    if (listeners !== undefined) for (const listener of listeners) listener(failure)
  }

  /** Calls back when the body has ended; at once if it has. */
  onFinish(listener: (failure: MeshError | undefined) => void): void {
    if (this.finished) listener(this.failure)
    else if (this.#listeners === undefined) this.#listeners = [listener]
    else this.#listeners.push(listener)
  }
}

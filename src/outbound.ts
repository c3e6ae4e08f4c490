/** The outbound path: what the application of this pod sends. Read `#serve` for the order in which a request meets it. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { OutboundPolicy, Protocol } from './api/gen/outrigger_pb.ts'
import type { BackendRegistry } from './balance/backends.ts'
import { noBody } from './base/body.ts'
import { MeshError } from './base/errors.ts'
import { type Attempt, type Downstream, Exchange, Response } from './base/exchange.ts'
import { grpcStatusOf } from './base/grpc.ts'
import { type Service, stack } from './base/stack.ts'
import type { Destinations } from './destinations.ts'
import { serverName } from './detect/client-hello.ts'
import { firstBytes } from './detect/first-bytes.ts'
import { peek } from './detect/peek.ts'
import { goesByHttp2, HttpEngines, isHttp } from './http-engines.ts'
import { http1Limits } from './http1/limits.ts'
import { plainAddress } from './listener/loop-guard.ts'
import type { OriginalDestination } from './listener/original-destination.ts'
import { inFlight } from './policy/in-flight.ts'
import { rescue, responseTo } from './policy/rescue.ts'
import { relayTcp } from './relay-tcp.ts'
import { normalizeTarget } from './route/path.ts'
import type { Runtime } from './runtime.ts'
import { declaredProtocol, hasPort, type Resolve, type Target, Targets } from './targets.ts'
import { refuseName } from './tcp/refuse-name.ts'
import { reset } from './tcp/reset.ts'
import { record, recordRefusal } from './telemetry/record.ts'
import { attemptSpanId, traceHeaderLines } from './telemetry/trace-context.ts'
import type { Destination } from './upstream/connect.ts'
import { Outside } from './upstream/outside.ts'
import { defaultPoolLimits } from './upstream/pool-limits.ts'
import type { Pools } from './upstream/pools.ts'

export interface OutboundParts {
  readonly destinations: Destinations
  readonly backends: BackendRegistry
  readonly pools: Pools
  /** Every port on which this sidecar listens. */
  readonly ownPorts: () => Iterable<number>
}

export class Outbound {
  readonly http: HttpEngines
  readonly #runtime: Runtime
  readonly #parts: OutboundParts
  readonly #outside: Outside
  readonly #targets: Targets
  /** Connections that are for one destination; their requests do not choose by authority (Gateway API mesh rule). */
  readonly #fixed = new WeakMap<Downstream, Resolve>()

  constructor(runtime: Runtime, parts: OutboundParts) {
    this.#runtime = runtime
    this.#parts = parts
    const { clock, telemetry, by } = runtime
    this.#targets = new Targets(runtime, parts.destinations)
    this.#outside = new Outside({ clock, ownPorts: parts.ownPorts })
    const log = { error: (fields: object, message: string) => runtime.log.error(message, { ...fields }) }
    this.http = new HttpEngines({
      clock,
      serve: stack(
        [
          record(telemetry, 'outbound'), // outermost: sees every outcome once, our own refusals too
          rescue({ log, by }), // every MeshError becomes a response here and nowhere else
          inFlight(runtime.inFlight), // refuse before doing work
        ],
        this.#route, // then the rule's own stack: policy/order.ts
      ),
      refuse: (error, downstream, startedAt) => {
        const response = responseTo(error, undefined, by)
        recordRefusal(telemetry, { downstream, error, startedAt, bytesOut: response.body.length ?? 0, answered: true })
        return response
      },
      dropped: (error) => this.#tell(error),
      // The application may not speak in the mesh's name.
      dropReserved: true,
      allowConnect: runtime.options.capture === 'explicit',
      // Where nothing else says whom a connection is for, a TLS client's server name does.
      passTls: (downstream) =>
        runtime.options.capture !== 'explicit' || this.#fixed.has(downstream)
          ? undefined
          : (socket) => void this.#passTls(socket, downstream).catch((error: unknown) => this.#drop(socket, error)),
      splice: (exchange, client, head, response) =>
        relayTcp(runtime, 'outbound', exchange, client, response.tunnel!.socket, { a: head, b: response.tunnel!.head }),
    })
  }

  /** Explicit capture: HTTP/1.1 that names its destination by authority, or CONNECT; or TLS, relayed by server name. */
  acceptExplicit(socket: Socket): void {
    this.http.accept(socket, downstreamOf(socket, false), this.http.rules, Protocol.UNSPECIFIED)
  }

  /** A local port that stands for one Service (`name[.ns]:port`). */
  acceptFor(socket: Socket, service: string): void {
    void this.#acceptFor(socket, service).catch((error: unknown) => this.#drop(socket, error))
  }

  async #acceptFor(socket: Socket, service: string): Promise<void> {
    await this.#dispatch(socket, downstreamOf(socket, false), () => this.#targets.byAuthority(service))
  }

  /** Redirect capture: the kernel knows where the application meant to go. */
  acceptCaptured(socket: Socket, original: OriginalDestination): void {
    const destination = original(socket)
    const loop = this.#runtime.guard.check(socket, destination, 'outbound')
    if (loop !== undefined || destination === undefined) {
      this.#runtime.log.warn(`outbound connection dropped: loop (${loop ?? 'direct'})`, {
        'source.ip': socket.remoteAddress,
      })
      this.#runtime.telemetry.metrics.downstreamRefused('LOOP')
      reset(socket)
      return
    }
    void this.#captureTo(socket, destination.address, destination.port).catch((error: unknown) =>
      this.#drop(socket, error),
    )
  }

  async #captureTo(socket: Socket, address: string, port: number): Promise<void> {
    await this.#dispatch(socket, downstreamOf(socket, true, address, port), this.#targets.meaningOf(address, port))
  }

  /** Declared protocol first; what is not declared is detected by its first bytes, within the detect timeout. */
  async #dispatch(socket: Socket, downstream: Downstream, resolve: Resolve): Promise<void> {
    const { clock, options } = this.#runtime
    const target = await resolve()
    let head: Buffer | undefined
    let http = false
    const declared = declaredProtocol(target)
    if (isHttp(declared)) http = true
    else if (declared === Protocol.UNSPECIFIED) {
      const seen = await peek(socket, { clock, timeoutMs: options.detectTimeoutMs })
      if (seen.is === 'gone') return
      http = seen.protocol === 'http1' || seen.protocol === 'h2'
      head = seen.head
    }
    if (http) {
      this.#fixed.set(downstream, resolve)
      this.http.accept(socket, downstream, this.http.rules, declared)
      return
    }
    await this.#opaque(socket, downstream, target, head)
  }

  /** TLS of the application's own: nobody ends it on the way, and the server that it names gets every byte. */
  async #passTls(socket: Socket, downstream: Downstream): Promise<void> {
    const { clock } = this.#runtime
    const first = await firstBytes(socket, { clock, timeoutMs: http1Limits.headTimeoutMs, judge: serverName })
    if (first.is === 'gone') return
    if (first.is !== 'judged')
      throw new MeshError('BAD_REQUEST', 'a TLS connection whose ClientHello does not come to its end')
    if (first.verdict.is === 'refused') throw new MeshError('BAD_REQUEST', `a TLS connection: ${first.verdict.reason}`)
    try {
      await this.#opaque(socket, downstream, await this.#targets.byServerName(first.verdict), undefined)
    } catch (error) {
      const { code } = MeshError.from(error)
      if (code !== 'UNKNOWN_DESTINATION' && code !== 'NO_ROUTE') throw error
      this.#tell(MeshError.from(error))
      refuseName(socket, clock)
    }
  }

  async #opaque(socket: Socket, downstream: Downstream, target: Target, head: Buffer | undefined): Promise<void> {
    const exchange = this.#connection(downstream)
    const upstream = await this.#dialOpaque(exchange, target)
    await relayTcp(this.#runtime, 'outbound', exchange, socket, upstream, { a: head })
  }

  /** A connection as an exchange, so that picking and telemetry need one shape only. */
  #connection(downstream: Downstream): Exchange {
    return new Exchange({
      request: {
        method: 'CONNECT',
        target: '',
        authority: '',
        scheme: 'http',
        version: '1.1',
        headers: [],
        upgrade: undefined,
        expectContinue: false,
      },
      body: noBody,
      downstream,
      startedAt: this.#runtime.clock.now(),
    })
  }

  async #dialOpaque(exchange: Exchange, target: Target): Promise<Duplex> {
    const { connector } = this.#runtime
    let to: Destination
    let workload = ''
    let revision = ''
    let timeoutMs = defaultPoolLimits.connectTimeoutMs
    if (target.is === 'service') {
      exchange.service = target.entry.name
      exchange.servicePort = target.port
      exchange.backend = target.entry.name
      const backend = this.#parts.backends.backend(target.entry.name, target.port)
      const chosen = backend.choose(exchange).target
      to = chosen
      workload = chosen.workload
      revision = chosen.canonicalRevision
      timeoutMs = backend.connectionPool?.connectTimeoutMs || timeoutMs
    } else if (target.is === 'endpoint') {
      exchange.service = target.service
      to = target.to
      workload = target.workload
    } else {
      to = await this.#allowed(target.host, target.port, exchange.downstream.captured)
    }
    if (exchange.cancelled !== undefined) throw exchange.cancelled
    const socket = await connector
      .dial(to, { inside: 'outrigger/tcp', timeoutMs }, (giveUp) => {
        exchange.waiting = giveUp
      })
      .finally(() => {
        exchange.waiting = undefined
      })
    exchange.attempts.push(this.#attemptAt(exchange, to, workload, revision))
    return socket
  }

  #attemptAt(exchange: Exchange, to: Destination, workload: string, revision: string): Attempt {
    return {
      number: 1,
      backend: exchange.service,
      endpoint: to.key,
      workload,
      identity: to.identity,
      revision,
      startedAt: this.#runtime.clock.now(),
      endedAt: 0,
      status: 0,
      grpcStatus: -1,
      error: undefined,
      cause: '',
      hedge: false,
      backoffMs: 0,
      faultDelayMs: 0,
      spanId: attemptSpanId(exchange),
    }
  }

  // ------------------------------------------------------------------ one HTTP request

  readonly #route: Service = (exchange) => {
    const { request } = exchange
    try {
      if (request.method !== 'CONNECT') request.target = normalizeTarget(request.target)
      const fixed = this.#fixed.get(exchange.downstream)
      const found = fixed === undefined ? this.#targets.byAuthority(request.authority) : fixed()
      if (found instanceof Promise) return found.then((target) => this.#send(exchange, target))
      return this.#send(exchange, found)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** Not async: what is known already costs a request no turn of the microtask queue. */
  #send(exchange: Exchange, target: Target): Promise<Response> {
    const { request, downstream } = exchange
    if (request.method === 'CONNECT') return this.#connect(exchange, target)
    if (target.is === 'service') {
      const { entry, port } = target
      exchange.service = entry.name
      exchange.servicePort = port
      exchange.http2 = goesByHttp2(request, declaredProtocol(target))
      if (!hasPort(entry, port)) throw new MeshError('NO_ROUTE', `Service ${entry.name} has no port ${port}`)
      return entry.compiled.serve(exchange)
    }
    if (target.is === 'endpoint') {
      exchange.service = target.service
      return this.#direct(exchange, target.to, target.workload)
    }
    if (request.scheme === 'https') throw new MeshError('NOT_IMPLEMENTED', 'absolute https targets need CONNECT')
    return this.#allowed(target.host, target.port, downstream.captured).then((to) => this.#direct(exchange, to, ''))
  }

  async #connect(exchange: Exchange, target: Target): Promise<Response> {
    const socket = await this.#dialOpaque(exchange, target)
    const response = new Response(200, 'Connection established', [], noBody)
    socket.once('close', () => response.finish(undefined))
    response.tunnel = { socket, head: Buffer.alloc(0) }
    return response
  }

  /** Sends to one address without a route: an endpoint that was meant itself, or a host outside the mesh. */
  async #direct(exchange: Exchange, to: Destination, workload: string): Promise<Response> {
    const { clock } = this.#runtime
    const attempt = this.#attemptAt(exchange, to, workload, '')
    exchange.attempts.push(attempt)
    try {
      const response = await this.#parts.pools
        .pool(to, undefined, exchange.http2)
        .send(exchange, traceHeaderLines(exchange, attempt))
      attempt.status = response.status
      response.onFinish(() => {
        attempt.endedAt = clock.now()
        if (exchange.isGrpc) attempt.grpcStatus = grpcStatusOf(response)
      })
      return response
    } catch (error) {
      attempt.error = MeshError.from(error)
      attempt.endedAt = clock.now()
      if (exchange.isGrpc) attempt.grpcStatus = attempt.error.grpc
      throw error
    }
  }

  /** A destination that no Service names. Counted either way; policy decides whether it may be reached. */
  async #allowed(host: string, port: number, captured: boolean): Promise<Destination> {
    const { mesh, telemetry } = this.#runtime
    const policy = mesh.current?.outbound ?? OutboundPolicy.REGISTRY_ONLY
    telemetry.metrics.unknownDestination(policy === OutboundPolicy.ALLOW_ANY ? 'allow' : 'refuse')
    if (policy === OutboundPolicy.ALLOW_ANY) return this.#outside.find(host, port, captured)
    throw new MeshError(
      'UNKNOWN_DESTINATION',
      `${host.includes(':') ? `[${host}]` : host}:${port} is no Service of the mesh and the outbound policy is REGISTRY_ONLY`,
    )
  }

  #drop(socket: Socket, error: unknown): void {
    this.#tell(MeshError.from(error))
    reset(socket)
  }

  #tell({ code, message }: MeshError): void {
    this.#runtime.log.warn(`outbound connection dropped: ${code}: ${message}`)
    this.#runtime.telemetry.metrics.downstreamRefused(code)
  }
}

/** What is known of a connection when it is accepted. */
export function downstreamOf(socket: Socket, captured: boolean, address?: string, port?: number): Downstream {
  return {
    direction: 'outbound',
    remoteAddress: plainAddress(socket.remoteAddress),
    remotePort: socket.remotePort ?? 0,
    proxy: undefined,
    localAddress: address ?? plainAddress(socket.localAddress),
    localPort: port ?? socket.localPort ?? 0,
    identity: undefined,
    tls: false,
    captured,
  }
}

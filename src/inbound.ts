/** The inbound path: what is sent to the application of this pod. TLS is ended here, the peer identified, policy applied. */
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { MtlsMode, Protocol, type Workload } from './api/gen/outrigger_pb.ts'
import { type Arrival, deliveryAddress, downstreamOf } from './arrival.ts'
import { hostPort } from './base/address-text.ts'
import { noBody } from './base/body.ts'
import { MeshError } from './base/errors.ts'
import { type Downstream, Exchange } from './base/exchange.ts'
import { addToList } from './base/headers.ts'
import type { Live } from './base/live.ts'
import { type Service, stack } from './base/stack.ts'
import { peek } from './detect/peek.ts'
import { readProxyHeader } from './detect/read-proxy-header.ts'
import { whoseTls } from './detect/whose-tls.ts'
import { goesByHttp2, HttpEngines, isHttp } from './http-engines.ts'
import { http1Limits } from './http1/limits.ts'
import { type RequestRules, requestRules } from './http1/request-head.ts'
import { verifyPeer } from './identity/peer.ts'
import { compileInbound, type InboundPolicy, modeOf, protocolOf, type TrustedProxies } from './inbound-policy.ts'
import { plainAddress } from './listener/loop-guard.ts'
import type { OriginalDestination } from './listener/original-destination.ts'
import type { HostPort } from './options.ts'
import type { InboundEnv } from './policy/env.ts'
import { inFlight } from './policy/in-flight.ts'
import { rescue, responseTo } from './policy/rescue.ts'
import { relayTcp } from './relay-tcp.ts'
import { normalizeTarget } from './route/path.ts'
import type { Runtime } from './runtime.ts'
import { reset } from './tcp/reset.ts'
import { record, recordRefusal } from './telemetry/record.ts'
import { traceHeaderLines } from './telemetry/trace-context.ts'
import type { Destination } from './upstream/connect.ts'
import { defaultPoolLimits } from './upstream/pool-limits.ts'
import type { Pools } from './upstream/pools.ts'

/** A TLS handshake that takes longer is given up (Envoy transport_socket_connect_timeout 15 s). */
const handshakeTimeoutMs = 10_000

const sidecars = { is: 'sidecar' } as const

export class Inbound {
  readonly http: HttpEngines
  readonly #runtime: Runtime
  readonly #pools: Pools
  readonly #apps = new WeakMap<Downstream, Destination>()
  readonly #arrivals = new WeakMap<Socket, Arrival>()
  readonly #meshRules: RequestRules
  /** Opaque plaintext connections that stand, with their port: a change to STRICT ends them. */
  readonly #plainOpaque = new Map<Socket, number>()
  #compiled: InboundPolicy | undefined
  #tls: tls.Server | undefined

  constructor(runtime: Runtime, pools: Pools, env: InboundEnv, workload: Live<Workload | undefined>) {
    this.#runtime = runtime
    this.#pools = pools
    const { telemetry, by, clock } = runtime
    const log = { error: (fields: object, message: string) => runtime.log.error(message, { ...fields }) }
    this.http = new HttpEngines({
      clock,
      serve: stack(
        [
          record(telemetry, 'inbound'), // outermost: sees every outcome once, our own refusals too
          rescue({ log, by }), // every MeshError becomes a response here and nowhere else
          inFlight(runtime.inFlight), // refuse before doing work
        ],
        this.#serve, // then the workload's own stack: policy/order.ts
      ),
      refuse: (error, downstream, startedAt) => {
        const response = responseTo(error, undefined, by)
        recordRefusal(telemetry, { downstream, error, startedAt, bytesOut: response.body.length ?? 0, answered: true })
        return response
      },
      dropped: ({ code, message }, { remoteAddress }) => {
        runtime.log.warn(`inbound request refused: ${code}: ${message}`, { 'source.ip': remoteAddress })
        telemetry.metrics.downstreamRefused(code)
      },
      dropReserved: true,
      allowConnect: false,
      splice: (exchange, client, head, response) =>
        relayTcp(runtime, 'inbound', exchange, client, response.tunnel!.socket, { a: head, b: response.tunnel!.head }),
    })
    // A peer that proved itself to be of the mesh may say which try this is.
    this.#meshRules = requestRules(http1Limits, { dropReserved: false, allowConnect: false })
    workload.subscribe((message) => {
      this.#compiled = message === undefined ? undefined : compileInbound(message, env, this.#local)
      if (message !== undefined) {
        for (const [socket, port] of this.#plainOpaque) if (modeOf(message, port) === MtlsMode.STRICT) reset(socket)
      }
    })
    runtime.credentials.subscribe((credentials) => {
      if (credentials === undefined) return
      // No tickets: every connection proves itself anew, a ticket could outlive a change of trust (CVE-2022-21654).
      const context = {
        key: credentials.privateKeyPem,
        cert: credentials.certificateChainPem,
        ca: credentials.trustBundlePem,
        minVersion: 'TLSv1.3' as const,
        secureOptions: constants.SSL_OP_NO_TICKET,
      }
      // New handshakes use the new certificate; connections that stand go on.
      if (this.#tls === undefined) this.#tls = this.#tlsServer(context)
      else this.#tls.setSecureContext(context)
    })
  }

  /** Explicit capture: a listener that stands for one port of the application. */
  acceptExplicit(socket: Socket, app: HostPort): void {
    const to = { key: hostPort(app.host, app.port), address: app.host, port: app.port, identity: '' }
    this.#accept(socket, { app: to, address: plainAddress(socket.localAddress), port: socket.localPort ?? 0 })
  }

  /** Redirect capture: the original destination is the application's own address and port. */
  acceptCaptured(socket: Socket, original: OriginalDestination): void {
    const destination = original(socket)
    const loop = this.#runtime.guard.check(socket, destination, 'inbound')
    if (loop !== undefined || destination === undefined) {
      this.#runtime.log.warn(`inbound connection dropped: loop (${loop ?? 'direct'})`, {
        'source.ip': socket.remoteAddress,
      })
      this.#runtime.telemetry.metrics.downstreamRefused('LOOP')
      reset(socket)
      return
    }
    const { address, port } = destination
    const app = { key: hostPort(address, port), address, port, identity: '' }
    this.#accept(socket, { app, address, port })
  }

  close(): void {
    this.http.close()
    this.#tls?.close()
  }

  #accept(socket: Socket, arrival: Arrival): void {
    void this.#decide(socket, arrival).catch((error: unknown) => this.#drop(socket, MeshError.from(error)))
  }

  async #decide(socket: Socket, arrived: Arrival): Promise<void> {
    const from = socket.remoteAddress
    // An address that is not known any more is that of a connection that has died.
    const proxies =
      from === undefined
        ? undefined
        : this.#ready().policy.proxies.find(({ ports, has }) => ports.has(arrived.port) && has(from))
    const arrival = proxies === undefined ? arrived : await this.#named(socket, arrived, proxies)
    if (arrival === undefined) return
    const { policy, tls } = this.#ready()
    const mode = modeOf(policy.message, arrival.port)
    const protocol = protocolOf(policy.message, arrival.port)
    const { clock, options } = this.#runtime
    if (mode === MtlsMode.DISABLE && isHttp(protocol)) {
      this.#acceptHttp(socket, arrival, undefined)
      return
    }
    // Where only the caller can speak first nothing is learnt from its silence: a peer without CPU, whose ClientHello is late,
    // would be taken for plaintext.
    const callerFirst = mode === MtlsMode.STRICT || isHttp(protocol) || protocol === Protocol.TLS
    const timeoutMs = callerFirst ? handshakeTimeoutMs : options.detectTimeoutMs
    const seen = await peek(socket, { clock, timeoutMs })
    if (seen.is === 'gone') return
    let { head } = seen
    if (seen.protocol === 'tls' && mode !== MtlsMode.DISABLE) {
      // Where both are let in, the application may have TLS of its own, for those who come without a sidecar.
      const mayBeApps = mode === MtlsMode.PERMISSIVE && !isHttp(protocol)
      const whose = mayBeApps ? await whoseTls(socket, seen.bytes, { clock, timeoutMs: handshakeTimeoutMs }) : sidecars
      if (whose.is === 'gone') return
      if (whose.is === 'late') throw new MeshError('REQUEST_TIMEOUT', 'a ClientHello did not come to its end')
      if (whose.is === 'sidecar') {
        this.#arrivals.set(socket, arrival)
        tls.emit('connection', socket)
        return
      }
      head = whose.head
    }
    if (mode === MtlsMode.STRICT) {
      const { mtlsRef: ref } = policy.message
      const by = ref === undefined ? 'the default' : `${ref.kind} ${ref.namespace}/${ref.name}`
      const message = `plaintext to port ${arrival.port}, which is STRICT by ${by}`
      throw new MeshError('UNAUTHENTICATED', message, { policy: ref })
    }
    // On a declared port what is not HTTP is a mistake or an attack; relaying it unread would pass all policy by.
    const looksHttp = seen.protocol === 'http1' || seen.protocol === 'h2'
    const http = isHttp(protocol) || (protocol === Protocol.UNSPECIFIED && looksHttp)
    if (http) this.#acceptHttp(socket, arrival, undefined)
    else await this.#opaque(socket, arrival, undefined, head)
  }

  /** Without policy nobody can say who may come in, and without a certificate nothing can be checked: nothing passes. */
  #ready(): { readonly policy: InboundPolicy; readonly tls: tls.Server } {
    const policy = this.#compiled
    const tls = this.#tls
    if (policy !== undefined && tls !== undefined) return { policy, tls }
    throw new MeshError('POLICY_UNAVAILABLE', policy === undefined ? 'no policy yet' : 'no certificate yet')
  }

  /** A connection of a load balancer, which says whose it is; undefined when it is over already. */
  async #named(socket: Socket, arrival: Arrival, proxies: TrustedProxies): Promise<Arrival | undefined> {
    const found = await readProxyHeader(socket, { clock: this.#runtime.clock, timeoutMs: handshakeTimeoutMs })
    if (found.is === 'header') return { ...arrival, client: found.client }
    if (found.is === 'refused') {
      const by =
        proxies.ref === undefined ? '' : `, by ${proxies.ref.kind} ${proxies.ref.namespace}/${proxies.ref.name}`
      throw new MeshError('BAD_REQUEST', `port ${arrival.port} is spoken to by PROXY protocol${by}: ${found.reason}`, {
        policy: proxies.ref,
      })
    }
    socket.destroy()
    return undefined
  }

  #tlsServer(context: tls.SecureContextOptions): tls.Server {
    const server = tls.createServer({
      ...context,
      requestCert: true,
      rejectUnauthorized: true,
      allowHalfOpen: true,
      handshakeTimeout: handshakeTimeoutMs,
      ALPNProtocols: ['outrigger/http1', 'outrigger/tcp', 'outrigger/h2'],
    })
    server.on('secureConnection', (socket) => this.#secured(socket))
    server.on('tlsClientError', (error, socket) => {
      this.#runtime.log.debug(`TLS handshake failed: ${error.message}`, { 'source.ip': socket.remoteAddress })
      this.#runtime.telemetry.metrics.downstreamRefused('UNAUTHENTICATED')
      socket.destroy()
    })
    return server
  }

  #secured(socket: tls.TLSSocket): void {
    socket.on('error', () => {})
    const raw = (socket as unknown as { _parent?: Socket })._parent
    const arrival = raw === undefined ? undefined : this.#arrivals.get(raw)
    if (arrival === undefined) {
      socket.destroy()
      return
    }
    let identity: string
    try {
      const trustDomain = this.#runtime.credentials.current?.trustDomain ?? ''
      const peer = socket.getPeerX509Certificate()
      if (peer === undefined) throw new MeshError('UNAUTHENTICATED', 'the peer showed no certificate')
      identity = verifyPeer(peer, { trustDomain, use: 'client', clock: this.#runtime.clock })
    } catch (error) {
      this.#drop(socket, new MeshError('UNAUTHENTICATED', MeshError.from(error).message))
      return
    }
    const { alpnProtocol } = socket
    if (alpnProtocol === 'outrigger/http1' || alpnProtocol === 'outrigger/h2') {
      this.#acceptHttp(socket, arrival, identity)
      return
    }
    socket.pause()
    void this.#inside(socket, arrival, identity).catch((error: unknown) => this.#drop(socket, MeshError.from(error)))
  }

  /**
   * The peer calls it opaque (a CONNECT, for one). Where our policy could look inside, it must not be the peer who
   * decides that it does not: a declared HTTP port gets HTTP, and on an undeclared one the bytes tell.
   */
  async #inside(socket: tls.TLSSocket, arrival: Arrival, identity: string): Promise<void> {
    const message = this.#compiled?.message
    if (message === undefined) throw new MeshError('POLICY_UNAVAILABLE', 'no policy yet')
    const protocol = protocolOf(message, arrival.port)
    let head: Buffer | undefined
    let http = isHttp(protocol)
    if (protocol === Protocol.UNSPECIFIED && message.authorizations.length > 0) {
      const { clock, options } = this.#runtime
      const seen = await peek(socket, { clock, timeoutMs: options.detectTimeoutMs })
      if (seen.is === 'gone') return
      http = seen.protocol === 'http1' || seen.protocol === 'h2'
      head = seen.head
    }
    if (http) this.#acceptHttp(socket, arrival, identity)
    else await this.#opaque(socket, arrival, identity, head)
  }

  #acceptHttp(socket: Socket, arrival: Arrival, identity: string | undefined): void {
    const downstream = downstreamOf(socket, arrival, identity)
    this.#apps.set(downstream, arrival.app)
    const rules = identity === undefined ? this.http.rules : this.#meshRules
    if ('alpnProtocol' in socket && socket.alpnProtocol === 'outrigger/h2')
      this.http.acceptHttp2(socket, downstream, rules)
    else this.http.accept(socket, downstream, rules, this.#declared(arrival.port))
  }

  #declared(port: number): Protocol {
    return this.#compiled === undefined ? Protocol.UNSPECIFIED : protocolOf(this.#compiled.message, port)
  }

  async #opaque(
    socket: Socket,
    arrival: Arrival,
    identity: string | undefined,
    head: Buffer | undefined,
  ): Promise<void> {
    const downstream = downstreamOf(socket, arrival, identity)
    const exchange = new Exchange({
      request: {
        method: '',
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
    const compiled = this.#compiled
    if (compiled === undefined) throw new MeshError('POLICY_UNAVAILABLE', 'no policy yet')
    this.#name(exchange, compiled.message)
    await compiled.connection(exchange)
    const upstream = await this.#runtime.connector.dial(arrival.app, {
      inside: 'outrigger/tcp',
      timeoutMs: defaultPoolLimits.connectTimeoutMs,
      localAddress: deliveryAddress(this.#runtime.options, arrival.app.address),
    })
    if (identity === undefined) this.#plainOpaque.set(socket, arrival.port)
    try {
      await relayTcp(this.#runtime, 'inbound', exchange, socket, upstream, { a: head })
    } finally {
      this.#plainOpaque.delete(socket)
    }
  }

  #name(exchange: Exchange, message: Workload): void {
    const port = exchange.downstream.localPort
    exchange.servicePort = port
    exchange.service = message.ports.find((known) => known.port === port)?.service ?? ''
  }

  readonly #serve: Service = (exchange) => {
    const compiled = this.#compiled
    if (compiled === undefined) return Promise.reject(new MeshError('POLICY_UNAVAILABLE', 'no policy yet'))
    this.#name(exchange, compiled.message)
    const { identity, localPort } = exchange.downstream
    // A connection that was let in under PERMISSIVE may outlive the change to STRICT; its requests may not.
    if (identity === undefined && modeOf(compiled.message, localPort) === MtlsMode.STRICT) {
      return Promise.reject(
        new MeshError('UNAUTHENTICATED', `plaintext to port ${localPort}, which is STRICT now`, {
          policy: compiled.message.mtlsRef,
        }),
      )
    }
    exchange.request.target = normalizeTarget(exchange.request.target)
    // A load balancer that copies bytes tells nobody but us whose request it is.
    const { request, downstream } = exchange
    if (downstream.proxy !== undefined) addToList(request.headers, 'x-forwarded-for', downstream.remoteAddress)
    return compiled.http(exchange)
  }

  /** The application itself. */
  readonly #local: Service = (exchange) => {
    const app = this.#apps.get(exchange.downstream)
    if (app === undefined) return Promise.reject(new MeshError('UNEXPECTED', 'a connection without an application'))
    exchange.http2 = goesByHttp2(exchange.request, this.#declared(exchange.downstream.localPort))
    return this.#pools.pool(app, undefined, exchange.http2).send(exchange, traceHeaderLines(exchange, undefined))
  }

  #drop(socket: Socket, error: MeshError): void {
    const { log, telemetry } = this.#runtime
    const policy = error.policy
    log.warn(`inbound connection refused: ${error.code}: ${error.message}`, {
      'source.ip': plainAddress(socket.remoteAddress),
      ...(policy === undefined ? {} : { 'labels.policy': `${policy.kind}/${policy.namespace}/${policy.name}` }),
    })
    telemetry.metrics.downstreamRefused(error.code)
    reset(socket)
  }
}

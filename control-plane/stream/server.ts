import { constants } from 'node:crypto'
import { createServer as createDoor, type Server as Door } from 'node:net'
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import type { AcksRequest, AcksResponse, ClientMessage, ServerMessage } from '../../src/api/gen/outrigger_pb.ts'
import { acksMethod, signCertificateMethod, watchMethod } from '../../src/api/services.ts'
import { type Clock, sleep, type Timer } from '../../src/base/clock.ts'
import type { Log } from '../../src/base/log.ts'
import { controlPlaneWorkload, parseSpiffeId } from '../../src/base/spiffe.ts'
import type { Authority } from '../identity/authority.ts'
import { type PeerProof, peerProof } from '../identity/peer-proof.ts'
import type { ServerCertificate } from '../identity/server-certificate.ts'
import { IdentityService } from '../identity/service.ts'
import type { TokenChecker } from '../identity/token.ts'
import { Debounce } from '../sources/debounce.ts'
import { countAcks } from './acks.ts'
import { Admission, peerOf } from './admission.ts'
import { DeltaMessages } from './delta-messages.ts'
import { listen } from './listen.ts'
import type { Resources } from './resources.ts'
import { Session, type StreamObserver } from './session.ts'
import { Sidecars } from './sidecars.ts'

export interface StreamServerOptions {
  readonly clock: Clock
  readonly log: Log
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  readonly authority: Authority
  readonly tokens: TokenChecker
  readonly certificate: ServerCertificate
  readonly resources: Resources
  readonly observer?: StreamObserver
}

// Each source waits for the end of a burst by itself; this is for several that change at once.
const quietMs = 5
const quietMaxMs = 500
/** Each session's turn comes so often, */
const tickMs = 5_000
/** and not that of all at once: a thousand pings and pongs in one go would stand in the way of a change of policy. */
const turns = 20

/**
 * The one port that sidecars know: TLS 1.3 with the client's certificate asked for but not demanded, so that the same
 * port serves those who have only a token (`Identity`) and those who have a certificate (everything).
 */
export class StreamServer {
  readonly sidecars: Sidecars
  readonly identity: IdentityService
  readonly #options: StreamServerOptions
  readonly #log: Log
  readonly #door: Door
  readonly #admission: Admission
  readonly #tls: TlsServer
  readonly #grpc: Server
  readonly #injector: ReturnType<Server['createConnectionInjector']>
  /** What each open connection has proved, by remote address and port. */
  readonly #proofs = new Map<string, PeerProof>()
  readonly #sockets = new Set<TLSSocket>()
  readonly #deltas = new DeltaMessages()
  readonly #publishing: Debounce
  readonly #watchingResources: Disposable
  readonly #watchingCertificate: Disposable
  readonly #ticking: Timer
  readonly #turns = Array.from({ length: turns }, () => new Set<Session>())
  #added = 0
  #turn = 0
  #changed = new Set<string>()

  private constructor(options: StreamServerOptions) {
    this.#options = options
    this.#log = options.log.named('stream')
    this.sidecars = new Sidecars(options.clock)
    this.identity = new IdentityService({
      authority: options.authority,
      tokens: options.tokens,
      log: options.log,
      proofOf: (call) => {
        const peer = call.getPeer()
        this.#admission.done(peer)
        return this.#proofOf(peer)
      },
    })
    this.#grpc = new Server({
      'grpc.enable_channelz': 0,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.max_connection_idle_ms': 60_000,
      'grpc.max_receive_message_length': 16 * 1_048_576,
    })
    this.#grpc.addService(
      { SignCertificate: signCertificateMethod },
      { SignCertificate: this.identity.signCertificate },
    )
    this.#grpc.addService(
      { Watch: { ...watchMethod, responseSerialize: this.#deltas.serialize } },
      { Watch: this.#watch },
    )
    this.#grpc.addService({ Acks: acksMethod }, { Acks: this.#acks })
    this.#injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure())
    this.#tls = createServer({
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      handshakeTimeout: 10_000,
      // No resumption: each connection proves its certificate anew (CVE-2022-21654).
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
    this.#admission = new Admission(options.clock, (socket) => void this.#tls.emit('connection', socket))
    this.#door = createDoor({ pauseOnConnect: true, noDelay: true }, (socket) => this.#admission.take(socket))
    this.#tls.on('secureConnection', (socket) => this.#accept(socket))
    this.#tls.on('tlsClientError', (error, socket) => {
      this.#log.debug('a TLS handshake failed', { error, 'client.address': socket.remoteAddress })
    })
    this.#watchingCertificate = options.certificate.current.subscribe((certificate) => {
      this.#tls.setSecureContext({ ...certificate, minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET })
    })
    this.#publishing = new Debounce(options.clock, quietMs, quietMaxMs, () => this.#publish())
    this.#watchingResources = options.resources.subscribe((names) => {
      for (const name of names) this.#changed.add(name)
      this.#publishing.trigger()
    })
    this.#ticking = options.clock.every(tickMs / turns, () => {
      for (const session of this.#turns[this.#turn++ % turns]!) session.tick()
    })
  }

  /** Listens. Throws an Error that names the remedy when it cannot. */
  static async start(options: StreamServerOptions): Promise<StreamServer> {
    const server = new StreamServer(options)
    try {
      await listen(server.#door, {
        host: options.host,
        port: options.port,
        what: 'the policy stream',
        option: '--stream-port',
      })
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  get port(): number {
    const address = this.#door.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /**
   * Ends the streams one after the other within `ms` and takes no new ones: the other replicas get the sidecars of this one
   * spread over that time.
   */
  async drain(ms: number): Promise<void> {
    this.#door.close()
    const { clock } = this.#options
    const sessions = [...this.sidecars.sessions()]
    for (const [at, session] of sessions.entries())
      clock.after((ms * (at + clock.random())) / sessions.length, () => session.leave())
    if (sessions.length > 0) await sleep(clock, ms)
  }

  async stop(): Promise<void> {
    this.#ticking.cancel()
    this.#publishing.cancel()
    this.#watchingResources[Symbol.dispose]()
    this.#watchingCertificate[Symbol.dispose]()
    const closed = new Promise<void>((resolve) => this.#door.close(() => resolve()))
    this.#admission.close()
    this.#injector.destroy()
    this.#grpc.forceShutdown()
    for (const socket of this.#sockets) socket.destroy()
    if (this.#door.listening) await closed
  }

  #accept(socket: TLSSocket): void {
    const key = peerOf(socket)
    if (socket.alpnProtocol !== 'h2' || key === undefined) {
      socket.destroy()
      return
    }
    const { authority, clock } = this.#options
    const proof = peerProof(socket, authority.trustDomain, clock)
    if (proof.is === 'refused') this.#log.warn(proof.reason, { 'client.address': key })
    this.#proofs.set(key, proof)
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#admission.done(key)
      if (this.#proofs.get(key) === proof) this.#proofs.delete(key)
    })
    socket.on('error', () => {})
    this.#injector.injectConnection(socket)
  }

  #proofOf(peer: string): PeerProof {
    return this.#proofs.get(peer) ?? { is: 'none' }
  }

  readonly #watch = (call: ServerDuplexStream<ClientMessage, ServerMessage>): void => {
    this.#admission.done(call.getPeer())
    const proof = this.#proofOf(call.getPeer())
    if (proof.is !== 'verified') {
      const details =
        proof.is === 'refused'
          ? proof.reason
          : 'the policy stream needs a client certificate: obtain one with Identity.SignCertificate'
      call.emit('error', { code: status.UNAUTHENTICATED, details })
      return
    }
    // At once, so that the sidecar knows that it is heard even while the sources are still being read.
    call.sendMetadata(new Metadata())
    const session = new Session({
      clock: this.#options.clock,
      log: this.#log,
      resources: this.#options.resources,
      identity: proof.spiffeId,
      identityExpiresAtMs: proof.expiresAtMs,
      send: (message) => void call.write(message),
      deltas: this.#deltas,
      observer: this.#options.observer,
      fail: (code, details) => void call.emit('error', { code, details }),
    })
    this.sidecars.add(session)
    const turn = this.#turns[this.#added++ % turns]!
    turn.add(session)
    const over = (): void => {
      turn.delete(session)
      session.ended()
      this.sidecars.remove(session)
    }
    call.on('data', (message: ClientMessage) => session.take(message))
    call.once('end', () => call.end())
    call.once('cancelled', over)
    call.once('close', over)
    // grpc-js answers the client itself; without a listener the process would end.
    call.on('error', over)
  }

  /** Another replica asks, which writes the status of all documents. */
  readonly #acks = (call: ServerUnaryCall<AcksRequest, AcksResponse>, callback: sendUnaryData<AcksResponse>): void => {
    const proof = this.#proofOf(call.getPeer())
    const id = proof.is === 'verified' ? parseSpiffeId(proof.spiffeId) : undefined
    const { namespace, serviceAccount } = controlPlaneWorkload
    if (id?.namespace !== namespace || id.serviceAccount !== serviceAccount) {
      const shown = proof.is === 'verified' ? proof.spiffeId : 'a caller without a certificate'
      this.#log.warn(`Peers.Acks refused: ${shown} is not the control plane`, { 'client.address': call.getPeer() })
      callback({ code: status.PERMISSION_DENIED, details: 'only replicas of the control plane may ask this' })
      return
    }
    callback(null, countAcks(this.sidecars.sessions(), call.request))
  }

  #publish(): void {
    const changed = this.#changed
    this.#changed = new Set()
    for (const session of this.sidecars.sessions()) session.changed(changed)
  }
}

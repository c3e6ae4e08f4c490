/** Opens sockets to endpoints and to the local application: plaintext, or mTLS with the peer's identity checked. */
import net from 'node:net'
import tls from 'node:tls'
import { afterAttended } from '../base/attended.ts'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Live } from '../base/live.ts'
import type { Credentials } from '../identity/credentials.ts'
import { verifyPeer } from '../identity/peer.ts'

/** `cause` of the error when a peer did not answer in time; every other failure is an answer of a kind. */
export const noAnswer = 'no answer'

/** What is inside a TLS connection between two sidecars. */
export type Inside = 'outrigger/http1' | 'outrigger/h2' | 'outrigger/tcp'

/** Where to connect; the part of an EndpointTarget that matters here. */
export interface Destination {
  readonly key: string
  readonly address: string
  readonly port: number
  /** SPIFFE id that the peer must prove; '' = plaintext. */
  readonly identity: string
}

export interface DialOptions {
  readonly inside: Inside
  readonly timeoutMs: number
  /** Takes what is read from a static buffer; without it the socket is an ordinary stream. */
  readonly onread?: net.OnReadOpts
  readonly localAddress?: string | undefined
  readonly noDelay?: boolean
}

export class Connector {
  readonly #clock: Clock
  readonly #credentials: Live<Credentials | undefined>
  /** Made once per certificate, not per connection: parsing PEM costs a millisecond. */
  #context: { readonly of: Credentials; readonly secure: tls.SecureContext } | undefined
  readonly #onOpened: ((socket: net.Socket) => void) | undefined

  /** `onOpened` sees every socket before it is connected (for the loop guard). */
  constructor(clock: Clock, credentials: Live<Credentials | undefined>, onOpened?: (socket: net.Socket) => void) {
    this.#clock = clock
    this.#credentials = credentials
    this.#onOpened = onOpened
  }

  /**
   * Connects. Rejects with MeshError UPSTREAM_CONNECT, UPSTREAM_TLS or UPSTREAM_IDENTITY, all of them `unsent`.
   * `abandon` receives how to give up early.
   */
  dial(
    to: Destination,
    options: DialOptions,
    abandon?: (giveUp: (reason: MeshError) => void) => void,
  ): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      let socket: net.Socket
      try {
        socket = to.identity === '' ? this.#plain(to, options) : this.#tls(to, options)
      } catch (error) {
        reject(MeshError.from(error, 'UPSTREAM_CONNECT'))
        return
      }
      let over = false
      const done = (error: MeshError | undefined): void => {
        // Giving up too late must not end a connection that is in use.
        if (over) return
        over = true
        timer.cancel()
        socket.removeListener('error', onError)
        socket.removeListener('close', onClose)
        if (error === undefined) {
          resolve(socket)
        } else {
          socket.on('error', () => {})
          socket.destroy()
          reject(error)
        }
      }
      // A handshake takes several turns of both event loops: time in which ours stood still is not the peer's.
      const timer = afterAttended(this.#clock, options.timeoutMs, () =>
        done(
          new MeshError('UPSTREAM_CONNECT', `connect ${to.key}: no answer in ${options.timeoutMs} ms`, {
            unsent: true,
            cause: noAnswer,
          }),
        ),
      )
      const onError = (error: NodeJS.ErrnoException): void => done(connectError(to, error))
      const onClose = (): void =>
        done(new MeshError('UPSTREAM_CONNECT', `connect ${to.key}: closed before it was ready`, { unsent: true }))
      socket.on('error', onError)
      socket.on('close', onClose)
      // At once: the kernel may hand a looped connection to our own listener before it tells us that it is connected.
      this.#onOpened?.(socket)
      socket.once('connect', () => {
        if (to.identity === '') done(undefined)
      })
      if (socket instanceof tls.TLSSocket) {
        const secured = socket
        secured.once('secureConnect', () => {
          if (secured.alpnProtocol === options.inside) done(undefined)
          else
            done(
              new MeshError('UPSTREAM_TLS', `${to.key} does not speak ${options.inside}: is it a sidecar?`, {
                unsent: true,
              }),
            )
        })
      }
      abandon?.((reason) => done(reason))
    })
  }

  #plain(to: Destination, options: DialOptions): net.Socket {
    return net.connect({
      host: to.address,
      port: to.port,
      noDelay: options.noDelay ?? true,
      allowHalfOpen: options.inside === 'outrigger/tcp',
      ...(options.onread === undefined ? {} : { onread: options.onread }),
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
    })
  }

  #tls(to: Destination, options: DialOptions): net.Socket {
    const credentials = this.#credentials.current
    if (credentials === undefined) {
      throw new MeshError(
        'UPSTREAM_TLS',
        `connect ${to.key}: this sidecar has no valid certificate, and never falls back to plaintext`,
        {
          unsent: true,
        },
      )
    }
    const socket = tls.connect({
      host: to.address,
      port: to.port,
      allowHalfOpen: options.inside === 'outrigger/tcp',
      ALPNProtocols: [options.inside],
      minVersion: 'TLSv1.3',
      secureContext: this.#secureContext(credentials),
      rejectUnauthorized: true,
      // No session tickets across a change of trust (CVE-2022-21654): every connection proves itself.
      checkServerIdentity: () => {
        try {
          const peer = socket.getPeerX509Certificate()
          if (peer === undefined) throw new MeshError('UPSTREAM_IDENTITY', 'the peer showed no certificate')
          verifyPeer(peer, {
            trustDomain: credentials.trustDomain,
            expected: to.identity,
            use: 'server',
            clock: this.#clock,
          })
          return undefined
        } catch (error) {
          return MeshError.from(error, 'UPSTREAM_IDENTITY')
        }
      },
      ...(options.onread === undefined ? {} : { onread: options.onread }),
    } as tls.ConnectionOptions)
    // Node takes the whole chain apart for the argument above, which costs more than checking it; this is all that asks for it.
    socket.getPeerCertificate = () => notAsked
    return socket
  }

  #secureContext(credentials: Credentials): tls.SecureContext {
    if (this.#context?.of !== credentials) {
      this.#context = { of: credentials, secure: secureContextOf(credentials) }
    }
    return this.#context.secure
  }
}

/** Context for either end of mTLS. */
export function secureContextOf(credentials: Credentials): tls.SecureContext {
  return tls.createSecureContext({
    key: credentials.privateKeyPem,
    cert: credentials.certificateChainPem,
    ca: credentials.trustBundlePem,
    minVersion: 'TLSv1.3',
  })
}

function connectError(to: Destination, error: NodeJS.ErrnoException): MeshError {
  if (error instanceof MeshError) {
    return new MeshError(error.code, `connect ${to.key}: ${error.message}`, { cause: error, unsent: true })
  }
  const code = error.code ?? ''
  const tlsFailed = code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || certificateErrors.test(code)
  const words = plainWords[code] ?? error.message
  return new MeshError(tlsFailed ? 'UPSTREAM_TLS' : 'UPSTREAM_CONNECT', `connect ${to.key}: ${words}`, {
    cause: error,
    unsent: true,
  })
}

const notAsked = {} as tls.DetailedPeerCertificate

/** OpenSSL's verify results as Node names them. */
const certificateErrors = /CERT|SELF_SIGNED|UNABLE_TO|CRL|HOSTNAME|INVALID_CA|PATH_LENGTH|PURPOSE|UNSPECIFIED/

const plainWords: Record<string, string> = {
  ECONNREFUSED: 'refused: nothing listens there',
  ECONNRESET: 'reset by the peer',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'timed out',
  EADDRNOTAVAIL: 'no local port or address left',
  EMFILE: 'too many open files',
}

import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { Answer } from './answers.ts'

/** A peer on 127.0.0.1, and the request that each connection sends once. */
export interface ClientOptions {
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Then mTLS 1.3: chain and key in one file, and the protocol that is offered. */
  readonly tls?: { readonly pem: string; readonly alpn: string }
}

/** Makes connections, each of which has sent one request and got its answer. */
export class Client {
  readonly #options: ClientOptions
  readonly #request: string
  readonly #pem: Buffer | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    const lines = Object.entries(options.headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#request = `GET ${options.path} HTTP/1.1\r\n${lines.join('')}\r\n`
    this.#pem = options.tls === undefined ? undefined : readFileSync(options.tls.pem)
  }

  /** Resolves with the open connection; rejects when there was no answer with 200. `session` offers an earlier one again. */
  open(session?: Buffer, onSession?: (session: Buffer) => void): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = this.#connect(session)
      if (onSession !== undefined) socket.on('session', onSession)
      const answer = new Answer()
      const fail = (why: string): void => {
        socket.destroy()
        reject(new Error(why))
      }
      socket.once('error', (error: Error) => fail(error.message))
      socket.once('close', () => fail('closed before its answer'))
      socket.on('data', (bytes: Buffer) => {
        if (!answer.add(bytes, bytes.length)) return
        if (answer.status !== 200) {
          fail(`answered ${answer.status}`)
          return
        }
        socket.removeAllListeners('data')
        socket.removeAllListeners('close')
        resolve(socket)
      })
      socket.write(this.#request)
    })
  }

  #connect(session: Buffer | undefined): Socket | TLSSocket {
    const { port, tls } = this.#options
    if (tls === undefined) return connect({ port, host: '127.0.0.1', noDelay: true })
    return connectTls({
      port,
      host: '127.0.0.1',
      cert: this.#pem,
      key: this.#pem,
      ALPNProtocols: [tls.alpn],
      minVersion: 'TLSv1.3',
      // What is measured is the other side: its handshake and its check of this certificate.
      rejectUnauthorized: false,
      ...(session !== undefined && { session }),
    })
  }
}

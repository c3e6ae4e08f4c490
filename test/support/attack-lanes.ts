/** Ways into the mesh for hostile bytes, and applications that record exactly what reaches them. */
import { once } from 'node:events'
import net from 'node:net'
import { systemClock } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { Connector, type Inside } from '../../src/upstream/connect.ts'
import { credentialsOf, type Mesh } from './mesh.ts'
import { type Exchanged, readUntil, sendRaw } from './raw.ts'

export const okAnswer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** An application that keeps what it reads, latin1, and answers each request that is whole. */
export class RecordingApp {
  received = ''
  readonly sockets = new Set<net.Socket>()
  /** Bytes that answer a request; empty: none do. */
  answer: (request: string, socket: net.Socket) => string = () => okAnswer

  /** For `tcp` of a workload. */
  readonly serve = (socket: net.Socket): void => {
    this.sockets.add(socket)
    let own = ''
    socket.on('error', () => {})
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      this.received += text
      own += text
      for (let length = messageLength(own); length !== undefined; length = messageLength(own)) {
        const request = own.slice(0, length)
        own = own.slice(length)
        socket.write(this.answer(request, socket), 'latin1')
      }
    })
  }

  /** What it has got since it was asked last. */
  take(): string {
    const { received } = this
    this.received = ''
    return received
  }
}

/** Bytes of the first message if it is whole; enough for what a strict proxy sends: counted or chunked bodies. */
function messageLength(text: string): number | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = text.slice(0, end)
  // Its body comes only if it is asked for.
  if (/\r\nexpect: 100-continue/i.test(head)) return end + 4
  if (/\r\ntransfer-encoding: chunked/i.test(head)) {
    const last = text.indexOf('\r\n0\r\n', end + 2)
    const close = last === -1 ? -1 : text.indexOf('\r\n\r\n', last + 2)
    return close === -1 ? undefined : close + 4
  }
  const total = end + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  return text.length < total ? undefined : total
}

/** A way from a hostile client to an application. */
export interface Lane {
  readonly name: 'outbound' | 'inbound in plaintext' | 'inbound over mTLS'
  /** Sends bytes for the application of this name; `until` as in `sendRaw`. */
  send(app: string, bytes: string, until?: RegExp): Promise<Exchanged>
}

/** From the application of `client` through two sidecars; from a stranger; from a peer of the mesh that turned hostile. */
export function lanes(mesh: Mesh): readonly Lane[] {
  return [
    { name: 'outbound', send: (_app, bytes, until) => sendRaw(mesh.get('client').outbound, bytes, until) },
    {
      name: 'inbound in plaintext',
      send: (app, bytes, until) => sendRaw({ host: mesh.get(app).address, port: 8080 }, bytes, until),
    },
    {
      name: 'inbound over mTLS',
      send: async (app, bytes, until) => {
        const socket = await dialAsPeer(mesh, app)
        const answer = readUntil(socket, until)
        socket.write(Buffer.from(bytes, 'latin1'))
        return answer
      },
    },
  ]
}

/** A way that looks opaque from outside: a CONNECT of the application, and HTTP within. */
export async function throughConnect(mesh: Mesh, app: string, bytes: string): Promise<Exchanged> {
  const { host, port } = mesh.get('client').outbound
  const socket = net.connect({ host, port, noDelay: true })
  socket.write(`CONNECT ${app}:8080 HTTP/1.1\r\nHost: ${app}:8080\r\n\r\n`)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if (!answer.toString('latin1').startsWith('HTTP/1.1 200 ')) throw new Error(answer.toString('latin1'))
  const got = readUntil(socket)
  socket.write(bytes, 'latin1')
  return got
}

/** A connection with the certificate of `client`, past its sidecar. */
export async function dialAsPeer(mesh: Mesh, app: string, inside: Inside = 'outrigger/http1'): Promise<net.Socket> {
  const connector = new Connector(systemClock, new Live<Credentials | undefined>(credentialsOf(mesh.get('client'))))
  const socket = await connector.dial(
    { key: app, address: mesh.get(app).address, port: 8080, identity: `spiffe://cluster.local/ns/test/sa/${app}` },
    { inside, timeoutMs: 5_000 },
  )
  socket.on('error', () => {})
  return socket
}

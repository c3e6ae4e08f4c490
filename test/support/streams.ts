/** Long streams through two sidecars in this process: one end writes, the other reads, and memory is watched. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { Mesh } from './mesh.ts'

/** TCP, or the body of a message with Content-Length or chunked; from the client to the server, or back. */
export interface StreamKind {
  readonly carrier: 'tcp' | 'counted' | 'chunked'
  readonly way: 'up' | 'down'
}

export const streamKinds: readonly StreamKind[] = (['tcp', 'counted', 'chunked'] as const).flatMap((carrier) =>
  (['up', 'down'] as const).map((way) => ({ carrier, way })),
)

export const MiB = 2 ** 20

/** Each number tells where in its block it stands. */
const block = Buffer.alloc(MiB)
for (let at = 0; at < block.length; at += 4) block.writeUInt32LE(at, at)

export interface Stream {
  readonly writer: Writable
  readonly reader: Readable
}

export class StreamMesh implements AsyncDisposable {
  readonly #mesh: Mesh
  readonly #arrivals: EventEmitter
  readonly #open = new Set<net.Socket>()

  private constructor(mesh: Mesh, arrivals: EventEmitter) {
    this.#mesh = mesh
    this.#arrivals = arrivals
  }

  /** `mode` of PeerAuthentication: DISABLE is plaintext between the sidecars, STRICT is mTLS. */
  static async start(mode: 'DISABLE' | 'STRICT'): Promise<StreamMesh> {
    const arrivals = new EventEmitter()
    const mesh = await Mesh.start({
      workloads: [
        { name: 'client', env: { OUTRIGGER_UPSTREAM: '127.0.0.1:0=opaque:8080' } },
        { name: 'opaque', portName: 'tcp', tcp: (socket) => void arrivals.emit('socket', socket) },
        { name: 'web', app: (req, res) => void arrivals.emit('request', req, res) },
      ],
      policies: `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: mode, namespace: test }
spec: { mtls: { mode: ${mode} } }
`,
    })
    return new StreamMesh(mesh, arrivals)
  }

  /** A TCP connection through both: the client's end and the server's. */
  async connect(): Promise<{ client: net.Socket; server: net.Socket }> {
    const at = this.#mesh.get('client').running.addresses.get('upstream0')!
    const arrived = once(this.#arrivals, 'socket') as Promise<[net.Socket]>
    const client = net.connect({ ...at, allowHalfOpen: true, noDelay: true })
    const [server] = await arrived
    server.setNoDelay(true)
    for (const socket of [client, server]) this.#watch(socket)
    return { client, server }
  }

  /** A stream of `bytes`; a counted one must get exactly so many. */
  async open({ carrier, way }: StreamKind, bytes: number): Promise<Stream> {
    if (carrier === 'tcp') {
      const { client, server } = await this.connect()
      return way === 'up' ? { writer: client, reader: server } : { writer: server, reader: client }
    }
    const { host, port } = this.#mesh.get('client').outbound
    const length = carrier === 'counted' ? { 'content-length': bytes } : { 'transfer-encoding': 'chunked' }
    const arrived = once(this.#arrivals, 'request') as Promise<[http.IncomingMessage, http.ServerResponse]>
    const request = http.request({ host, port, path: '/', agent: false })
    request.on('error', () => {}).on('socket', (socket: net.Socket) => this.#watch(socket))
    request.setHeader('host', 'web:8080')
    if (way === 'up') {
      request.method = 'POST'
      for (const [name, value] of Object.entries(length)) request.setHeader(name, value)
      request.flushHeaders()
      const [incoming, response] = await arrived
      incoming.on('end', () => response.end())
      request.on('response', (answer) => answer.resume())
      return { writer: request, reader: incoming }
    }
    request.end()
    const answered = once(request, 'response') as Promise<[http.IncomingMessage]>
    const [, response] = await arrived
    response.writeHead(200, length)
    response.flushHeaders()
    const [answer] = await answered
    return { writer: response, reader: answer }
  }

  #watch(socket: net.Socket): void {
    socket.on('error', () => {})
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    await this.#mesh[Symbol.asyncDispose]()
  }
}

export interface Transferred {
  /** Largest growth of this process while it went on, in bytes. */
  readonly grownBytes: number
  /** What the writer could write before anybody read; 0 if it was not made to wait. */
  readonly stoodAt: number
}

/**
 * Sends `bytes`, whole blocks, and checks what arrives. `hold`: nobody reads until the writer can write no more.
 * `slowly`: the reader takes a chunk at each turn of the event loop, and rests in between.
 */
export async function transfer(
  { writer, reader }: Stream,
  bytes: number,
  how: { readonly hold?: boolean; readonly slowly?: boolean } = {},
): Promise<Transferred> {
  const before = process.memoryUsage.rss()
  let grownBytes = 0
  const look = (): void => {
    grownBytes = Math.max(grownBytes, process.memoryUsage.rss() - before)
  }
  let sent = 0
  const send = (): void => {
    while (sent < bytes) {
      sent += block.length
      if (!writer.write(block)) return void writer.once('drain', send)
    }
    writer.end()
  }
  send()
  let stoodAt = 0
  if (how.hold === true) {
    stoodAt = await standstill(() => sent)
    look()
  }
  let received = 0
  let wrong = 0
  reader.on('data', (chunk: Buffer) => {
    for (let i = (4 - (received % 4)) % 4; i + 4 <= chunk.length; i += 4_096) {
      if (chunk.readUInt32LE(i) !== (received + i) % block.length) wrong++
    }
    if ((received % (8 * MiB)) + chunk.length >= 8 * MiB) look()
    received += chunk.length
    if (how.slowly === true) {
      reader.pause()
      setImmediate(() => setImmediate(() => reader.resume()))
    }
  })
  await once(reader, 'end')
  look()
  assert.deepEqual({ received, wrong }, { received: bytes, wrong: 0 })
  return { grownBytes, stoodAt }
}

/**
 * Resolves with the count when it has not changed for so many turns of the event loop. All that could change it, client,
 * sidecars and server, is in this process: turns tell, and time does not, on a machine that has no time for us.
 */
async function standstill(count: () => number): Promise<number> {
  let last = -1
  for (let quiet = 0; quiet < 1_000; quiet++) {
    if (last !== count()) quiet = 0
    last = count()
    await new Promise((resolve) => setImmediate(resolve))
    // What the kernel hands on later than at once: delayed acknowledgements, window probes.
    if (quiet % 250 === 249) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return last
}

export function kindText({ carrier, way }: StreamKind): string {
  return `${carrier}, ${way}`
}

/** 10,000 writes of one byte arrive as they were sent. */
export async function byteByByte(mesh: StreamMesh, kind: StreamKind): Promise<void> {
  const sent = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i % 251))
  const { writer, reader } = await mesh.open(kind, sent.length)
  const chunks: Buffer[] = []
  reader.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = once(reader, 'end')
  for (let at = 0; at < sent.length; at++) {
    writer.write(sent.subarray(at, at + 1))
    // Now and then what was written leaves by itself.
    if (at % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  writer.end()
  await ended
  assert.ok(Buffer.concat(chunks).equals(sent))
}

/** 192 MiB to a reader that first stands still and then is slow: the writer has to wait, and memory stays. */
export async function held(mesh: StreamMesh, kind: StreamKind): Promise<void> {
  const bytes = 192 * MiB
  const { grownBytes, stoodAt } = await transfer(await mesh.open(kind, bytes), bytes, { hold: true, slowly: true })
  // Six sockets' buffers of the kernel's, which may be 32 MiB to read and 4 MiB to write (tcp_rmem, tcp_wmem), and what streams hold.
  assert.ok(stoodAt < 128 * MiB, `the writer wrote ${stoodAt / MiB} MiB`)
  assert.ok(grownBytes < 128 * MiB, `${grownBytes / MiB} MiB more`)
}

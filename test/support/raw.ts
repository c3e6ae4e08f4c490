/** Raw sockets for tests: a client that sends exact bytes, an upstream that records exact bytes. */
import { once } from 'node:events'
import net from 'node:net'

export interface Recorder extends AsyncDisposable {
  readonly port: number
  /** All bytes of all connections, latin1. */
  received(): string
  connections(): number
  /** Requests that it read whole and answered. */
  requests(): number
  clear(): void
}

/** What an upstream has read on sockets that are handed to it, each whole request answered with `answer`. */
export class Recording {
  text = ''
  requests = 0
  readonly #answer: string

  constructor(answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok') {
    this.#answer = answer
  }

  readonly accept = (socket: net.Socket): void => {
    let own = ''
    socket.on('data', (chunk) => {
      const piece = chunk.toString('latin1')
      this.text += piece
      own += piece
      // One answer per complete message; enough for what a strict proxy sends: counted or chunked bodies.
      for (;;) {
        const end = own.indexOf('\r\n\r\n')
        if (end === -1) return
        const head = own.slice(0, end)
        const length = /^content-length: (\d+)/im.exec(head)
        let total = end + 4
        if (/^transfer-encoding: chunked/im.test(head)) {
          const last = own.indexOf('\r\n0\r\n', end + 2)
          const close = last === -1 ? -1 : own.indexOf('\r\n\r\n', last + 2)
          if (close === -1) return
          total = close + 4
        } else if (length !== null) {
          total += Number(length[1])
          if (own.length < total) return
        }
        own = own.slice(total)
        this.requests++
        socket.write(this.#answer, 'latin1')
      }
    })
    socket.on('error', () => {})
  }

  clear(): void {
    this.text = ''
    this.requests = 0
  }
}

/** Answers each complete request with `answer`; records all it reads. */
export async function startRecorder(answer?: string, host = '127.0.0.1'): Promise<Recorder> {
  const recording = new Recording(answer)
  let count = 0
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    count++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    recording.accept(socket)
  })
  server.listen(0, host)
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    received: () => recording.text,
    connections: () => count,
    requests: () => recording.requests,
    clear: () => {
      recording.clear()
      count = 0
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

export interface Exchanged {
  /** All that came back, latin1. */
  readonly text: string
  /** Status of the first response, 0 if there was none. */
  readonly status: number
  /** Whether the peer ended the connection. */
  readonly closed: boolean
}

/** Sends bytes, reads until `until` matches or the connection ends. */
export async function sendRaw(
  to: { readonly port: number; readonly host?: string },
  bytes: string | readonly string[],
  until: RegExp = /\r\n\r\n/,
  timeoutMs = 5_000,
): Promise<Exchanged> {
  const socket = net.connect({ port: to.port, host: to.host ?? '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const answer = readUntil(socket, until, timeoutMs)
  for (const piece of typeof bytes === 'string' ? [bytes] : bytes) {
    socket.write(piece, 'latin1')
    if (typeof bytes !== 'string') await new Promise((resolve) => setImmediate(resolve))
  }
  return answer
}

/** Reads until `until` matches or the connection ends, then destroys it. */
export async function readUntil(socket: net.Socket, until: RegExp = /\r\n\r\n/, timeoutMs = 5_000): Promise<Exchanged> {
  let text = ''
  let closed = false
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, timeoutMs)
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (until.test(text)) done()
    })
    socket.on('end', () => {
      closed = true
      done()
    })
    socket.on('error', done)
    socket.on('close', () => {
      closed = true
      done()
    })
  })
  socket.destroy()
  return { text, status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), closed }
}

/** Sends bytes on a connected socket, says that no more come, and reads until the peer has ended too. */
export async function converse(socket: net.Socket, bytes: string, timeoutMs = 10_000): Promise<Exchanged> {
  let text = ''
  let timer: NodeJS.Timeout | undefined
  const closed = await new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.on('end', () => resolve(true))
    socket.on('error', () => resolve(true))
    socket.on('close', () => resolve(true))
    socket.end(bytes, 'latin1')
  })
  clearTimeout(timer)
  socket.destroy()
  return { text, status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), closed }
}

/** The statuses of all answers in a text. */
export function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
}

/** Raw upstreams and clients for engine tests: the test decides every byte, and when the connection ends. */
import { once } from 'node:events'
import net from 'node:net'

export interface Upstream extends AsyncDisposable {
  readonly port: number
  readonly open: ReadonlySet<net.Socket>
  /** Connections that were ever accepted. */
  connections(): number
}

/** Calls back for each connection; `count` begins with 1. */
export async function startUpstream(
  onConnection: (socket: net.Socket, count: number) => void,
  options: net.ServerOpts = {},
): Promise<Upstream> {
  let count = 0
  const open = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true, ...options }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    onConnection(socket, ++count)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    open,
    connections: () => count,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

/** A client socket that keeps what it reads and how it ended. */
export interface RawClient extends Disposable {
  readonly socket: net.Socket
  text(): string
  /** Resolves when the text matches; rejects if the connection ends first. */
  seen(wanted: RegExp): Promise<string>
  /** Resolves when the peer has ended the connection: `reset` or a clean `end`. */
  readonly ended: Promise<'end' | 'reset'>
}

export async function openClient(to: {
  readonly port: number
  readonly host?: string
  readonly localAddress?: string
}): Promise<RawClient> {
  const socket = net.connect({ host: '127.0.0.1', noDelay: true, allowHalfOpen: true, ...to })
  let text = ''
  let over = false
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    socket.emit('text')
  })
  const ended = new Promise<'end' | 'reset'>((resolve) => {
    socket.on('end', () => resolve('end'))
    socket.on('error', () => resolve('reset'))
    socket.on('close', () => resolve('reset'))
  }).then((how) => {
    over = true
    socket.emit('text')
    return how
  })
  await once(socket, 'connect')
  return {
    socket,
    text: () => text,
    ended,
    async seen(wanted) {
      while (!wanted.test(text)) {
        if (over) throw new Error(`the connection ended before ${wanted}: ${text.slice(0, 400)}`)
        await once(socket, 'text')
      }
      return text
    },
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

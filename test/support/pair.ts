/** Two ends of a TCP connection, as a listener hands them over. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** Two ends of a real connection. */
export async function pair(): Promise<{ client: Socket; socket: Socket } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1', allowHalfOpen: true })
  const [socket] = (await once(server, 'connection')) as [Socket]
  client.setNoDelay(true).on('error', () => {})
  return {
    client,
    socket,
    async [Symbol.asyncDispose]() {
      client.destroy()
      socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Everything up to its end, latin1. */
export async function readAll(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.resume()
  await once(socket, 'end')
  return text
}

/** Until `count` bytes have been seen on the socket, without taking any. */
export function seen(socket: Socket, count: number): Promise<void> {
  return new Promise((resolve) => {
    const look = () => (socket.bytesRead >= count ? resolve() : setImmediate(look))
    look()
  })
}

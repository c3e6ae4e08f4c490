/** An upstream that says what it is told to. */
import type net from 'node:net'

export interface Said {
  /** Latin1. */
  readonly bytes: string
  /** It ends the connection after them, */
  readonly ends?: boolean
  /** or so many milliseconds later, so that nobody waits for the rest of what has none. */
  readonly lingers?: number
}

export const sentinelBody = 'the answer to the next request'

/** Says what it is told to, once per request; to the next request it gives that one's own answer. */
export class Hostile {
  answer: Said
  bytewise = false
  readonly sockets = new Set<net.Socket>()

  constructor(answer: Said) {
    this.answer = answer
  }

  readonly accept = (socket: net.Socket): void => {
    this.sockets.add(socket)
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      if (!text.includes('\r\n\r\n')) return
      if (text.startsWith('GET /next ')) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${sentinelBody.length}\r\n\r\n${sentinelBody}`)
        return
      }
      socket.setNoDelay(true)
      const { bytes, ends, lingers } = this.answer
      if (this.bytewise) this.#dribble(socket, bytes, 0, ends === true)
      else if (ends === true) socket.end(bytes, 'latin1')
      else socket.write(bytes, 'latin1')
      if (lingers !== undefined) setTimeout(() => socket.end(), lingers)
    })
  }

  #dribble(socket: net.Socket, bytes: string, at: number, ends: boolean): void {
    if (socket.destroyed) return
    if (at === bytes.length) {
      if (ends) socket.end()
      return
    }
    socket.write(bytes[at]!, 'latin1')
    setImmediate(() => this.#dribble(socket, bytes, at + 1, ends))
  }
}

/** True if a client takes what it read for a whole answer to `request`. */
export function whole(text: string, request: string): boolean {
  const last = text.slice(text.search(/HTTP\/1\.1 [2-9]/))
  const end = last.indexOf('\r\n\r\n')
  if (end === -1) return false
  const head = last.slice(0, end)
  if (request.startsWith('HEAD') || /^HTTP\/1\.1 (204|304)/.test(head)) return last.length === end + 4
  if (/^transfer-encoding: chunked/im.test(head)) return /\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(last)
  return last.length === end + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
}

/** The upstream at the end of every way: writes down each request it reads, and answers with what it was. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'

/** A request as it arrived: what two parsers in a row must agree on. */
export interface Arrived {
  readonly method: string
  readonly target: string
  readonly bodyBytes: number
  /** Short hash of the body. */
  readonly body: string
}

const requestLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) HTTP\/1\.[01]$/

export class Final implements AsyncDisposable {
  /** Whole requests by their `x-input`, which our engine put on them. */
  readonly arrived = new Map<string, Arrived>()
  /** What may never be: a request without the engine's mark, or twice under one, or bytes that are none. */
  readonly problems: string[] = []
  /** Bytes read. */
  bytes = 0
  port = 0
  /** Our engine marks what it sends; what comes through a sidecar has no marks and is numbered here. */
  readonly #marked: boolean
  #unmarked = 0
  readonly #sockets = new Set<net.Socket>()
  readonly #server = net.createServer({ noDelay: true }, (socket) => this.#accept(socket))

  private constructor(marked: boolean) {
    this.#marked = marked
  }

  static async start(marked = true): Promise<Final> {
    const final = new Final(marked)
    final.#server.listen(0, '127.0.0.1')
    await once(final.#server, 'listening')
    final.port = (final.#server.address() as net.AddressInfo).port
    return final
  }

  #accept(socket: net.Socket): void {
    this.#sockets.add(socket)
    let held = ''
    let continued = false
    socket.on('data', (chunk) => {
      this.bytes += chunk.length
      held += chunk.toString('latin1')
      for (;;) {
        const used = this.#take(held, socket)
        if (used === 0) break
        continued = false
        held = held.slice(used)
      }
      if (continued || !/^expect: *100-continue\r$/im.test(held.slice(0, Math.max(0, held.indexOf('\r\n\r\n') + 2))))
        return
      continued = true
      socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }

  /** Length of the first request if it is whole; 0: more must come. */
  #take(text: string, socket: net.Socket): number {
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return 0
    const [first = '', ...fields] = text.slice(0, end).split('\r\n')
    const line = requestLine.exec(first)
    const value = (name: string): string | undefined =>
      fields
        .find((field) => field.slice(0, name.length + 1).toLowerCase() === `${name}:`)
        ?.slice(name.length + 1)
        .trim()
    const mark = this.#marked ? value('x-input') : String(this.#unmarked)
    if (line === null || mark === undefined) {
      this.problems.push(`a request that nobody sent: ${JSON.stringify(text.slice(0, 300))}`)
      socket.destroy()
      return 0
    }
    const at = end + 4
    const read =
      value('transfer-encoding') === undefined
        ? counted(text, at, Number(value('content-length') ?? 0))
        : chunked(text, at)
    if (read === undefined) return 0
    const [body, used] = read
    if (this.arrived.has(mark))
      this.problems.push(`two requests under one mark: ${JSON.stringify(text.slice(0, used))}`)
    this.#unmarked++
    const method = line[1]!
    this.arrived.set(mark, {
      method,
      target: line[2]!,
      bodyBytes: body.length,
      body: hash(body),
    })
    socket.write(`HTTP/1.1 200 OK\r\nx-seen: ${mark}\r\ncontent-length: 2\r\n\r\n${method === 'HEAD' ? '' : 'ok'}`)
    return used
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

function hash(body: string): string {
  return createHash('sha1').update(body, 'latin1').digest('hex').slice(0, 12)
}

export const noBody = { bodyBytes: 0, body: hash('') }

type Read = readonly [body: string, end: number] | undefined

function counted(text: string, at: number, length: number): Read {
  return text.length < at + length ? undefined : [text.slice(at, at + length), at + length]
}

/** Chunks as a proxy writes them; trailers are passed over. */
function chunked(text: string, at: number): Read {
  let body = ''
  for (;;) {
    const end = text.indexOf('\r\n', at)
    if (end === -1) return undefined
    const size = Number.parseInt(text.slice(at, end), 16)
    at = end + 2
    if (size === 0) break
    if (text.length < at + size + 2) return undefined
    body += text.slice(at, at + size)
    at += size + 2
  }
  while (!text.startsWith('\r\n', at)) {
    const end = text.indexOf('\r\n', at)
    if (end === -1) return undefined
    at = end + 2
  }
  return [body, at + 2]
}

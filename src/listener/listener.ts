import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { SharedCount } from '../base/shared-table.ts'
import { reset } from '../tcp/reset.ts'

export interface ListenerOptions {
  /** For error messages and logs: `outbound`, `inbound` ... */
  readonly name: string
  /** An address, of one family: `::` does not take IPv4, so that it can stand beside `0.0.0.0` on the same port. */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly clock: Clock
  /** Owns the socket: paused, allowHalfOpen, without delay (TCP_NODELAY). */
  readonly onConnection: (socket: Socket) => void
  /** Open at once; one more is reset and counted. Default `connectionsMaxDefault()`. */
  readonly connectionsMax?: number | undefined
  /** Other threads listen on the same port (SO_REUSEPORT), and `connectionsMax` is of all of them together. */
  readonly shared?: SharedCount | undefined
  /** New ones are reset while it says so: memory is short. */
  readonly refusing?: (() => boolean) | undefined
}

/** A bound address that accepts, and knows what it accepted until that is closed. */
export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  readonly #connectionsMax: number
  readonly #open = new Set<Socket>()
  #onEmpty: (() => void) | undefined = undefined
  /** Accepted since start, the refused ones not included. */
  accepted = 0
  /** Reset because `connectionsMax` were open, or memory was short. */
  refused = 0
  /** The kernel could not give us a connection (out of descriptors or memory). */
  acceptErrors = 0

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#connectionsMax = options.connectionsMax ?? connectionsMaxDefault()
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    this.#server.on('connection', this.#onConnection)
  }

  /** Open now. */
  get connections(): ReadonlySet<Socket> {
    return this.#open
  }

  /** Binds and accepts; resolves with the real port. Rejects with one line that names the remedy. */
  listen(): Promise<{ host: string; port: number }> {
    const { host, port, name } = this.#options
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) => {
        reject(new Error(bindProblem(name, host, port, error), { cause: error }))
      }
      this.#server.once('error', onError)
      const reusePort = this.#options.shared !== undefined
      this.#server.listen({ host, port, backlog: 1_024, ipv6Only: true, reusePort }, () => {
        this.#server.off('error', onError)
        this.#server.on('error', this.#onAcceptError)
        const bound = this.#server.address() as AddressInfo
        resolve({ host: bound.address, port: bound.port })
      })
    })
  }

  /**
   * Stops accepting, waits for what is open at most `timeoutMs`, then resets the rest. Before that, `end` lets whoever has taken
   * them destroy them: below TLS that is in the middle of its end a socket cannot be reset, and its handle would never close.
   */
  async drain(timeoutMs: number, end: () => void = () => {}): Promise<void> {
    this.#stop()
    if (this.#open.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(timeoutMs, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
    if (this.#open.size > 0) end()
    this.close()
  }

  /** Stops accepting and resets what is open. */
  close(): void {
    this.#stop()
    for (const socket of this.#open) reset(socket)
  }

  #stop(): void {
    if (this.#server.listening) this.#server.close()
  }

  readonly #onConnection = (socket: Socket): void => {
    // Stays for good: an error between two owners of the socket must not end the process.
    socket.on('error', ignoreError)
    const { shared } = this.#options
    if (
      this.#options.refusing?.() === true ||
      !(shared?.tryAdd(this.#connectionsMax) ?? this.#open.size < this.#connectionsMax)
    ) {
      this.refused++
      reset(socket)
      return
    }
    this.accepted++
    this.#open.add(socket)
    socket.once('close', () => this.#onClose(socket))
    this.#options.onConnection(socket)
  }

  #onClose(socket: Socket): void {
    this.#open.delete(socket)
    this.#options.shared?.subtract()
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  readonly #onAcceptError = (): void => {
    this.acceptErrors++
  }
}

/** Descriptors kept for everything that is not a proxied connection: control stream, files, admin, metrics. */
const descriptorsReserved = 64

/**
 * What the process may hold open, shared out: a proxied connection takes two descriptors, and there are two
 * listeners. Without this bound the kernel runs dry first, and then libuv closes new connections with a plain end
 * that clients take for an empty answer (measured), and dials to upstreams fail.
 */
export function connectionsMaxDefault(): number {
  return Math.min(65_536, Math.max(16, Math.floor((openFilesMax() - descriptorsReserved) / 4)))
}

function openFilesMax(): number {
  try {
    const line = /^Max open files +(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    if (line !== null) return line[1] === 'unlimited' ? 1_048_576 : Number(line[1])
  } catch {
    // Not Linux.
  }
  return 10_240
}

function bindProblem(name: string, host: string, port: number, error: NodeJS.ErrnoException): string {
  const what = `${name} listener: cannot listen on ${host.includes(':') ? `[${host}]` : host}:${port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return `${what}: the port is in use; stop what uses it (ss -ltnp 'sport = :${port}'), or choose another port`
    case 'EACCES':
    case 'EPERM':
      return `${what}: no permission; choose a port above 1023, or grant NET_BIND_SERVICE`
    case 'EADDRNOTAVAIL':
      return `${what}: this machine does not have the address; choose one that "ip address" shows, or 0.0.0.0`
    case 'EAFNOSUPPORT':
      return `${what}: IPv6 is off here; listen on an IPv4 address such as 0.0.0.0`
    case 'ENOTFOUND':
      return `${what}: no such host name; write an IP address`
    default:
      return `${what}: ${error.message}`
  }
}

/** The owner sees it in `socket.errored` and in the `close` event. */
function ignoreError(): void {}

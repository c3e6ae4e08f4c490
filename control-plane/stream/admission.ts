import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../src/base/clock.ts'

export const admissionLimits = {
  /** Connections between their first byte and their first call. A handshake and a first delta are some milliseconds of work each. */
  atOnce: 32,
  /** A client that is slower than this keeps nobody else out any longer; it goes on. */
  patienceMs: 500,
  /** A sidecar gives its first attempt 2 s, later ones 5: whoever waited this long may be gone before it is served. */
  waitMaxMs: 1_700,
} as const

/**
 * The door of the stream's port. After a restart, or when a network comes back, all sidecars come within a second. Handshakes
 * that all run at once end all at once, and if that is later than the sidecars wait, none of them ends at all and they begin
 * again, for ever. So a few go in at a time, in their order: the first ones are served while the others wait, and each one that
 * is served stays.
 */
export class Admission {
  readonly #clock: Clock
  readonly #enter: (socket: Socket) => void
  readonly #waiting: { readonly socket: Socket; readonly since: number }[] = []
  readonly #inside = new Map<string, { readonly socket: Socket; readonly timer: Timer }>()

  constructor(clock: Clock, enter: (socket: Socket) => void) {
    this.#clock = clock
    this.#enter = enter
  }

  /** A new connection, of which nothing has been read yet. */
  take(socket: Socket): void {
    socket.on('error', () => {})
    this.#waiting.push({ socket, since: this.#clock.now() })
    this.#next()
  }

  /** The connection from there is served, or gone. */
  done(peer: string): void {
    const inside = this.#inside.get(peer)
    if (inside === undefined) return
    inside.timer.cancel()
    this.#inside.delete(peer)
    this.#next()
  }

  /** Drops whoever is not served yet. */
  close(): void {
    const inside = [...this.#inside.values()]
    this.#inside.clear()
    for (const { timer } of inside) timer.cancel()
    for (const { socket } of [...inside, ...this.#waiting.splice(0)]) socket.destroy()
  }

  #next(): void {
    const { atOnce, patienceMs, waitMaxMs } = admissionLimits
    while (this.#inside.size < atOnce) {
      const first = this.#waiting.shift()
      if (first === undefined) return
      const { socket, since } = first
      const peer = peerOf(socket)
      if (peer === undefined || this.#clock.now() - since > waitMaxMs) {
        socket.destroy()
        continue
      }
      this.#inside.set(peer, { socket, timer: this.#clock.after(patienceMs, () => this.done(peer)) })
      socket.once('close', () => this.done(peer))
      this.#enter(socket)
    }
  }
}

/** Who is at the other end, as gRPC names it; undefined when the connection is over. */
export function peerOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress}:${remotePort}`
}

import type { Duplex } from 'node:stream'

/** A TCP handle of Node's, undocumented, hence asked for with care. */
interface Handle {
  close(callback?: () => void): void
  reset?(callback?: () => void): number
  /** Under TLS: the TCP handle below. */
  readonly _parent?: Handle
}

/**
 * Ends a connection so that the peer sees a reset (RST) and not an end: what it has read is not the whole. Under TLS
 * too, where `destroy()` lets the peer's Node report a clean `end`, `resetAndDestroy()` throws, and resetting the
 * socket below first crashes the process (all measured, 26.10). Anything that is not TCP is destroyed.
 */
export function reset(socket: Duplex): void {
  const handle = (socket as { _handle?: Handle | null })._handle
  const tcp = handle?._parent ?? handle
  // libuv refuses to reset while a shutdown is under way (and then never closes). The kernel has every byte by then.
  const shutting = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished
  if (tcp?.reset !== undefined && !socket.destroyed && !shutting) tcp.close = (callback) => void tcp.reset!(callback)
  socket.destroy()
}

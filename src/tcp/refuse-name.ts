import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** A fatal alert `unrecognized_name` (RFC 8446 section 6, RFC 6066 section 3), as a server may answer a ClientHello. */
const unrecognizedName = Buffer.from([0x15, 3, 3, 0, 2, 2, 112])

/** How long the client may take to read it. */
const lingerMs = 1_000

/** Ends a TLS connection whose ClientHello names nobody that could be reached: the client's program can then say so. */
export function refuseName(socket: Socket, clock: Clock): void {
  const timer = clock.after(lingerMs, () => socket.destroy())
  socket.on('error', () => {})
  socket.once('close', () => timer.cancel())
  socket.once('end', () => socket.destroy())
  socket.end(unrecognizedName)
  socket.resume()
}

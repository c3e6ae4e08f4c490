/** Writes of short texts that go straight to the kernel, past the stream machinery. */
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** A write that the kernel did not take all of: libuv has it until it did. */
interface WriteRequest {
  oncomplete: ((status: number) => void) | undefined
}

/** Of a libuv TCP handle; undocumented, hence asked for with care. */
interface Handle {
  /** 0: the kernel has it all. Below: an error. */
  writeLatin1String?(request: null, text: string): number | WriteRequest
}

type Inside = { _handle?: Handle | null }

/**
 * Whether this Node's streams write in the way that is used below: a socket made for the purpose shows it to a handle that
 * only looks. Earlier ones want a request object that they do not export, and end the process when there is none.
 */
function look(): boolean {
  let seen = false
  const handle = {
    getAsyncId: () => 0,
    readStart: () => 0,
    readStop: () => 0,
    close: (done?: () => void) => done?.(),
    writeLatin1String: (request: unknown) => {
      seen = request === null
      return 0
    },
  }
  const probe = new Socket({ handle } as object)
  probe.on('error', () => {})
  try {
    probe.write('x', 'latin1')
  } catch {
    seen = false
  }
  probe.destroy()
  return seen
}

/** False: this Node writes in another way, and everything goes through streams. */
export const writesDirectly: boolean = look()

/** What libuv tries to hand to the kernel without a copy of its own (StreamBase::WriteString). */
const textMax = 16 * 1024

/**
 * `socket.write(text, 'latin1')`, past the stream where nothing waits in it: no state of a stream to keep, no objects, no turn
 * of the tick queue. Returns false when the socket wants a rest; then 'drain' follows, as with `write`. TLS is always written
 * through its stream: two writes at once into one TLS session end the process.
 */
export function writeText(socket: Socket, text: string): boolean {
  const handle = (socket as unknown as Inside)._handle
  if (
    !writesDirectly ||
    text.length > textMax ||
    socket.writableLength > 0 ||
    socket.connecting ||
    socket.writableEnded ||
    socket.destroyed ||
    handle === null ||
    handle === undefined ||
    handle.writeLatin1String === undefined ||
    socket instanceof TLSSocket
  )
    return socket.write(text, 'latin1')
  const left = handle.writeLatin1String(null, text)
  if (left === 0) return true
  // The stream meets the same error, and knows what to do about it.
  if (typeof left === 'number') return socket.write(text, 'latin1')
  // What is written meanwhile stands behind it, whichever way it takes: libuv keeps the order.
  left.oncomplete = () => {
    // Where the stream is full too it says so itself.
    if (!socket.destroyed && !socket.writableNeedDrain) socket.emit('drain')
  }
  return false
}
